//go:build linux

package proxy

import (
	"bytes"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// fanout is one request sent to several nodes, for one reply.
type fanout struct {
	p     *pending
	parts []*part
	left  int
	merge func(parts []*part) []byte
	// done, when set, may take over what is left to do.
	done func() bool
}

// part is one node's share.
type part struct {
	upstream.Call
	f     *fanout
	node  *topology.Node
	link  *upstream.Link
	reply []byte
	lost  error
	sent  bool
}

func (t *part) Reply(_ *upstream.Call, piece []byte, done bool) {
	t.reply = append(t.reply, piece...)
	if done {
		t.finish()
	}
}

func (t *part) Lost(_ *upstream.Call, sent bool, err error) {
	t.lost, t.sent = err, sent
	t.finish()
}

func (t *part) finish() {
	if t.link.Dedicated && t.lost == nil {
		t.link.Group().Release(t.link)
	}
	f := t.f
	f.left--
	if f.left == 0 {
		if f.done != nil && f.done() {
			return
		}
		f.p.buf = append(f.p.buf[:0], f.merge(f.parts)...)
		f.p.settle()
	}
}

// fan sends a request to the primary and to every replica that is up. alone
// uses links that nothing is running on, for what must get past a script.
// The primary is the first part.
func (s *session) fan(request []byte, alone bool, merge func([]*part) []byte) bool {
	if s.head != nil {
		return s.hold(holdDrain)
	}
	view := s.view()
	if !alone && view.Primary != nil {
		if st := s.awaitFree(view.Primary); st != routed {
			return st == answered
		}
	}
	f := &fanout{p: s.w.newPending(s, kindAsync), merge: merge}
	f.p.read = true
	for _, n := range view.All {
		if n != view.Primary && !n.Up() {
			continue
		}
		get := s.group.Shared
		if alone {
			get = s.group.Dedicate
		}
		link, err := get(n)
		if err != nil {
			if n == view.Primary {
				s.w.shard.Error(metrics.ErrUnavailable)
				s.replyDynamic(unavailable(n, false, err))
				f.release(s)
				return true
			}
			continue
		}
		t := &part{f: f, node: n, link: link}
		t.Owner = t
		if n == view.Primary {
			f.parts = append([]*part{t}, f.parts...)
		} else {
			f.parts = append(f.parts, t)
		}
	}
	if len(f.parts) == 0 {
		s.replyDynamic("-UNAVAILABLE no node is up: the command did not run\r\n")
		f.release(s)
		return true
	}
	f.left = len(f.parts)
	s.enqueue(f.p)
	s.flags |= holdDrain
	for _, t := range f.parts {
		t.link.Send(request, &t.Call)
	}
	return true
}

func (f *fanout) release(s *session) {
	for _, t := range f.parts {
		if t.link.Dedicated {
			t.link.Group().Release(t.link)
		}
	}
	s.w.putPending(f.p)
}

// firstReply answers what the primary said.
func firstReply(parts []*part) []byte {
	t := parts[0]
	if t.lost != nil {
		return []byte(unavailable(t.node, t.sent, t.lost))
	}
	return t.reply
}

// killReply makes one answer of SCRIPT KILL's: OK if one node killed, else
// why the one that is running something would not, else that none was.
func killReply(parts []*part) []byte {
	var best []byte
	rank := 0
	for _, t := range parts {
		r := 1
		switch {
		case t.lost != nil:
			continue
		case bytes.HasPrefix(t.reply, []byte("+OK")):
			r = 4
		case bytes.HasPrefix(t.reply, []byte("-UNKILLABLE")):
			r = 3
		case bytes.HasPrefix(t.reply, []byte("-BUSY")):
			r = 2 // the wrong one of SCRIPT KILL and FUNCTION KILL
		}
		if r > rank {
			best, rank = t.reply, r
		}
	}
	if best == nil {
		return firstReply(parts)
	}
	return best
}

// statsReply answers with the node that runs something, else the primary.
func statsReply(parts []*part) []byte {
	for _, t := range parts {
		if t.lost == nil && bytes.Contains(t.reply, []byte("duration_ms")) {
			return t.reply
		}
	}
	return firstReply(parts)
}

// scriptAdmin takes SCRIPT and FUNCTION: with several nodes behind, they
// mean all of them.
func (s *session) scriptAdmin(cmd *command.Command, r *resp.Request) bool {
	if r.Len() < 2 {
		return s.forward(r, false)
	}
	sub := r.Arg(1)
	if s.state&inMulti != 0 {
		if cmd.Op == command.OpScript && equalFold(sub, "FLUSH") {
			if s.ext != nil {
				clear(s.ext.queued) // calls queued behind it bring their bodies anew
			}
			return s.inTransaction(cmd, r)
		}
		return s.forward(r, false)
	}
	if cmd.Op == command.OpFunction {
		switch {
		case equalFold(sub, "KILL") && r.Len() == 2:
			return s.fan(r.Raw(), true, killReply)
		case equalFold(sub, "STATS") && r.Len() == 2:
			return s.fan(r.Raw(), true, statsReply)
		}
		return s.forward(r, false)
	}
	switch {
	case equalFold(sub, "LOAD") && r.Len() == 3 && s.loadsApart(s.scriptOfBody(r.Arg(2))):
		return s.scriptLoad(s.scriptOfBody(r.Arg(2)))
	case equalFold(sub, "LOAD") && r.Len() == 3:
		script := s.scriptOfBody(r.Arg(2))
		return s.fan(r.Raw(), false, func(parts []*part) []byte {
			for _, t := range parts {
				if t.lost == nil && t.reply[0] == '$' {
					script.SetLoaded(t.node.Index, t.node.Epoch())
					script.proven.Store(true)
				}
			}
			return firstReply(parts)
		})
	case equalFold(sub, "EXISTS") && r.Len() > 2:
		return s.scriptExists(r)
	case equalFold(sub, "FLUSH") && r.Len() <= 3:
		return s.scriptFlush(r)
	case equalFold(sub, "KILL") && r.Len() == 2:
		return s.fan(r.Raw(), true, killReply)
	case equalFold(sub, "DEBUG"):
		s.w.shard.Error(metrics.ErrRefused)
		s.reply("-ERR SCRIPT DEBUG is not passed on by scriptproxy: it takes the connection over, and SYNC blocks the whole server; connect to the server itself\r\n")
		return true
	}
	return s.forward(r, false)
}

// scriptExists answers for what can run: what the proxy knows can, whatever
// the server's cache holds now.
func (s *session) scriptExists(r *resp.Request) bool {
	known := make([]bool, r.Len()-2)
	for i := range known {
		arg := r.Arg(i + 2)
		if e, isSHA := s.w.gen.Scripts.Find(arg); e != nil && e.Script != nil || e == nil && isSHA && s.canRun(arg) {
			known[i] = true
		}
	}
	return s.fan(r.Raw(), false, func(parts []*part) []byte {
		v, err := resp.Decode(parts[0].reply)
		if parts[0].lost != nil || err != nil || len(v.Elems) != len(known) {
			return firstReply(parts)
		}
		b := resp.AppendArrayHeader(nil, len(known))
		for i, e := range v.Elems {
			if known[i] || e.Int == 1 {
				b = append(b, ":1\r\n"...)
			} else {
				b = append(b, ":0\r\n"...)
			}
		}
		return b
	})
}

// flushed takes note of a node that has forgotten its scripts because a
// client asked for it.
func (s *Server) flushed(n *topology.Node) {
	s.backendOf(n).known.flush()
	n.LostScripts(n.Epoch())
}

// scriptFlush clears what clients loaded. Registered scripts live on: they
// are loaded again behind the clients' backs.
func (s *session) scriptFlush(r *resp.Request) bool {
	srv := s.w.srv
	return s.fan(r.Raw(), false, func(parts []*part) []byte {
		reply := firstReply(parts)
		if len(reply) > 0 && reply[0] == '+' {
			for _, t := range parts {
				srv.flushed(t.node)
			}
		}
		return reply
	})
}
