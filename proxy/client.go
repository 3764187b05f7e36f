//go:build linux

package proxy

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/tidwall/redcon"
)

// CLIENT speaks of the proxy's own sessions: a client means itself and those
// beside it, not the links which carry them. What is about the caller alone
// is answered at once; what shows or touches others is first shown to the
// server, in a form that does nothing there, so that its ACL decides who may.
// PAUSE and UNPAUSE are the server's: they hold back everybody's commands.

const badClientName = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n"

// client takes CLIENT's subcommands.
func (s *session) client(cmd *command.Command, r *resp.Request) bool {
	if r.Len() < 2 {
		return s.forward(r, false)
	}
	if sub := cmd.Sub(r.Arg(1)); sub == nil || sub.Absent || !sub.ArityOK(r.Len()) {
		return s.forward(r, false) // the server words the error
	}
	switch sub := r.Arg(1); {
	case equalFold(sub, "ID"):
		s.reply(":" + strconv.FormatUint(s.id, 10) + crlf)
	case equalFold(sub, "GETNAME"):
		s.reply(s.nameReply())
	case equalFold(sub, "SETNAME") && r.Len() == 3:
		name := string(r.Arg(2))
		if !validName(name) {
			s.reply(badClientName)
			return true
		}
		s.needExtra().name = name
		s.reply("+OK\r\n")
	case equalFold(sub, "SETINFO") && r.Len() == 4:
		return s.setInfo(r)
	case equalFold(sub, "INFO"):
		s.reply(s.verbatim(s.describe()))
	case equalFold(sub, "LIST"):
		return s.clientList(r)
	case equalFold(sub, "KILL"):
		return s.clientKill(r)
	case equalFold(sub, "UNBLOCK"):
		return s.clientUnblock(r)
	case equalFold(sub, "REPLY"):
		return s.clientReply(r)
	case equalFold(sub, "TRACKING"):
		return s.clientTracking(r)
	case equalFold(sub, "CACHING"):
		return s.clientCaching(r)
	case equalFold(sub, "GETREDIR") && s.redirectsTo() != 0:
		s.reply(":" + strconv.FormatUint(s.redirectsTo(), 10) + crlf)
	case equalFold(sub, "TRACKINGINFO") && s.state&tracking != 0:
		p, ok := s.own(r, kindTrackingInfo)
		if p != nil {
			p.redirect = s.redirectsTo()
		}
		return ok
	case equalFold(sub, "NO-EVICT"):
		return s.clientFlag(r, noEvict)
	case equalFold(sub, "NO-TOUCH"):
		return s.clientFlag(r, noTouch)
	default:
		return s.forward(r, false)
	}
	return true
}

// nameReply is the answer to CLIENT GETNAME.
func (s *session) nameReply() string {
	switch {
	case s.ext != nil && s.ext.name != "":
		return string(redcon.AppendBulkString(nil, s.ext.name))
	case s.flags&resp3 != 0:
		return "_\r\n"
	}
	return "$-1\r\n"
}

// verbatim is a text of lines for people, which RESP3 has a type for.
func (s *session) verbatim(text string) string {
	if s.flags&resp3 != 0 {
		return "=" + strconv.Itoa(len(text)+4) + "\r\ntxt:" + text + crlf
	}
	return string(redcon.AppendBulkString(nil, text))
}

func (s *session) setInfo(r *resp.Request) bool {
	attr := r.Arg(2)
	name := strings.ToLower(string(attr))
	if name != "lib-name" && name != "lib-ver" {
		s.reply("-ERR Unrecognized option '" + oneLine(string(attr)) + "'\r\n")
		return true
	}
	if !validName(string(r.Arg(3))) {
		s.reply("-ERR " + oneLine(string(r.Arg(2))) + " cannot contain spaces, newlines or special characters.\r\n")
		return true
	}
	if name == "lib-name" {
		s.needExtra().libName = string(r.Arg(3))
	} else {
		s.needExtra().libVersion = string(r.Arg(3))
	}
	s.reply("+OK\r\n")
	return true
}

// clientReply switches replies off and on. The requests are answered as
// always; the client is not told.
func (s *session) clientReply(r *resp.Request) bool {
	if r.Len() != 3 {
		return s.forward(r, false)
	}
	switch arg := r.Arg(2); {
	case equalFold(arg, "ON"):
		s.flags &^= muted | skipNext
		s.reply("+OK\r\n")
	case equalFold(arg, "OFF"):
		s.flags |= muted
	case equalFold(arg, "SKIP"):
		if s.flags&muted == 0 {
			s.flags |= skipSet
		}
	default:
		s.reply("-ERR syntax error\r\n")
	}
	return true
}

// clientFlag follows NO-EVICT and NO-TOUCH, which the server keeps for a
// connection.
func (s *session) clientFlag(r *resp.Request, bit sessionState) bool {
	on := r.Len() == 3 && equalFold(r.Arg(2), "ON")
	if !on && s.state&bit == 0 {
		return s.forward(r, false)
	}
	p, ok := s.own(r, kindPlain)
	if p == nil {
		return ok
	}
	if on {
		s.state |= bit
	} else if equalFold(r.Arg(2), "OFF") {
		s.state &^= bit
	}
	return true
}

// clientTracking follows client-side caching, whose invalidations come on
// the connection that asked for them. A redirection names a session; the
// server is told of that session's link.
func (s *session) clientTracking(r *resp.Request) bool {
	on := r.Len() > 2 && equalFold(r.Arg(2), "ON")
	if !on && s.state&tracking == 0 {
		return s.forward(r, false)
	}
	for i := 3; on && i+1 < r.Len(); i++ {
		if !equalFold(r.Arg(i), "REDIRECT") {
			continue
		}
		id, err := strconv.ParseUint(string(r.Arg(i+1)), 10, 64)
		if err != nil || id == 0 {
			break
		}
		return s.trackFor(r, i+1, id)
	}
	p, ok := s.own(r, kindPlain)
	if p == nil {
		return ok
	}
	if s.ext != nil {
		s.ext.redirect = 0
	}
	if on {
		s.state |= tracking
	} else if equalFold(r.Arg(2), "OFF") {
		s.state &^= tracking
		s.flags &^= cachingNext
	}
	return true
}

// redirectsTo is the session that is told of what this one caches, 0 when it
// is this one.
func (s *session) redirectsTo() uint64 {
	if s.ext == nil || s.state&tracking == 0 {
		return 0
	}
	return s.ext.redirect
}

// nameRedirect has the answer to CLIENT TRACKINGINFO name the session for the
// server's client.
func (p *pending) nameRedirect() {
	const field = "redirect\r\n:"
	at := bytes.Index(p.buf, []byte(field))
	if at < 0 || p.redirect == 0 {
		return
	}
	at += len(field)
	end := at + bytes.IndexByte(p.buf[at:], '\r')
	p.buf = slices.Replace(p.buf, at, end, strconv.AppendUint(nil, p.redirect, 10)...)
}

// trackFor sends CLIENT TRACKING with argument at replaced by the server's id
// of another session's link.
func (s *session) trackFor(r *resp.Request, at int, id uint64) bool {
	if s.head != nil {
		return s.hold(holdDrain)
	}
	if st := s.ownLink(); st != routed {
		return st == answered
	}
	args := make([]string, r.Len())
	for i := range args {
		args[i] = string(r.Arg(i))
	}
	p := s.w.newPending(s, kindAsync)
	p.read = true
	s.enqueue(p)
	s.flags |= holdDrain
	s.state |= tracking
	home, backend := s.w, s.group.Backend()
	find := func(w *worker) uint64 {
		if t := w.sessions[id]; t != nil && t.ded != nil && t.group.Backend() == backend {
			return t.ded.ServerID()
		}
		return 0
	}
	home.askAll(func(w *worker) any { return find(w) }, func(found []any) {
		var server uint64
		for _, f := range found {
			server = max(server, f.(uint64))
		}
		if p.s == nil || s.ded == nil {
			p.answer("-UNAVAILABLE the connection was lost: the command did not run\r\n")
			return
		}
		if server == 0 {
			p.answer("-ERR The client ID you want redirect to does not exist\r\n")
			return
		}
		args[at] = strconv.FormatUint(server, 10)
		s.needExtra().redirect = id
		p.kind = kindPlain
		p.link = s.ded
		s.remote++
		s.ded.Send(resp.AppendCommand(nil, args...), &p.Call)
	})
	return true
}

// clientUnblock finds the blocked session, and unblocks its link.
func (s *session) clientUnblock(r *resp.Request) bool {
	id, err := strconv.ParseUint(string(r.Arg(2)), 10, 63)
	if err != nil {
		return s.forward(r, false) // the server words the error
	}
	if r.Len() > 3 && !equalFold(r.Arg(3), "TIMEOUT") && !equalFold(r.Arg(3), "ERROR") {
		return s.forward(r, false)
	}
	args := []string{"CLIENT", "UNBLOCK", "0"}
	if r.Len() > 3 {
		args = append(args, string(r.Arg(3)))
	}
	probe, backend := []string{"CLIENT", "UNBLOCK", "0"}, s.group.Backend()
	return s.permitted(probe, func(p *pending) {
		s.w.askAll(func(w *worker) any {
			if t := w.sessions[id]; t != nil && t.blocked && t.ded != nil && t.group.Backend() == backend {
				return t.ded.ServerID()
			}
			return uint64(0)
		}, func(found []any) {
			var server uint64
			for _, f := range found {
				server = max(server, f.(uint64))
			}
			if server == 0 || p.s == nil {
				p.answer(":0\r\n")
				return
			}
			args[2] = strconv.FormatUint(server, 10)
			s.relay(p, resp.AppendCommand(nil, args...))
		})
	})
}

// relay sends a request on the primary's shared link for a pending that is
// in the session's queue already.
func (s *session) relay(p *pending, request []byte) {
	view := s.view()
	if view.Primary == nil {
		p.answer("-UNAVAILABLE no primary: " + view.Why + ": the command did not run\r\n")
		return
	}
	link, err := s.group.Shared(view.Primary)
	if err != nil {
		p.answer(unavailable(view.Primary, false, err))
		return
	}
	p.kind = kindPlain
	p.link, s.cur = link, link
	s.remote++
	link.Send(request, &p.Call)
}

// permitted shows the server a request that does nothing, and goes on with
// then unless the server refuses the caller.
func (s *session) permitted(probe []string, then func(p *pending)) bool {
	return s.approved(resp.AppendCommand(nil, probe...), "-NO", then)
}

// approved is permitted for a request whose refusal begins with that text.
func (s *session) approved(probe []byte, refusal string, then func(p *pending)) bool {
	if s.head != nil {
		return s.hold(holdDrain)
	}
	view := s.view()
	p := s.w.newPending(s, kindAsync)
	p.read = true
	s.enqueue(p)
	s.flags |= holdDrain
	if view.Primary == nil {
		p.answer("-UNAVAILABLE no primary: " + view.Why + ": the command did not run\r\n")
		return true
	}
	link, err := s.group.Shared(view.Primary)
	if err != nil {
		s.w.shard.Error(metrics.ErrUnavailable)
		p.answer(unavailable(view.Primary, false, err))
		return true
	}
	f := &fanout{p: p, left: 1, merge: func(parts []*part) []byte { return firstReply(parts) }}
	t := &part{f: f, node: view.Primary, link: link}
	t.Owner = t
	f.parts = []*part{t}
	f.done = func() bool {
		refused := t.lost != nil || strings.HasPrefix(string(t.reply), refusal)
		if !refused {
			then(p)
		}
		return !refused
	}
	link.Send(probe, &t.Call)
	return true
}

// askAll asks every loop, and hands the answers back to this one.
func (w *worker) askAll(ask func(*worker) any, then func([]any)) {
	workers := w.srv.workers
	answers := make(chan any, len(workers))
	for _, other := range workers {
		if other == w {
			answers <- ask(w)
		} else if !other.loop.Do(func() { answers <- ask(other) }) {
			answers <- nil
		}
	}
	if len(workers) == 1 {
		then([]any{<-answers})
		return
	}
	go func() {
		var all []any
		for range workers {
			if a := <-answers; a != nil {
				all = append(all, a)
			}
		}
		w.loop.Do(func() { then(all) })
	}()
}
