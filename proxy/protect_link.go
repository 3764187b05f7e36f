//go:build linux

package proxy

import (
	"cmp"

	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// Why a call with a deadline does not follow one without on the same link.
//
// Redis writes the replies to what it has read from a connection at once, and
// only afterwards: a script that runs away holds back the replies to all that
// ran before it in the same batch. The first script call on the link is then
// taken for the one that runs. If that one may run for as long as it likes,
// nothing is ever overdue, and the one behind it that runs away is never ended.
//
// So a call with a deadline goes to a link of the session's own while calls
// without one are under way on the shared link. Calls without a deadline may
// follow others: what is ended may then be one of them. A call that is sent anew
// is held to the same, unless more of its session is under way.

// needsOwn tells whether a script call that linkFor sent to a link needs one
// of the session's own. Then the session has nothing else under way.
func (s *session) needsOwn(link *upstream.Link, script *Script) (bool, routing) {
	if link.Dedicated || link.Unbounded == 0 ||
		cmp.Or(s.w.ruling.verdict.Deadline, script.deadlineOr(s.w.gen.Settings.Deadline)) == 0 {
		return false, routed
	}
	if s.head != nil {
		s.hold(holdDrain)
		return false, waiting
	}
	return true, routed
}

// ownTo gives the session a link of its own to the same node, until it has been
// answered: what follows waits for that. Where none is to be had the call goes
// with the others, better without a certain end than not at all.
func (s *session) ownTo(link *upstream.Link) *upstream.Link {
	ded, err := s.group.Dedicate(link.Node)
	if err != nil {
		return link
	}
	s.ded, s.cur = ded, ded
	ded.SetTap(s, false)
	s.hold(holdDrain)
	return ded
}

// boundedLink is the link on which a script call is sent anew: the one given,
// or one of the session's own to the same node.
func (p *pending) boundedLink(link *upstream.Link) *upstream.Link {
	s, c := p.s, &p.call
	if p.kind != kindScript || c.inTx || link.Dedicated || link.Unbounded == 0 || s.ded != nil || s.remote > 1 ||
		p.deadline(&p.w.gen.Settings) == 0 {
		return link
	}
	link = s.ownTo(link)
	c.own = link.Dedicated
	return link
}
