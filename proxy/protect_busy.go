//go:build linux

package proxy

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
)

// heldSession waits for a node that runs a script.
type heldSession struct {
	s     *session
	node  *topology.Node
	since int64
	rank  watchdog.Rank
	// p was refused by the node because it is busy, so that it did not run;
	// request is sent again. Both are nil for a request that was not sent.
	p       *pending
	request []byte
}

// awaitFree keeps a request for a node that has been running a script for
// long, for as long as busy_wait says. What comes behind the session's own
// script is sent: it waits there as it would without a proxy.
func (s *session) awaitFree(n *topology.Node) routing {
	if s.w.protect.running[n.Index].Oldest() == nil && !n.Busy() {
		return routed
	}
	return s.awaitBusy(n)
}

// awaitOwn is awaitFree for what goes on a link of the session's own. Inside
// MULTI nothing is kept: the server has to see what it is asked.
func (s *session) awaitOwn() routing {
	if s.state&inMulti != 0 {
		return routed
	}
	n := s.view().Primary
	if s.ded != nil {
		n = s.ded.Node
	}
	if n == nil {
		return routed
	}
	return s.awaitFree(n)
}

func (s *session) awaitBusy(n *topology.Node) routing {
	w := s.w
	now := w.loop.Now()
	if w.protect.running[n.Index].Busy(now) == 0 {
		return routed
	}
	if p := s.head; p != nil && p.watched.on && p.link != nil && p.link.Node == n {
		return routed
	}
	if w.rank < 0 {
		return s.refuseLow(metrics.OutcomeBusy, w.lowBusyText(n, now))
	}
	if w.gen.Settings.BusyWait <= 0 {
		s.flags |= busyOver
		w.protect.expiredAt = now
	}
	if s.busyRefused() {
		w.shard.Error(metrics.ErrBusy)
		w.turned = metrics.OutcomeBusy
		s.replyDynamic(w.busyText(n, now, ""))
		return answered
	}
	s.flags &^= busyOver
	w.keep(heldSession{s: s, node: n, since: now, rank: w.rank})
	return waiting
}

// busyRefused reports that the wait of the session's requests has just come
// to its end: all that it has sent meanwhile has waited as long.
func (s *session) busyRefused() bool {
	return s.flags&busyOver != 0 && s.w.protect.expiredAt == s.w.loop.Now()
}

func (w *worker) keep(h heldSession) {
	h.s.hold(holdBusy)
	l := &w.protect
	l.held = append(l.held, h)
	w.waiting.Store(int64(len(l.held)))
	if !l.ticking {
		l.ticking = true
		w.loop.After(tickEvery, w.tick)
	}
}

// busyText is what a client is told whose request could not wait longer, and
// why.
func (w *worker) busyText(n *topology.Node, now int64, why string) string {
	if r := w.protect.running[n.Index].Oldest(); r != nil {
		return fmt.Sprintf("-BUSY %s is busy: %s has run %s%s; the command did not run\r\n", n.Addr, r.Label, roundAge(r.Age(now)), why)
	}
	return fmt.Sprintf("-BUSY %s has been busy for %s, not with a script that this proxy knows of%s; the command did not run\r\n", n.Addr, roundAge(n.BusyFor(now)), why)
}

// roundAge makes a time readable: 340ms, 1.4s.
func roundAge(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}

// sweepHeld lets go of sessions whose node is free, those of high priority
// first, or whose wait is over.
func (w *worker) sweepHeld(now int64) {
	l := &w.protect
	held := l.held
	l.held = l.held[:0:0]
	set := &w.srv.gen.Load().Settings
	slices.SortStableFunc(held, func(a, b heldSession) int { return int(b.rank) - int(a.rank) })
	kept := held[:0]
	for _, h := range held {
		switch {
		case !h.s.Open() || h.p != nil && h.p.s == nil:
			if h.p != nil && h.p.watched.on {
				h.p.unwatch()
			}
		case l.running[h.node.Index].Busy(now) == 0 && now >= l.nodes[h.node.Index].busy+int64(tickEvery):
			h.release()
		case now-h.since >= set.busyWait(h.rank):
			l.expiredAt = now
			h.expire(now)
		default:
			kept = append(kept, h)
		}
	}
	clear(held[len(kept):])
	l.held = append(kept, l.held...)
	w.waiting.Store(int64(len(l.held)))
}

// release sends what waited for a node that is free.
func (h *heldSession) release() {
	s := h.s
	if h.p != nil {
		h.sendAgain()
	}
	s.unhold(holdBusy)
}

// expire refuses what waited, and what the client has sent meanwhile.
func (h *heldSession) expire(now int64) {
	s := h.s
	s.flags |= busyOver
	if p := h.p; p != nil {
		s.w.shard.Error(metrics.ErrBusy)
		if p.kind == kindScript {
			p.watched.outcome = metrics.OutcomeBusy
			s.w.shard.ScriptCall(metricOf(p.call.script), metrics.RouteLocal, metrics.OutcomeBusy, -1, false)
		}
		p.answer(s.w.busyText(h.node, now, ""))
	}
	s.unhold(holdBusy)
}

// sendAgain sends a request that the node had refused for being busy.
func (h *heldSession) sendAgain() {
	p, s := h.p, h.s
	node, view := h.node, s.view()
	if !(p.read && node.Up()) {
		node = view.Primary
	}
	if node == nil {
		p.answer(unavailable(nil, false, nil))
		return
	}
	link := p.link
	if !p.call.own || !link.Alive() || link.Node != node {
		var err error
		if link, err = s.group.Shared(node); err != nil {
			p.answer(unavailable(node, false, err))
			return
		}
		link = p.boundedLink(link)
	}
	p.rewatch(link)
	s.cur = link
	link.Send(h.request, &p.Call)
}

// isBusyReply tells whether a server refused a request because it runs a
// script: in the words of Redis and of Valkey.
func isBusyReply(line []byte) bool {
	return bytes.HasPrefix(line, []byte("-BUSY ")) && bytes.Contains(line, []byte("is busy running a script"))
}

// parkBusy keeps a request that the node has just refused because it runs a
// script, to send it again. It does so for a client that waits for this
// reply alone: else what it sent behind may have run by then. line is the
// reply.
func (p *pending) parkBusy(line []byte) bool {
	if !isBusyReply(line) {
		return false
	}
	s, w, node := p.s, p.w, p.link.Node
	w.protect.nodes[node.Index].busy = w.loop.Now()
	if s == nil || p.rank < 0 || p.link.Dedicated && !p.call.own || s.remote != 1 || s.flags&(closing|uploading) != 0 || s.upload != nil {
		return false
	}
	now := w.loop.Now()
	if p.refusedAt == 0 {
		p.refusedAt = p.Sent
	}
	if now-p.refusedAt >= w.gen.Settings.busyWait(p.rank) {
		return false
	}
	p.buf = p.buf[:0]
	if p.watched.on {
		w.endRun(p, watchdog.EndBusy, now)
		p.watched.parked = true
		p.watched.leaveUnbounded()
	}
	w.keep(heldSession{s: s, node: node, since: p.refusedAt, rank: p.rank, p: p, request: bytes.Clone(p.link.Request(&p.Call))})
	return true
}

// refusedCall is parkBusy for a script call. Whoever is refused with BUSY did
// not run, so that also a call that may write can be sent again; but not one
// whose script might have said so itself, after it has written.
func (p *pending) refusedCall() bool {
	if script := p.call.script; isBusyReply(p.buf) && !p.read && (script == nil || script.quotesBusy) {
		p.w.protect.nodes[p.link.Node.Index].busy = p.w.loop.Now()
		return false
	}
	if !p.parkBusy(p.buf) {
		return false
	}
	p.call.begun, p.call.failed, p.call.load = false, false, nil
	return true
}

// refusedBusy looks at the first piece of a plain reply that is an error.
func (p *pending) refusedBusy(piece []byte, done bool) bool {
	if !done || len(p.buf) > 0 || p.s != nil && p.s.head == p && p.s.midReply {
		return false
	}
	return p.parkBusy(piece)
}
