//go:build linux

package proxy

import (
	"errors"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// Large values pass through in pieces, so that the proxy holds a bounded part
// of them.
//
// A request with a large argument goes on a dedicated link as it comes. A
// large reply goes to its client as it comes; when the client reads slowly,
// the link is read no faster. On a shared link others wait behind: then the
// link is detached, which leaves it to the slow reader, and requests of
// others that only read are sent anew on a fresh one. What can't be sent
// twice stays behind the slow reader, which is then given waitingLimit of
// memory to get out of the way, and is closed when that is not enough.

const (
	// uploadFrom is the length of an argument from which a request is passed
	// on before it is complete, in bytes.
	uploadFrom = 1 << 20
	// waitingLimit is what a slow reader may have waiting while others wait
	// behind it, in bytes.
	waitingLimit = 64 << 20
)

var errQueryBuffer = errors.New("a request passes limits.query_buffer")

// incomplete looks at a request whose end has not come. It returns how much
// of it was passed on.
func (s *session) incomplete(r *resp.Request, data []byte) int {
	if s.upload == nil {
		if r.BulkLen() < uploadFrom || !s.beginUpload(r) {
			if limit := s.w.gen.Settings.QueryBuffer; limit > 0 && len(data) > limit {
				s.w.shard.Error(metrics.ErrProtocol)
				s.Close(errQueryBuffer)
			}
			return 0
		}
	}
	n := r.Forgettable()
	if n == 0 {
		return 0
	}
	if s.flags&uploading == 0 {
		s.flags |= uploading
		p := s.w.newPending(s, kindPlain)
		s.occupy(s.upload, p)
		s.flags &^= cachingNext | cachingSeen
		s.skip()
		s.upload.Send(data[:n], &p.Call)
	} else {
		s.upload.Raw(data[:n])
	}
	r.Forget(n)
	if s.upload.Full() {
		s.upload.Wait(s)
		s.hold(holdLink)
	}
	return n
}

// beginUpload gets the session a link for a large request, if it is one that
// can go as it comes: not a script call, whose head is rewritten, nor a
// command that is answered here.
func (s *session) beginUpload(r *resp.Request) bool {
	if r.Len() == 0 || r.Forgettable() == 0 || s.flags&authenticated == 0 {
		return false
	}
	cmd := s.w.gen.Commands.Lookup(r.Arg(0))
	if cmd == nil || cmd.Op != command.OpNone || cmd.IsContainer() || cmd.Blocks {
		return false
	}
	if p := s.w.gen.Policy; p != nil && p.asks(cmd) && !s.mayPass(p, cmd, r) {
		return false
	}
	if s.dedicate() != routed {
		return false
	}
	s.w.shard.Request(requestClass(cmd))
	s.last = cmd
	s.upload = s.ded
	s.upload.Stream(true)
	return true
}

// uploaded passes on the last piece of a large request.
func (s *session) uploaded(r *resp.Request, piece []byte) int {
	s.upload.Raw(piece)
	s.upload.Stream(false)
	s.upload = nil
	s.flags &^= uploading
	s.dropRequest(r)
	return len(piece)
}

// tooMuch deals with n bytes of replies that wait for the client: it slows
// down what they come from, and in the end closes the session.
func (s *session) tooMuch(n int) {
	set := &s.w.gen.Settings
	limit := &set.Normal
	if s.state&subscribed != 0 {
		limit = &set.PubSub
	}
	if limit.Hard > 0 && n > limit.Hard || s.softPassed(limit, n) {
		s.w.shard.Error(metrics.ErrSlowClient)
		s.Close(errSlowClient)
		return
	}
	if n < outputHigh {
		return
	}
	s.flags |= holdOutput
	link := s.cur
	if s.midReply {
		// Not always the same: moveOthers may have moved what comes after.
		link = s.head.link
	}
	if link == nil || !s.Blocked() {
		return
	}
	if !link.Dedicated && s.midReply {
		link.Detach()
		if s.moveOthers(link) {
			if n > waitingLimit {
				s.w.shard.Error(metrics.ErrSlowClient)
				s.Close(errSlowClient)
			}
			return
		}
	} else if !link.Dedicated {
		return
	}
	if s.flags&slowed != 0 && s.ext.slowed != link {
		s.speedUp()
	}
	s.flags |= slowed
	s.needExtra().slowed = link
	link.Pause()
}

// softPassed follows the soft limit.
func (s *session) softPassed(limit *OutputLimit, n int) bool {
	if limit.Soft == 0 || n <= limit.Soft {
		s.flags &^= soft
		return false
	}
	now := s.w.loop.Now()
	if s.flags&soft == 0 {
		s.flags |= soft
		s.needExtra().softSince = now
		return false
	}
	return now-s.ext.softSince > int64(limit.SoftFor)
}

// speedUp reads the link again when the client has caught up.
func (s *session) speedUp() {
	s.flags &^= slowed
	if s.ext != nil && s.ext.slowed != nil {
		s.ext.slowed.Resume()
		s.ext.slowed = nil
	}
}

// moveOthers sends what other sessions have behind this one's reply on a
// fresh link, where it only reads. It reports whether some must stay.
func (s *session) moveOthers(link *upstream.Link) (stay bool) {
	var fresh *upstream.Link
	link.Behind(func(c *upstream.Call, request []byte) bool {
		p, ok := c.Owner.(*pending)
		if !ok {
			if _, part := c.Owner.(*part); part {
				stay = true
			}
			return false // else nobody waits: a SCRIPT LOAD ahead of a call
		}
		t := p.s
		if t == nil || t == s {
			return false
		}
		if p.kind != kindPlain || !p.read || t.writes > 0 || t.remote != t.inflight {
			stay = true
			return false
		}
		if fresh == nil {
			var err error
			if fresh, err = link.Group().Shared(link.Node); err != nil {
				stay = true
				return false
			}
		}
		p.link, t.cur = fresh, fresh
		fresh.Send(request, &p.Call)
		return true
	})
	return stay
}
