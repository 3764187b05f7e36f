//go:build linux

package proxy

import (
	"bytes"
	"strconv"

	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// Commands about the connection itself, queued by MULTI, run with EXEC and
// answer in its reply. Notes tell which elements of that reply the session
// must follow, and which speak of the link instead of the session.

// txNote is about one element of EXEC's reply.
type txNote struct {
	at    int // the element's index
	kind  txKind
	db    int
	text  string
	hello *greeting
}

type txKind uint8

const (
	txSelect txKind = iota
	txID
	txGetName
	txSetName
	txSubscribe
	txFlush
	txHello
	// txNothing follows what changes nothing.
	txNothing
)

// inTransaction queues a command on the connection itself, or SCRIPT FLUSH,
// behind MULTI.
func (s *session) inTransaction(cmd *command.Command, r *resp.Request) bool {
	if s.w.srv.service && asksForUser(cmd, r) {
		s.turnAway(cmd, textAuthInMulti)
		return true
	}
	note, known := s.noteFor(cmd, r)
	link, st := s.linkFor(false, false)
	if st != routed {
		return st == answered
	}
	if known {
		note.at = int(s.multi)
		e := s.needExtra()
		e.notes = append(e.notes, note)
	} else {
		s.state |= sticky
		s.needExtra().stuck = true
	}
	if !known || note.kind == txSetName || note.kind == txHello {
		s.state |= tainted
	}
	s.send(link, s.w.newPending(s, kindPlain), r.Raw())
	return true
}

// noteFor tells what is to be noted of a command; known is false for what
// can't be followed.
func (s *session) noteFor(cmd *command.Command, r *resp.Request) (note txNote, known bool) {
	switch {
	case cmd.Op == command.OpSelect:
		db, err := strconv.Atoi(string(r.Arg(1)))
		return txNote{kind: txSelect, db: db}, err == nil
	case cmd.Op.IsSubscription():
		// More than one channel gives more elements than EXEC announces.
		return txNote{kind: txSubscribe}, r.Len() == 2 && s.flags&resp3 == 0
	case cmd.Op == command.OpScript:
		return txNote{kind: txFlush}, true
	case cmd.Op == command.OpHello:
		return s.noteForHello(r)
	case cmd.Op != command.OpClient || r.Len() < 2:
		return note, false
	}
	switch sub := r.Arg(1); {
	case equalFold(sub, "ID"):
		return txNote{kind: txID}, true
	case equalFold(sub, "GETNAME"):
		return txNote{kind: txGetName}, true
	case equalFold(sub, "SETNAME") && r.Len() == 3:
		return txNote{kind: txSetName, text: string(r.Arg(2))}, true
	case equalFold(sub, "HELP"), equalFold(sub, "GETREDIR"), equalFold(sub, "TRACKINGINFO"):
		return txNote{kind: txNothing}, true
	}
	return note, false
}

// noteForHello follows HELLO without AUTH.
func (s *session) noteForHello(r *resp.Request) (note txNote, known bool) {
	g := &greeting{}
	switch {
	case r.Len() == 1:
		// The protocol stays what it is then.
	case string(r.Arg(1)) == "2":
		g.proto = 2
	case string(r.Arg(1)) == "3":
		g.proto = 3
	default:
		return txNote{kind: txNothing}, true // the server refuses
	}
	switch {
	case r.Len() == 4 && equalFold(r.Arg(2), "SETNAME"):
		name := string(r.Arg(3))
		g.name = &name
	case r.Len() > 2:
		return note, false
	}
	return txNote{kind: txHello, hello: g}, true
}

// executed follows the notes through EXEC's reply, which is in buf.
func (p *pending) executed() {
	s := p.s
	head := bytes.IndexByte(p.buf, '\n') + 1
	if s == nil || p.buf[0] != '*' || bytes.HasPrefix(p.buf, []byte("*-1")) {
		return
	}
	out := append([]byte(nil), p.buf[:head]...)
	rest := p.buf[head:]
	notes := p.notes
	for at := 0; len(rest) > 0; at++ {
		var item resp.Reply
		n, done, err := item.Scan(rest)
		if err != nil || !done {
			return
		}
		element := rest[:n]
		rest = rest[n:]
		if item.Kind() == '>' {
			// A push may come inside, and is no element (Redis before 7.0.5).
			out = append(out, element...)
			at--
			continue
		}
		for len(notes) > 0 && notes[0].at == at {
			element = s.execute(&notes[0], element)
			notes = notes[1:]
		}
		out = append(out, element...)
	}
	p.buf = out
}

// execute follows one note, and returns what the client is shown.
func (s *session) execute(n *txNote, element []byte) []byte {
	ok := string(element) == "+OK\r\n"
	switch n.kind {
	case txSelect:
		if ok && n.db < maxDB {
			k := s.group.Key()
			k.DB = n.db
			s.setGroup(s.group.With(k))
		}
	case txID:
		if element[0] == ':' {
			return append(strconv.AppendUint([]byte(":"), s.id, 10), crlf...)
		}
	case txGetName:
		if element[0] != '-' {
			return []byte(s.nameReply())
		}
	case txSetName:
		if ok {
			s.needExtra().name = n.text
		}
	case txHello:
		if element[0] != '-' {
			k := s.group.Key()
			if n.hello.proto == 0 {
				n.hello.proto = k.Proto
			}
			k.Proto = n.hello.proto
			s.setGroup(s.group.With(k))
			return []byte(s.greet(n.hello))
		}
	case txFlush:
		if ok && s.ded != nil {
			s.w.srv.flushed(s.ded.Node)
		}
	case txSubscribe:
		name, rest := firstBulk(element)
		s.needExtra()
		if count, add := s.subscriptionCount(name); count != nil {
			s.countSubscription(count, add, rest)
			s.ded.SetTap(s, s.state&subscribed != 0)
		}
	}
	return element
}
