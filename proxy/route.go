//go:build linux

package proxy

import (
	"fmt"
	"strings"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

type routing uint8

const (
	// routed: there is a link to send on.
	routed routing = iota
	// waiting: the session is held; the request comes again.
	waiting
	// answered: there is no usable node, and the client was told.
	answered
)

// linkFor finds the link for a request: the dedicated one of a session that
// has it; else that on which the session has requests in flight, if it fits;
// else a shared link to the primary, or to a replica when replica allows it.
// A request that fits another node than those before it waits until they are
// answered, so that a session's requests take effect in their order.
func (s *session) linkFor(replica, read bool) (*upstream.Link, routing) {
	s.w.turned = metrics.OutcomeUnavailable
	if s.ded != nil {
		if st := s.awaitOwn(); st != routed {
			return nil, st
		}
		return s.ready(s.ded)
	}
	if rule := s.w.ruling.route; rule != policy.RouteAny {
		replica = read && rule == policy.RouteReplica
	}
	view := s.view()
	if s.remote > 0 {
		cur := s.cur
		if cur.Alive() && (cur.Node == view.Primary || replica && s.fit(cur.Node)) && cur == s.group.Existing(cur.Node) {
			if st := s.awaitFree(cur.Node); st != routed {
				return nil, st
			}
			return s.ready(cur)
		}
		s.hold(holdDrain)
		return nil, waiting
	}
	if replica {
		if link := s.replica(view); link != nil {
			return s.ready(link)
		}
		if s.w.gen.Settings.NoFallback {
			s.w.shard.Error(metrics.ErrUnavailable)
			s.replyDynamic("-UNAVAILABLE no replica is fit for a read, and routing.fallback forbids the primary: the command did not run\r\n")
			return nil, answered
		}
	}
	if view.Primary == nil {
		s.w.shard.Error(metrics.ErrUnavailable)
		s.replyDynamic("-UNAVAILABLE no primary: " + view.Why + ": the command did not run\r\n")
		return nil, answered
	}
	if st := s.awaitFree(view.Primary); st != routed {
		return nil, st
	}
	link, err := s.group.Shared(view.Primary)
	if err != nil {
		s.w.shard.Error(metrics.ErrUnavailable)
		s.replyDynamic(unavailable(view.Primary, false, err))
		return nil, answered
	}
	return s.ready(link)
}

// ready returns a link unless it has too much to do.
func (s *session) ready(link *upstream.Link) (*upstream.Link, routing) {
	if s.crowded(link) {
		return nil, answered
	}
	if link.Full() {
		if s.w.rank > 0 {
			link.WaitAhead(s)
		} else {
			link.Wait(s)
		}
		s.hold(holdLink)
		return nil, waiting
	}
	return link, routed
}

// replica picks the next replica that may answer this session, and to which
// a link is at hand.
func (s *session) replica(view *topology.View) *upstream.Link {
	w := s.w
	n := len(view.Replicas)
	for range n {
		w.turn++
		node := view.Replicas[w.turn%n]
		if !s.fit(node) {
			continue
		}
		if link, err := s.group.Shared(node); err == nil && s.trusts(link) {
			return link
		}
	}
	return nil
}

// trusts tells whether a link to a replica leads to the server of which the
// node speaks: a new link may lead to one that was started anew, with other
// data, until the node has been asked since.
func (s *session) trusts(link *upstream.Link) bool {
	return s.w.gen.Settings.Consistency == ConsistencyEventual || link.ReadyAt() > 0 && link.ReadyAt() < link.Node.CaughtUp()
}

// replicaInstead is a link to a replica for a read that was lost with its
// link to the primary, or nil.
func (p *pending) replicaInstead(view *topology.View) *upstream.Link {
	set := &p.w.gen.Settings
	allowed := set.ReplicaReads
	if p.kind == kindScript {
		allowed = set.ReplicaScriptReads
	}
	if !p.read || !allowed || p.link.Node != view.Primary {
		return nil
	}
	return p.s.replica(view)
}

// fit tells whether a node may answer this session's reads as a replica.
func (s *session) fit(n *topology.Node) bool {
	set := &s.w.gen.Settings
	if !n.Ready() || n.Role() != topology.RoleReplica || s.w.protect.running[n.Index].Busy(s.w.loop.Now()) > 0 {
		return false
	}
	if !n.LinkUp() {
		// A replica whose primary is gone has what it has; one that lost a
		// living primary falls behind.
		if primary := s.view().Primary; primary == nil || primary.Up() && !s.group.Refused(primary) {
			return false
		}
	}
	caughtUp := n.CaughtUp()
	if caughtUp == 0 || set.MaxLag > 0 && n.Lag() > set.MaxLag {
		return false
	}
	if set.MaxLagBytes > 0 && n.LagBytes() > set.MaxLagBytes {
		return false
	}
	switch set.Consistency {
	case ConsistencyEventual:
		return true
	case ConsistencyStrong:
		return false
	}
	return s.writes == 0 && s.lastWrite < caughtUp
}

// send queues a request on a link with p waiting for the reply.
func (s *session) send(link *upstream.Link, p *pending, request []byte) {
	s.occupy(link, p)
	link.Send(request, &p.Call)
}

// occupy takes note that p is in flight on link.
func (s *session) occupy(link *upstream.Link, p *pending) {
	p.link, p.rank = link, p.w.rank
	s.cur = link
	s.remote++
	if s.flags&cachingNext != 0 && link == s.ded {
		s.flags |= cachingSeen
	}
	if p.kind == kindScript {
		p.w.flights.begin(&p.call)
		if !p.call.inTx {
			p.w.watch(p)
		}
	}
	if !p.read {
		s.writes++
	}
	if s.state&inMulti != 0 {
		s.multi++
	}
	s.enqueue(p)
}

// replyDynamic answers with a text that was made for the occasion.
func (s *session) replyDynamic(text string) { s.reply(text) }

// unavailable is what a client is told when a node could not be used.
func unavailable(n *topology.Node, sent bool, err error) string {
	var b strings.Builder
	b.WriteString("-UNAVAILABLE ")
	switch {
	case n == nil:
		b.WriteString("no node")
	case sent:
		fmt.Fprintf(&b, "the connection to %s %s was lost", n.Role(), n.Addr)
	default:
		fmt.Fprintf(&b, "no connection to %s %s", n.Role(), n.Addr)
	}
	if err != nil {
		fmt.Fprintf(&b, " (%s)", oneLine(err.Error()))
	}
	if sent {
		b.WriteString(": the command may have run\r\n")
	} else {
		b.WriteString(": the command did not run\r\n")
	}
	return b.String()
}

// oneLine makes a text fit for a RESP error, as Redis does (networking.c,
// addReplyErrorFormatInternal).
func oneLine(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c == '\r' || c == '\n' {
			b[i] = ' '
		}
	}
	return string(b)
}
