//go:build linux

package proxy

import (
	"bytes"
	"net/netip"
	"strconv"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
)

// sessionState is what a server keeps for a connection, so that the session
// needs one of its own.
type sessionState uint16

const (
	inMulti sessionState = 1 << iota
	watching
	subscribed
	tracking
	noEvict
	noTouch
	// sticky sessions did something whose end can't be seen; they keep their
	// link, which nobody else gets afterwards.
	sticky
	// tainted links can't be given to another session.
	tainted
)

// dedicate gives the session a link of its own to the primary.
func (s *session) dedicate() routing {
	if s.ded != nil {
		if _, st := s.ready(s.ded); st != routed {
			return st
		}
		return routed
	}
	if s.head != nil {
		s.hold(holdDrain)
		return waiting
	}
	view := s.view()
	if view.Primary == nil {
		s.w.shard.Error(metrics.ErrUnavailable)
		s.replyDynamic("-UNAVAILABLE no primary: " + view.Why + ": the command did not run\r\n")
		return answered
	}
	link, err := s.group.Dedicate(view.Primary)
	if err == upstream.ErrDedicatedLimit {
		s.w.pool.WaitDedicated(s)
		s.hold(holdLink)
		return waiting
	}
	if err != nil {
		s.w.shard.Error(metrics.ErrUnavailable)
		s.replyDynamic(unavailable(view.Primary, false, err))
		return answered
	}
	s.ded, s.cur = link, link
	link.SetTap(s, false)
	return routed
}

// ownLink sees that the session has a link of its own, to a node that can take
// a request.
func (s *session) ownLink() routing {
	if st := s.awaitOwn(); st != routed {
		return st
	}
	return s.dedicate()
}

// own sends a request on the session's dedicated link.
func (s *session) own(r *resp.Request, kind pendingKind) (*pending, bool) {
	if st := s.ownLink(); st != routed {
		return nil, st == answered
	}
	p := s.w.newPending(s, kind)
	s.send(s.ded, p, r.Raw())
	return p, true
}

// keepDedicated is for what the proxy can't see the end of. The session keeps
// its link for good, unless the server refuses: with any error (kindKeep), or
// by not knowing the command (kindUnknown).
func (s *session) keepDedicated(r *resp.Request, kind pendingKind) bool {
	p, ok := s.own(r, kind)
	if p != nil {
		s.state |= sticky
		s.needExtra().keeps++
	}
	return ok
}

// keep takes a piece of the reply to what keepDedicated sent.
func (p *pending) keep(piece []byte, done bool) {
	c := &p.call
	if !c.begun {
		c.begun, c.failed = true, piece[0] == '-'
		if p.kind == kindUnknown {
			c.failed = bytes.HasPrefix(piece, []byte("-ERR unknown command"))
		}
	}
	p.pass(piece)
	if !done {
		return
	}
	if s := p.s; s != nil && s.ext != nil {
		if !c.failed {
			s.ext.stuck = true
			s.state |= tainted
		} else if s.ext.keeps--; s.ext.keeps == 0 && !s.ext.stuck {
			s.state &^= sticky
		}
	}
	p.finish()
}

// block is for commands that may hold their connection.
func (s *session) block(r *resp.Request) bool {
	if s.state&inMulti != 0 {
		return s.forward(r, false)
	}
	if st := s.ownLink(); st != routed {
		return st == answered
	}
	s.ded.AskServerID()
	s.blocked = true
	if isWait(r.Arg(0)) {
		s.wait(r)
		return true
	}
	p := s.w.newPending(s, kindPlain)
	s.send(s.ded, p, r.Raw())
	return true
}

// transaction follows MULTI and WATCH to their ends. Refused at once, they
// would leave what the client has sent behind them to run by itself.
func (s *session) transaction(cmd *command.Command, r *resp.Request) bool {
	s.w.rank = max(s.w.rank, watchdog.RankNormal)
	if s.ded == nil && (cmd.Op == command.OpExec || cmd.Op == command.OpDiscard || cmd.Op == command.OpUnwatch) {
		// Without MULTI or WATCH the server's answer is the same on any link.
		return s.forward(r, false)
	}
	kind := kindPlain
	switch {
	case cmd.Op == command.OpExec && s.ext != nil && len(s.ext.notes) > 0:
		kind = kindExec
	case cmd.Op == command.OpMulti && s.state&inMulti == 0:
		kind = kindMulti
	}
	if kind == kindMulti {
		if st := s.ownLink(); st != routed {
			return st == answered
		}
		if s.askRights() {
			return s.hold(holdDrain)
		}
	}
	if cmd.Op == command.OpExec && s.state&inMulti != 0 {
		if st := s.enterAll(cmd); st != routed {
			return st == answered
		}
	}
	p, ok := s.own(r, kind)
	if p == nil {
		return ok
	}
	switch cmd.Op {
	case command.OpMulti:
		if s.state&inMulti != 0 {
			s.multi-- // refused, not queued
			break
		}
		s.state |= inMulti
		s.multi = 0
		if s.ext != nil {
			clear(s.ext.queued)
			s.ext.multi = nil
		}
	case command.OpWatch:
		if s.state&inMulti != 0 {
			s.multi-- // refused, not queued
		} else {
			s.state |= watching
		}
	case command.OpUnwatch:
		if s.state&inMulti == 0 {
			s.state &^= watching
		}
	case command.OpExec, command.OpDiscard:
		if s.state&inMulti == 0 {
			break // refused: what is watched stays watched
		}
		if cmd.Op == command.OpExec {
			s.execScripts(p)
		}
		if s.ext != nil {
			p.notes, s.ext.notes = s.ext.notes, nil
			if kind == kindExec {
				s.flags |= holdDrain // what follows may ask for what the notes change
			}
		}
		s.endTransaction(p)
	}
	return true
}

// maybeRelease gives the dedicated link back when nothing is kept on it.
func (s *session) maybeRelease() {
	if s.state&^tainted != 0 || s.ded == nil || s.upload != nil {
		return
	}
	link := s.ded
	s.ded, s.cur = nil, nil
	if s.state&tainted != 0 || link.Group() != s.group || link.Pending() > 0 {
		s.state &^= tainted
		link.SetTap(nil, false)
		link.Fail(errReleased)
		return
	}
	link.Resume()
	s.group.Release(link)
}

// dropDedicated is for a session that ends: the server must forget what it
// keeps for it, a blocked command included.
func (s *session) dropDedicated(err error) {
	if s.ded == nil {
		return
	}
	s.leaveTransaction()
	link := s.ded
	s.ded = nil
	link.SetTap(nil, false)
	if s.state != 0 || link.Pending() > 0 || link.Group() != s.group || s.upload != nil {
		link.Fail(err)
		return
	}
	link.Group().Release(link)
}

// LinkClosed ends a session whose state was lost with its link, as it would
// have ended without a proxy.
func (s *session) LinkClosed(err error) {
	s.ded = nil
	if s.cur != nil && !s.cur.Alive() {
		s.cur = nil
	}
	if s.state&^tainted != 0 {
		s.endAfterReplies(err)
	}
	s.leaveTransaction()
	s.state = 0
}

// subscriptions counts what a session is subscribed to, as the server says.
type subscriptions struct {
	channels, patterns, shards int
	pending                    int // commands whose confirmations are to come
}

func (n *subscriptions) none() bool { return n.channels == 0 && n.patterns == 0 && n.shards == 0 }

// subscribe sends a SUBSCRIBE, an UNSUBSCRIBE, or a kin of theirs.
func (s *session) subscribe(cmd *command.Command, r *resp.Request) bool {
	if s.state&inMulti != 0 {
		if s.flags&resp3 != 0 || r.Len() != 2 {
			// EXEC's reply would have more items, or fewer, than it announces.
			s.w.shard.Error(metrics.ErrRefused)
			s.turnAway(cmd, "-ERR scriptproxy passes "+cmd.Name+" on inside MULTI only in RESP2 and for one channel, since EXEC's reply could not be told from what follows it; send it outside the transaction\r\n")
			return true
		}
		return s.inTransaction(cmd, r)
	}
	if st := s.ownLink(); st != routed {
		return st == answered
	}
	s.ded.AskServerID() // in RESP2 the server does not tell a subscriber
	p, ok := s.own(r, kindSubscribe)
	if p == nil {
		return ok
	}
	p.left = r.Len() - 1
	p.quiet, p.mute = p.mute, false // confirmations are pushes, which CLIENT REPLY does not hold back
	s.state |= subscribed
	s.needExtra().subs.pending++
	s.ded.SetTap(s, s.flags&resp3 == 0)
	return true
}

// Item takes what a dedicated link brings besides replies.
func (s *session) Item(item []byte, kind byte) bool {
	if kind != '*' && kind != '>' {
		if s.ded.Head() != nil {
			return false
		}
		s.emit(item) // MONITOR's lines
		return true
	}
	name, rest := firstBulk(item)
	count, add := s.subscriptionCount(name)
	if count == nil {
		switch string(name) {
		case "message", "pmessage", "smessage", "invalidate", "tracking-redir-broken":
		default:
			if kind == '*' && s.ded.Head() != nil {
				return false
			}
		}
		s.emit(item)
		return true
	}
	p := s.subscribePending()
	if p != nil && p.left == 0 {
		// UNSUBSCRIBE without arguments: one confirmation for each, or one
		// to say that there was none.
		p.left = max(1, *count)
	}
	s.countSubscription(count, add, rest)
	if p == nil {
		s.emit(item)
		return true
	}
	p.left--
	if p.left > 0 {
		p.pass(item)
		return true
	}
	return false
}

// subscriptionCount tells which count a confirmation is about, and which way
// it goes; nil for what is none.
func (s *session) subscriptionCount(name []byte) (count *int, add bool) {
	if s.ext == nil {
		return nil, false
	}
	n := &s.ext.subs
	switch string(name) {
	case "subscribe":
		return &n.channels, true
	case "unsubscribe":
		return &n.channels, false
	case "psubscribe":
		return &n.patterns, true
	case "punsubscribe":
		return &n.patterns, false
	case "ssubscribe":
		return &n.shards, true
	case "sunsubscribe":
		return &n.shards, false
	}
	return nil, false
}

// countSubscription brings a count up to what the server reports: the total
// of channels and patterns, or that of shard channels.
func (s *session) countSubscription(count *int, add bool, rest []byte) {
	n := &s.ext.subs
	total, ok := lastInteger(rest)
	if !ok {
		return
	}
	known := n.channels + n.patterns
	if count == &n.shards {
		known = n.shards
	}
	*count = max(0, *count+total-known)
	s.subscriptionsChanged()
}

// subscriptionsChanged ends the subscribed state with the last subscription,
// when no confirmation is to come that may begin it anew.
func (s *session) subscriptionsChanged() {
	if n := &s.ext.subs; !n.none() || n.pending > 0 {
		s.state |= subscribed
		return
	}
	s.state &^= subscribed
	s.ded.SetTap(s, false)
}

func (s *session) subscribePending() *pending {
	c := s.ded.Head()
	if c == nil {
		return nil
	}
	if p, ok := c.Owner.(*pending); ok && p.kind == kindSubscribe {
		return p
	}
	return nil
}

// firstBulk returns the first element of an array or push that is a bulk
// string, and what follows it.
func firstBulk(item []byte) (name, rest []byte) {
	i := bytes.IndexByte(item, '\n')
	if i < 0 || i+1 >= len(item) || item[i+1] != '$' {
		return nil, nil
	}
	item = item[i+2:]
	j := bytes.IndexByte(item, '\r')
	if j < 0 {
		return nil, nil
	}
	n, err := strconv.Atoi(string(item[:j]))
	if err != nil || n < 0 || j+2+n > len(item) {
		return nil, nil
	}
	return item[j+2 : j+2+n], item[j+2+n:]
}

// lastInteger reads the integer that ends an item.
func lastInteger(item []byte) (int, bool) {
	i := bytes.LastIndexByte(item, ':')
	if i < 0 {
		return 0, false
	}
	n, err := strconv.Atoi(string(bytes.TrimRight(item[i+1:], "\r\n")))
	return n, err == nil
}

// extra is what few sessions need.
type extra struct {
	name, libName, libVersion string
	user                      string
	subs                      subscriptions
	queued                    map[*Script]bool // bodies sent inside MULTI
	notes                     []txNote         // on commands queued inside MULTI
	addr, laddr               string
	multi                     *queuedScripts // script calls inside MULTI
	softSince                 int64
	keeps                     int            // sent by keepDedicated and not refused
	stuck                     bool           // the session is sticky for good
	slowed                    *upstream.Link // see tooMuch
	redirect                  uint64         // see redirectsTo

	gate      *policy.Gate   // of a request that waits; see policy_limits.go
	gates     []*policy.Gate // of the transaction's calls
	peer      netip.Addr     // see session.peer
	peerKnown bool
	notLoaded *Script // see loadFirst
	refusal   string
}

// fresh is what a session keeps after RESET: where it came from.
func (e *extra) fresh() *extra {
	if e.addr == "" {
		return nil
	}
	return &extra{addr: e.addr, laddr: e.laddr}
}

func (s *session) needExtra() *extra {
	if s.ext == nil {
		s.ext = &extra{}
	}
	return s.ext
}
