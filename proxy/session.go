//go:build linux

package proxy

import (
	"errors"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

var (
	errIdleClient   = errors.New("idle for longer than idle_timeout")
	errSlowClient   = errors.New("replies pass the output buffer limit")
	errProtocolDone = errors.New("the client broke the protocol")
	errQuit         = errors.New("the client quit")
	errKilled       = errors.New("killed by CLIENT KILL")
	errDrained      = errors.New("the proxy is shutting down")
)

// Session states. A held session takes no request until what it waits for
// has come; what the client sends meanwhile is kept.
const (
	// holdDrain waits until every reply is complete.
	holdDrain uint32 = 1 << iota
	// holdLink waits until a link takes requests again.
	holdLink
	// holdOutput waits until the client reads.
	holdOutput
	// holdScript waits until what a script does is known, or until it is
	// loaded.
	holdScript
	// closing sessions are closed when their replies are out.
	closing
	// resp3 sessions said HELLO 3.
	resp3
	// authenticated sessions passed AUTH, or need none.
	authenticated
	// finishing sessions have heard all that the client will say.
	finishing
	// muted sessions said CLIENT REPLY OFF; skipNext ones SKIP, for the next
	// request; skipSet is what SKIP leaves behind until it is done itself.
	muted
	skipNext
	skipSet
	// slowed sessions have their link's reading stopped; soft ones have
	// passed the soft output limit.
	slowed
	soft
	// uploading sessions have begun to pass a large request on.
	uploading
	// leaving sessions were told that no more comes; see leave.
	leaving
	// refusing sessions are told that no more requests are taken; see refuseRest.
	refusing
	// letIn sessions wait with a request that the policy has admitted.
	letIn
	// holdBusy waits until the node has ended a script, holdTurn until fewer
	// calls of the script run.
	holdBusy
	holdTurn
	// busyOver sessions have waited for a node for long enough.
	busyOver
	// inGate sessions stand in the queue of a script; those with hasPlace were
	// let in with a call that waits for a node.
	inGate
	hasPlace
	// cachingYes and cachingNo sessions said CLIENT CACHING, cachingSeen ones
	// have sent a command on their link since; see caching.go.
	cachingYes
	cachingNo
	cachingSeen
	// hearing sessions wait for what their server has sent them, heard ones
	// have it; see hearOut.
	hearing
	heard
)

const held = holdDrain | holdLink | holdOutput | holdScript | holdBusy | holdTurn

const (
	// outputHigh is the unsent output, in bytes, at which a session's
	// requests are left waiting; half of it is the low mark.
	outputHigh = 1 << 20
	// keepHeld is what a held session may have waiting here; more stays in
	// the kernel.
	keepHeld = 64 << 10
)

// session is one client connection and its state. It belongs to one loop.
// An idle one holds no buffer, and little else.
type session struct {
	loop.Conn
	w     *worker
	group *upstream.Group
	// cur is the link with requests of this session in flight. There is one
	// at a time, so that nothing overtakes anything.
	cur *upstream.Link
	// ded is the dedicated link while the session has one.
	ded        *upstream.Link
	head, tail *pending
	out        *loop.Buffer
	req        *resp.Request // of an incomplete frame
	ext        *extra
	upload     *upstream.Link  // a large request passes through to it in pieces
	standing   *policy.Session // who the client is to the policy
	id         uint64
	lastWrite  int64
	lastActive int64
	created    int64
	last       *command.Command
	outOff     uint32
	inflight   uint32 // pendings
	remote     uint32 // of them, on cur
	writes     uint32 // of them, not reads
	flags      uint32
	state      sessionState
	listener   uint16
	multi      uint32 // requests queued since MULTI
	midReply   bool   // the reply at the head is partly sent
	blocked    bool   // a blocking command is in flight
}

// Input takes requests until one must wait.
func (s *session) Input(data []byte) int {
	w := s.w
	if s.flags&closing != 0 {
		return len(data)
	}
	if s.flags&refusing != 0 {
		s.refuseRest(data)
		return len(data)
	}
	if s.flags&held != 0 {
		if len(data) > keepHeld {
			s.Pause()
		}
		return 0
	}
	w.gen = w.srv.gen.Load()
	s.lastActive = w.loop.Now()
	used := 0
	for used < len(data) {
		limits := &w.gen.Settings.Request
		if s.flags&authenticated == 0 {
			limits = &resp.UnauthenticatedLimits
		}
		r := s.req
		if r == nil {
			r = w.request
		}
		n, err := r.Parse(data[used:], limits)
		if err != nil {
			s.protocolError(r, err)
			return len(data)
		}
		if n == 0 {
			if s.req == nil {
				s.req = r
				w.request = w.newRequest()
			}
			if s.flags&finishing != 0 && s.done() {
				return len(data) // the rest of this request will not come
			}
			return used + s.incomplete(r, data[used:])
		}
		if s.upload != nil {
			used += s.uploaded(r, data[used:used+n])
			continue
		}
		if r.Len() > 0 {
			ok := s.dispatch(r, used+n < len(data))
			if w.ruling.asked || s.flags&letIn != 0 {
				s.settle(ok)
			}
			if ok {
				w.shard.Request(w.class)
			}
			if !s.Open() {
				return used + n
			}
			if ok && s.flags&(skipNext|skipSet|inGate|hasPlace|cachingNext) != 0 {
				if s.flags&cachingNext != 0 {
					s.cachingDone(r)
				}
				if s.flags&(inGate|hasPlace) != 0 {
					s.leaveGate() // it was answered otherwise
				}
				s.skip()
			}
			if !ok {
				// Held before this request: it is framed anew later.
				s.dropRequest(r)
				if len(data)-used > keepHeld {
					s.Pause()
				}
				return used
			}
		}
		used += n
		s.dropRequest(r)
		if s.flags&(held|closing) != 0 {
			if s.flags&closing != 0 {
				return len(data)
			}
			return used
		}
	}
	return used
}

// skip ends the request after CLIENT REPLY SKIP, or begins it.
func (s *session) skip() {
	next := s.flags&skipSet != 0
	s.flags &^= skipSet | skipNext
	if next {
		s.flags |= skipNext
	}
}

func (s *session) dropRequest(r *resp.Request) {
	if s.req == r {
		s.req = nil
		s.w.putRequest(r)
		return
	}
	r.Reset()
}

func (s *session) protocolError(r *resp.Request, err error) {
	s.dropRequest(r)
	s.w.shard.Error(metrics.ErrProtocol)
	s.reply("-ERR " + err.Error() + "\r\n")
	s.endAfterReplies(errProtocolDone)
}

// hold makes the session wait. It returns false, for the dispatcher to say
// that the request was not taken.
func (s *session) hold(why uint32) bool {
	s.flags |= why
	return false
}

// unhold ends a wait, and takes up what the client sent meanwhile.
func (s *session) unhold(why uint32) {
	if s.flags&why == 0 {
		return
	}
	s.flags &^= why
	if s.flags&held == 0 && s.Open() {
		s.Conn.Resume()
		if s.Buffered() > 0 {
			s.Kick()
		}
	}
}

// Resume is called by a link that takes requests again.
func (s *session) Resume() { s.unhold(holdLink) }

// enqueue puts a pending at the end of the session's replies.
func (s *session) enqueue(p *pending) {
	if s.tail == nil {
		s.head = p
	} else {
		s.tail.next = p
	}
	s.tail = p
	s.inflight++
}

// advance takes complete replies off the head of the queue.
func (s *session) advance() {
	for p := s.head; p != nil && p.done; p = s.head {
		s.head = p.next
		if s.head == nil {
			s.tail = nil
		}
		s.inflight--
		s.midReply = false
		switch {
		case p.mute:
		case p.text != "":
			s.emitString(p.text)
		case len(p.buf) > 0:
			s.emit(p.buf)
		}
		last := p.last
		p.next = nil
		s.w.putPending(p)
		if !s.Open() {
			return
		}
		if last {
			s.endAfterReplies(errQuit)
		}
	}
	if p := s.head; p != nil {
		// What came early for the one that is next now.
		if len(p.buf) > 0 && p.kind == kindPlain && !p.mute {
			s.emit(p.buf)
			p.buf = p.buf[:0]
			s.midReply = true
		}
		return
	}
	s.drained()
}

// drained runs when every reply is complete.
func (s *session) drained() {
	s.cur = nil
	if s.ded != nil {
		s.cur = s.ded
		s.maybeRelease()
	}
	s.blocked = false
	if s.done() {
		return
	}
	s.unhold(holdDrain)
}

// emit appends to what is to be sent to the client.
func (s *session) emit(b []byte) {
	if s.out == nil {
		s.out = s.w.loop.GetBuffer()
	}
	s.out.B = append(s.out.B, b...)
	s.emitted()
}

func (s *session) emitString(b string) {
	if s.out == nil {
		s.out = s.w.loop.GetBuffer()
	}
	s.out.B = append(s.out.B, b...)
	s.emitted()
}

func (s *session) emitted() {
	s.Flush()
	if n := len(s.out.B) - int(s.outOff); n >= s.w.gen.Settings.alarm {
		s.tooMuch(n)
	}
}

// Output is what waits to be sent.
func (s *session) Output() []byte {
	if s.out == nil {
		return nil
	}
	return s.out.B[s.outOff:]
}

// Wrote takes note of what was sent.
func (s *session) Wrote(n int) {
	s.outOff += uint32(n)
	left := len(s.out.B) - int(s.outOff)
	if left == 0 {
		s.w.loop.PutBuffer(s.out)
		s.out, s.outOff = nil, 0
		if s.done() {
			return
		}
	} else if int(s.outOff) >= left {
		// Give the space of what was sent back to what comes.
		s.out.B = append(s.out.B[:0], s.out.B[s.outOff:]...)
		s.outOff = 0
	}
	if left < outputHigh/2 {
		if s.flags&slowed != 0 {
			s.speedUp()
		}
		s.unhold(holdOutput)
	}
}

// done closes a session that has nothing more to say or to hear.
func (s *session) done() bool {
	if s.head != nil || s.out != nil {
		return false
	}
	if s.flags&closing != 0 || s.flags&finishing != 0 && (s.Buffered() == 0 || s.flags&held == 0 && s.req != nil) {
		s.leave(errQuit)
		return true
	}
	return false
}

// reply answers in the session's order.
func (s *session) reply(text string) {
	if s.head == nil {
		if s.flags&(muted|skipNext) == 0 {
			s.emitString(text)
		}
		return
	}
	p := s.w.newPending(s, kindLocal)
	p.text, p.done, p.read = text, true, true
	s.enqueue(p)
}

// endAfterReplies takes no more requests, and closes when all is answered.
func (s *session) endAfterReplies(why error) {
	s.flags |= closing
	if s.head == nil && s.out == nil {
		s.leave(why)
	}
}

// Closed gives back what the session held. Replies still to come are dropped
// as they arrive.
func (s *session) Closed(err error) {
	w := s.w
	if s.flags&(inGate|hasPlace) != 0 {
		s.leaveGate()
	}
	if s.req != nil {
		w.putRequest(s.req)
		s.req = nil
	}
	for p := s.head; p != nil; {
		next := p.next
		p.next = nil
		p.s = nil
		if p.done {
			w.putPending(p)
		}
		p = next
	}
	s.head, s.tail = nil, nil
	if s.flags&holdLink != 0 {
		w.pool.UnwaitDedicated(s)
		if s.cur != nil {
			s.cur.Unwait(s)
		}
	}
	if s.flags&slowed != 0 {
		s.speedUp()
	}
	s.leaveHeld()
	s.dropDedicated(err)
	if s.out != nil {
		w.loop.PutBuffer(s.out)
		s.out = nil
	}
	s.group.Sessions--
	delete(w.sessions, s.id)
	w.srv.sessionEnded(err)
}

// PeerClosed is asked when the client will send no more. What it sent before
// is still answered, except what blocks.
func (s *session) PeerClosed() bool {
	if s.flags&closing != 0 || s.state != 0 || s.blocked || s.upload != nil || s.head == nil && s.out == nil {
		return false
	}
	s.flags |= finishing
	if s.Buffered() > 0 {
		s.Kick()
	}
	return true
}
