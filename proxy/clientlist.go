//go:build linux

package proxy

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"golang.org/x/sys/unix"
)

// describe is one line of CLIENT LIST, without its newline's kin: the fields
// of Redis 7.2 (networking.c, catClientInfoString), of which those about
// memory that the proxy doesn't have are 0.
func (s *session) describe() string {
	now := s.w.loop.Now()
	var e extra
	if s.ext != nil {
		e = *s.ext
	}
	flags := ""
	if s.state&subscribed != 0 {
		flags += "P"
	}
	if s.state&inMulti != 0 {
		flags += "x"
	}
	if s.blocked {
		flags += "b"
	}
	if s.state&tracking != 0 {
		flags += "t"
	}
	if s.flags&closing != 0 {
		flags += "c"
	}
	if s.state&noEvict != 0 {
		flags += "e"
	}
	if flags == "" {
		flags = "N"
	}
	multi := -1
	if s.state&inMulti != 0 {
		multi = max(0, int(s.multi))
	}
	cmd := "NULL"
	if s.last != nil {
		cmd = strings.ToLower(s.last.Name)
	}
	version := 2
	if s.flags&resp3 != 0 {
		version = 3
	}
	redir := int64(-1)
	if s.state&tracking != 0 {
		redir = int64(s.redirectsTo())
	}
	obuf := 0
	if s.out != nil {
		obuf = len(s.out.B) - int(s.outOff)
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=%d flags=%s db=%d sub=%d psub=%d ssub=%d multi=%d qbuf=%d qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=%d oll=%d omem=%d tot-mem=%d events=r cmd=%s user=%s redir=%d resp=%d lib-name=%s lib-ver=%s\n",
		s.id, s.remoteAddr(), s.localAddr(), s.FD(), e.name, (now-s.created)/1e9, (now-s.lastActive)/1e9, flags, s.group.Key().DB,
		e.subs.channels, e.subs.patterns, e.subs.shards, multi, s.Buffered(), obuf, s.inflight, obuf, obuf+s.Buffered(), cmd, s.userName(), redir, version, e.libName, e.libVersion)
}

// localAddr is the address that the client connected to.
func (s *session) localAddr() string {
	if s.ext != nil && s.ext.laddr != "" {
		return s.ext.laddr
	}
	sa, err := unix.Getsockname(s.FD())
	if err != nil {
		return ""
	}
	return addrOf(sa)
}

func addrOf(sa unix.Sockaddr) string {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
	case *unix.SockaddrInet6:
		return (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
	case *unix.SockaddrUnix:
		return a.Name + ":0"
	}
	return ":0"
}

// clientFilter says which sessions a CLIENT LIST or KILL is about.
type clientFilter struct {
	ids         []uint64
	addr, laddr string
	user, kind  string
	maxAge      int64 // seconds; 0: any
	skip        uint64
	backend     int // clients see those of their own servers
}

func (f *clientFilter) matches(s *session) bool {
	switch {
	case s.id == f.skip,
		s.group.Backend() != f.backend,
		f.ids != nil && !slices.Contains(f.ids, s.id),
		f.addr != "" && s.remoteAddr() != f.addr,
		f.laddr != "" && s.localAddr() != f.laddr,
		f.user != "" && s.userName() != f.user,
		f.maxAge > 0 && (s.w.loop.Now()-s.created)/1e9 < f.maxAge:
		return false
	}
	switch f.kind {
	case "":
		return true
	case "pubsub":
		return s.state&subscribed != 0
	case "normal":
		return s.state&subscribed == 0
	}
	return false // a proxy's clients are no replicas and no primary
}

func clientType(arg []byte) (string, bool) {
	switch t := strings.ToLower(string(arg)); t {
	case "normal", "pubsub", "replica":
		return t, true
	case "slave":
		return "replica", true
	case "master":
		return t, true
	}
	return "", false
}

// clientList shows the sessions of all loops, by their ids.
func (s *session) clientList(r *resp.Request) bool {
	f := clientFilter{backend: s.group.Backend()}
	switch {
	case r.Len() == 2:
	case r.Len() == 4 && equalFold(r.Arg(2), "TYPE"):
		kind, ok := clientType(r.Arg(3))
		if !ok {
			return s.forward(r, false) // the server words the error
		}
		f.kind = kind
	case r.Len() > 3 && equalFold(r.Arg(2), "ID"):
		f.ids = []uint64{}
		for i := 3; i < r.Len(); i++ {
			id, err := strconv.ParseUint(string(r.Arg(i)), 10, 63)
			if err != nil {
				return s.forward(r, false) // likewise
			}
			f.ids = append(f.ids, id)
		}
	default:
		s.reply("-ERR syntax error\r\n")
		return true
	}
	type line struct {
		id   uint64
		text string
	}
	return s.permitted([]string{"CLIENT", "LIST", "ID", "0"}, func(p *pending) {
		s.w.askAll(func(w *worker) any {
			var lines []line
			for _, t := range w.sessions {
				if f.matches(t) {
					lines = append(lines, line{t.id, t.describe()})
				}
			}
			return lines
		}, func(all []any) {
			var lines []line
			for _, part := range all {
				lines = append(lines, part.([]line)...)
			}
			slices.SortFunc(lines, func(a, b line) int { return int(int64(a.id) - int64(b.id)) })
			var text strings.Builder
			for _, l := range lines {
				text.WriteString(l.text)
			}
			if p.s == nil {
				p.answer("")
				return
			}
			p.answer(s.verbatim(text.String()))
		})
	})
}

// clientKill closes sessions. The old form names one by its address and
// fails when there is none; the new one counts.
func (s *session) clientKill(r *resp.Request) bool {
	f := clientFilter{skip: s.id, backend: s.group.Backend()}
	old := r.Len() == 3
	if old {
		f.addr, f.skip = given(r.Arg(2)), 0
	} else {
		f.parse(r)
	}
	self := f.skip == 0 && f.matches(s)
	if self {
		f.skip = s.id
	}
	// The server looks at the filters, and refuses those that it does not
	// have. Here they come with one that fits none of its clients.
	probe, refusal := []string{"CLIENT", "KILL", "ID", "0"}, "-NO"
	if !old {
		probe, refusal = probe[:0], "-"
		for i := 0; i < r.Len(); i++ {
			if s.w.srv.service && i > 1 && i%2 == 0 && equalFold(r.Arg(i), "USER") {
				i++ // the server does not know the proxy's users
				continue
			}
			probe = append(probe, string(r.Arg(i)))
		}
		probe = append(probe, "ADDR", "0.0.0.0:0")
	}
	return s.approved(resp.AppendCommand(nil, probe...), refusal, func(p *pending) {
		s.w.askAll(func(w *worker) any {
			n := 0
			for _, t := range w.sessions {
				if f.matches(t) {
					t.Close(errKilled)
					n++
				}
			}
			return n
		}, func(counts []any) {
			n := 0
			for _, c := range counts {
				n += c.(int)
			}
			if self {
				n++
			}
			p.last = self
			switch {
			case !old:
				p.answer(":" + strconv.Itoa(n) + crlf)
			case n > 0:
				p.answer("+OK\r\n")
			default:
				p.answer("-ERR No such client\r\n")
			}
		})
	})
}

// given is a filter's text. One that is empty fits nobody.
func given(text []byte) string {
	if len(text) == 0 {
		return "\x00"
	}
	return string(text)
}

// parse reads the filters of CLIENT KILL. What is wrong with them is for the
// server to say.
func (f *clientFilter) parse(r *resp.Request) {
	me := f.skip
	for i := 2; i+1 < r.Len(); i += 2 {
		value := r.Arg(i + 1)
		switch option := r.Arg(i); {
		case equalFold(option, "ID"):
			id, _ := strconv.ParseUint(string(value), 10, 63)
			f.ids = append(f.ids, id)
		case equalFold(option, "TYPE"):
			f.kind, _ = clientType(value)
		case equalFold(option, "ADDR"):
			f.addr = given(value)
		case equalFold(option, "LADDR"):
			f.laddr = given(value)
		case equalFold(option, "USER"):
			f.user = given(value)
		case equalFold(option, "MAXAGE"):
			f.maxAge, _ = strconv.ParseInt(string(value), 10, 64)
		case equalFold(option, "SKIPME") && equalFold(value, "YES"):
			f.skip = me
		case equalFold(option, "SKIPME"):
			f.skip = 0
		}
	}
}
