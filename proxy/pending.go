//go:build linux

package proxy

import (
	"bytes"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
)

type pendingKind uint8

const (
	// kindPlain passes the reply on as it comes.
	kindPlain pendingKind = iota
	// kindLocal is answered by the proxy, in buf or text.
	kindLocal
	// kindScript is a script call.
	kindScript
	// kindSelect, kindAuth change what the session's traffic has in common
	// when the server agrees.
	kindSelect
	kindAuth
	// kindSubscribe is answered by as many items as it names channels.
	kindSubscribe
	// kindExec is the reply to a transaction in which there are notes.
	kindExec
	// kindKeep is the reply to what the session may keep its link for.
	kindKeep
	kindUnknown
	// kindMulti begins a transaction, unless the server refuses.
	kindMulti
	// kindSwallow keeps the reply from the client.
	kindSwallow
	// kindWait is a WAIT; see wait.go.
	kindWait
	// kindTrackingInfo is a CLIENT TRACKINGINFO.
	kindTrackingInfo
	// kindRights asks what the session's user may do; see rights.go.
	kindRights
	// kindAsync waits for something else than a link; see fanout.
	kindAsync
)

// pending is one reply that a session waits for, in its order among the
// session's replies.
type pending struct {
	upstream.Call
	w    *worker
	s    *session // nil when the session has gone
	next *pending
	kind pendingKind
	read bool // may be sent again
	done bool // complete in buf, behind one that is not
	mute bool // CLIENT REPLY: the client wants no answer
	// quiet is mute for a kindSubscribe that is refused.
	quiet bool
	// last closes the session after this reply.
	last  bool
	tries uint8
	rank  watchdog.Rank
	link  *upstream.Link
	// buf holds a reply that can't be passed on yet: out of order, or to be
	// looked at as a whole.
	buf  []byte
	text string // a constant local reply

	// stale reads ran before a write that was ahead of them; see followed.
	stale bool

	// refusedAt is when it was first sent, for a request that a busy node has
	// refused.
	refusedAt int64

	call     scriptCall
	watched  watched
	group    *upstream.Group // kindSelect, kindAuth: the session's when it works
	greeting *greeting       // kindAuth: what HELLO asked for besides
	notes    []txNote        // kindExec
	left     int             // kindSubscribe: confirmations to come
	redirect uint64          // kindTrackingInfo: the session that is told; 0: the client itself

	gate  *policy.Gate   // what an admitted call leaves when it ends
	gates []*policy.Gate // the same for the calls that EXEC runs
}

// Reply takes a piece of the reply.
func (p *pending) Reply(_ *upstream.Call, piece []byte, done bool) {
	if p.stale {
		if done {
			p.readAnew()
		}
		return
	}
	switch p.kind {
	case kindPlain:
		if len(piece) > 0 && piece[0] == '-' && p.refusedBusy(piece, done) {
			return
		}
		p.pass(piece)
		if done {
			p.finish()
		}
	case kindSwallow:
		if done {
			p.w.putPending(p)
		}
	case kindScript:
		p.scriptReply(piece, done)
	case kindKeep, kindUnknown:
		p.keep(piece, done)
	default:
		p.buf = append(p.buf, piece...)
		if done {
			p.whole()
		}
	}
}

// pass hands bytes to the session, or keeps them until it is their turn.
func (p *pending) pass(piece []byte) {
	s := p.s
	switch {
	case s == nil || p.mute:
	case s.head == p:
		if len(p.buf) > 0 {
			s.emit(p.buf)
			p.buf = p.buf[:0]
		}
		s.midReply = true
		s.emit(piece)
	default:
		p.buf = append(p.buf, piece...)
	}
}

// finish ends the reply, and hands on those behind it that are complete.
func (p *pending) finish() {
	if p.watched.on {
		p.unwatch()
	}
	s := p.s
	if s == nil {
		p.w.putPending(p)
		return
	}
	p.leaveGates()
	if p.link != nil {
		p.link = nil
		s.remote--
		if !p.read {
			s.writes--
			// The time now, not that of the iteration: the reply may have come
			// after a poll that began later than the iteration did.
			s.lastWrite = loop.Now()
		}
	}
	p.done = true
	if s.head == p {
		s.advance()
	}
}

// whole deals with a complete reply that had to be seen as a whole.
func (p *pending) whole() {
	s := p.s
	reply := p.buf
	switch p.kind {
	case kindSelect, kindAuth:
		if s != nil && p.group != nil && len(reply) > 0 && reply[0] != '-' && reply[0] != '_' && !bytes.Equal(reply, []byte("*-1\r\n")) {
			if p.kind == kindAuth {
				s.admitted(p.group)
			} else {
				s.setGroup(p.group)
			}
			if p.greeting != nil {
				p.buf = append(p.buf[:0], s.greet(p.greeting)...)
			}
		}
		if p.kind == kindAuth && len(reply) > 0 && reply[0] == '-' {
			p.w.shard.Error(metrics.ErrAuth)
		}
		p.settle()
	case kindExec:
		p.executed()
		p.settle()
	case kindMulti:
		if s != nil && reply[0] == '-' {
			s.state &^= inMulti
		}
		p.settle()
	case kindRights:
		p.learn(p.link.Group())
	case kindTrackingInfo:
		p.nameRedirect()
		p.settle()
	case kindWait:
		if p.text != "" {
			p.buf, p.text = append(p.buf[:0], p.text...), ""
		}
		p.settle()
	case kindSubscribe:
		if s != nil && s.ded != nil {
			s.ext.subs.pending--
			s.subscriptionsChanged()
			p.mute = p.quiet && reply[0] == '-'
		}
		p.settle()
	}
}

// settle finishes a pending whose reply is in buf.
func (p *pending) settle() {
	if s := p.s; s != nil && s.head == p {
		if !p.mute {
			s.emit(p.buf)
		}
		p.buf = p.buf[:0]
	}
	p.finish()
}

// answer settles a pending with a reply of the proxy's own.
func (p *pending) answer(text string) {
	p.buf = append(p.buf[:0], text...)
	p.settle()
}

// Lost says that the link ended before the reply was complete.
func (p *pending) Lost(_ *upstream.Call, sent bool, err error) {
	s := p.s
	p.watched.lost, p.watched.sent = true, sent
	if p.kind == kindSwallow || p.kind == kindRights || s == nil {
		p.buf = p.buf[:0]
		p.forgetLost()
		return
	}
	if s.head == p && s.midReply {
		if p.watched.on {
			p.unwatch()
		}
		// Part of the reply is with the client: only closing says so.
		s.Close(err)
		return
	}
	p.buf = p.buf[:0]
	if p.again(sent) {
		return
	}
	if p.kind == kindSelect && !sent {
		if text, ok := refusalOf(err); ok {
			p.answer(text)
			return
		}
	}
	node := (*topology.Node)(nil)
	if p.link != nil {
		node = p.link.Node
	}
	if p.kind == kindScript {
		p.accountLost(sent)
	}
	if sent {
		p.w.shard.Error(metrics.ErrMayHaveRun)
	} else {
		p.w.shard.Error(metrics.ErrUnavailable)
	}
	p.answer(unavailable(node, sent, err))
}

func (p *pending) forgetLost() {
	if s := p.s; s != nil {
		p.finish()
		return
	}
	if p.watched.on {
		p.unwatch()
	}
	p.w.putPending(p)
}

// again sends a request whose link was lost once more, where that can do no
// harm: its bytes never left, or all that the session has in flight only
// reads.
func (p *pending) again(sent bool) bool {
	s := p.s
	if p.tries >= maxTries || p.link == nil || p.link.Dedicated && !p.call.own || sent && (!p.read || s.writes > 0) {
		return false
	}
	if p.kind == kindAuth {
		return p.checkAgain()
	}
	if p.kind != kindPlain && p.kind != kindScript {
		return false
	}
	request := p.link.Request(&p.Call)
	view := p.s.view()
	if link := p.replicaInstead(view); link != nil {
		return p.moveTo(link, request)
	}
	node := view.Primary
	if p.read && p.link.Node != view.Primary && p.link.Node.Up() && p.link.Ready() {
		node = p.link.Node
	}
	if node == nil {
		return false
	}
	link, err := s.group.Shared(node)
	if err != nil || link == p.link {
		return false
	}
	return p.moveTo(link, request)
}

// checkAgain has a user checked on another link: twice does no harm, and the
// link may have ended because the user checked before was deleted.
func (p *pending) checkAgain() bool {
	request := p.link.Request(&p.Call)
	link, err := p.link.Group().Shared(p.link.Node)
	if err != nil || link == p.link {
		return false
	}
	return p.moveTo(link, request)
}

// moveTo sends a request anew on another link.
func (p *pending) moveTo(link *upstream.Link, request []byte) bool {
	s := p.s
	p.tries++
	p.stale = false
	s.flags |= holdDrain // requests in flight on two links: nothing may join them
	if p.kind == kindScript {
		return p.sendRequest(link, request)
	}
	p.link = link
	s.cur = link
	link.Send(request, &p.Call)
	return true
}

// followed deals with the reads behind p on the link old, which p has left
// for the primary because it writes: what they read is from before that
// write, so they follow it as their replies come.
func (p *pending) followed(old *upstream.Link) {
	for q := p.next; q != nil; q = q.next {
		if q.link == old {
			q.stale = true
			p.s.flags |= holdDrain // nothing new may overtake them
		}
	}
}

// readAnew sends a stale read to where the write went.
func (p *pending) readAnew() {
	p.stale = false
	s := p.s
	if s == nil {
		p.finish()
		return
	}
	node := p.s.view().Primary
	if node == nil {
		p.answer(unavailable(nil, false, nil))
		return
	}
	request := p.link.Request(&p.Call)
	link, err := s.group.Shared(node)
	if err != nil {
		p.answer(unavailable(node, false, err))
		return
	}
	if p.kind == kindScript {
		p.sendRequest(link, request)
		return
	}
	p.link, s.cur = link, link
	link.Send(request, &p.Call)
}

// maxTries is how often a request is sent anew: once for a link that was
// lost, once for a node that was not what it seemed.
const maxTries = 2
