//go:build linux

package upstream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"golang.org/x/sys/unix"
)

// Options are the bounds of links, and how they are made.
type Options struct {
	// Dial returns a connected, non-blocking descriptor. It runs on a
	// goroutine of its own.
	Dial func(ctx context.Context, addr string) (int, error)
	// ConnectTimeout bounds Dial.
	ConnectTimeout time.Duration
	// MaxPending and MaxUnsent (bytes) are a link's high-water marks.
	MaxPending, MaxUnsent int
	// BackoffMin and BackoffMax bound the wait after a failed connect; it
	// doubles each time, with half of it random.
	BackoffMin, BackoffMax time.Duration
	// DedicatedMax bounds the dedicated links to one node on one loop;
	// DedicatedIdle is how long one is kept when nobody needs it, but for the
	// last DedicatedKeep of a group with sessions, which stay.
	DedicatedMax, DedicatedKeep int
	DedicatedIdle               time.Duration
	// OnLink counts links as they are made (+1) and end (-1).
	OnLink func(n *topology.Node, dedicated bool, delta int)
	// OnFail hears of links that failed, with the reason.
	OnFail func(n *topology.Node, err error)
	// OnRefused hears that a server refused the handshake of a group's shared
	// link, in its words, after the calls on the link were told. May be nil.
	OnRefused func(g *Group, text string)
}

// Identity is a user of the server, with what proves it. Its password is
// never printed.
type Identity struct {
	User, password string
	set            bool
}

// NewIdentity describes a user; an empty user with a password is AUTH with
// one argument.
func NewIdentity(user, password string) Identity {
	return Identity{User: user, password: password, set: user != "" || password != ""}
}

// Anonymous reports an identity that says nothing to the server.
func (id Identity) Anonymous() bool { return !id.set }

func (id Identity) String() string { return "user " + strconv.Quote(id.User) }

// GoString keeps the password out of %#v.
func (id Identity) GoString() string { return id.String() }

// Key is what the traffic of a shared link has in common.
type Key struct {
	// Backend is the place of the servers, where there are several sets of them.
	Backend  int
	Identity Identity
	Purpose  Purpose
	DB       int
	Proto    int // 2 or 3
}

// Purpose keeps apart links that must not be shared with other traffic.
type Purpose uint8

// Purposes.
const (
	// PurposeTraffic is for what clients ask.
	PurposeTraffic Purpose = iota
	// PurposeAuth is for having the server check users: AUTH changes a
	// connection's user, so nothing else may travel there.
	PurposeAuth
)

// Pool is the links of one loop.
type Pool struct {
	loop    *loop.Loop
	opts    Options
	groups  map[Key]*Group
	backoff []backoff // by node index
	lent    []int     // dedicated links by node index
	queue   []Waiter  // for a dedicated link
}

type backoff struct {
	until int64
	wait  time.Duration
	err   error
}

// after notes a failure, and doubles the wait.
func (b *backoff) after(o *Options, err error) {
	b.wait = min(max(o.BackoffMin, 2*b.wait), o.BackoffMax)
	b.until = loop.Now() + int64(b.wait)/2 + rand.Int64N(int64(b.wait)/2+1)
	b.err = err
}

// NewPool makes the links' place on a loop. It, and all it holds, belongs to
// the loop's goroutine.
func NewPool(l *loop.Loop, opts Options) *Pool {
	return &Pool{loop: l, opts: opts, groups: make(map[Key]*Group)}
}

// Group finds or makes the group of a key.
func (p *Pool) Group(k Key) *Group {
	g := p.groups[k]
	if g == nil {
		g = &Group{pool: p, key: k}
		p.groups[k] = g
	}
	return g
}

// Groups calls f for every group.
func (p *Pool) Groups(f func(*Group)) {
	for _, g := range p.groups {
		f(g)
	}
}

// Group is the links of one identity, database and protocol.
type Group struct {
	pool   *Pool
	key    Key
	shared []*Link   // by node index
	idle   [][]*Link // dedicated ones nobody has, by node index
	// refused keeps the group from asking again at once for what a server
	// has just refused to it, and not to others.
	refused backoff
	// Sessions is the number of sessions that use the group; its owner counts.
	Sessions int
	// BodiesOnly tells that the identity may not call scripts by their shas,
	// PlainOnly that it may not use the read-only verbs; for the owner, as is
	// Rights.
	BodiesOnly, PlainOnly bool
	rights                [2]Rights
}

// Rights are what is known of an identity's use of EVAL, or of EVAL_RO.
type Rights struct {
	// MayEval tells that the server has let it, ShasOnly that it has not.
	// MayCall tells that the server has let it EVALSHA, or EVALSHA_RO; see
	// Group.BodiesOnly for the contrary.
	MayEval, ShasOnly, MayCall bool
	// Asked tells that the server was asked without need; see askRights in
	// package proxy.
	Asked bool
}

// Rights are those to EVAL_RO or to EVAL.
func (g *Group) Rights(readOnly bool) *Rights {
	if readOnly {
		return &g.rights[1]
	}
	return &g.rights[0]
}

// Key is what the group's traffic has in common.
func (g *Group) Key() Key { return g.key }

// Backend is that of the key.
func (g *Group) Backend() int { return g.key.Backend }

// With is the group of the same pool with another key.
func (g *Group) With(k Key) *Group { return g.pool.Group(k) }

// ErrDedicatedLimit says that every dedicated link of a node is lent.
var ErrDedicatedLimit = errors.New("all dedicated links are in use")

// Shared is the group's shared link to a node, connecting if need be. It
// fails while the wait after a failed connect lasts.
func (g *Group) Shared(n *topology.Node) (*Link, error) {
	if n.Index < len(g.shared) {
		if l := g.shared[n.Index]; l != nil {
			return l, nil
		}
	}
	for len(g.shared) <= n.Index {
		g.shared = append(g.shared, nil)
	}
	l, err := g.dial(n, false)
	if err != nil {
		return nil, err
	}
	g.shared[n.Index] = l
	return l, nil
}

// Refused reports that the last attempt to connect to a node failed, and that
// the wait for the next one lasts.
func (g *Group) Refused(n *topology.Node) bool {
	b := g.pool.backoff
	return n.Index < len(b) && b[n.Index].until > loop.Now()
}

// Existing is the shared link to a node if there is one.
func (g *Group) Existing(n *topology.Node) *Link {
	if n.Index < len(g.shared) {
		return g.shared[n.Index]
	}
	return nil
}

// Worked is when a shared link to a node last brought the reply to a request
// that the node has carried out: any but an error, which may say that it was
// refused.
func (p *Pool) Worked(n *topology.Node) (at int64) {
	for _, g := range p.groups {
		if l := g.Existing(n); l != nil {
			at = max(at, l.worked)
		}
	}
	return at
}

// Dedicate lends a link to one session.
func (g *Group) Dedicate(n *topology.Node) (*Link, error) {
	if n.Index < len(g.idle) {
		free := g.idle[n.Index]
		if k := len(free); k > 0 {
			l := free[k-1]
			free[k-1] = nil
			g.idle[n.Index] = free[:k-1]
			return l, nil
		}
	}
	p := g.pool
	for len(p.lent) <= n.Index {
		p.lent = append(p.lent, 0)
	}
	if p.lent[n.Index] >= p.opts.DedicatedMax && !p.reclaim(n) {
		return nil, ErrDedicatedLimit
	}
	return g.dial(n, true)
}

// WaitDedicated has w resumed when a dedicated link may be had.
func (p *Pool) WaitDedicated(w Waiter) { p.queue = append(p.queue, w) }

// UnwaitDedicated takes w off the list.
func (p *Pool) UnwaitDedicated(w Waiter) {
	for i := range p.queue {
		if p.queue[i] == w {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			return
		}
	}
}

// reclaim closes a dedicated link that another group keeps idle.
func (p *Pool) reclaim(n *topology.Node) bool {
	for _, g := range p.groups {
		if n.Index < len(g.idle) && len(g.idle[n.Index]) > 0 {
			g.idle[n.Index][0].Fail(errIdle)
			return true
		}
	}
	return false
}

// Release takes a dedicated link back. The link must be in the state it was
// lent in, with no call pending; otherwise end it with Fail.
func (g *Group) Release(l *Link) {
	if l.state == linkClosed {
		return
	}
	l.SetTap(nil, false)
	for len(g.idle) <= l.Node.Index {
		g.idle = append(g.idle, nil)
	}
	l.idleSince = g.pool.loop.Now()
	g.idle[l.Node.Index] = append(g.idle[l.Node.Index], l)
	g.pool.wakeOne()
}

func (p *Pool) wakeOne() {
	if len(p.queue) > 0 {
		w := p.queue[0]
		p.queue = append(p.queue[:0], p.queue[1:]...)
		w.Resume()
	}
}

// FailShared ends the shared links to a node.
func (p *Pool) FailShared(n *topology.Node, err error) {
	for _, g := range p.groups {
		if l := g.Existing(n); l != nil {
			l.Fail(err)
		}
	}
}

// Retire closes the links to a node that was taken away: those that rest, or,
// when it is over, all but those that are lent. It reports whether any is left
// that the pool has.
func (p *Pool) Retire(n *topology.Node, over bool, err error) (left bool) {
	for _, g := range p.groups {
		for n.Index < len(g.idle) && len(g.idle[n.Index]) > 0 {
			g.idle[n.Index][0].Fail(errIdle)
		}
		switch l := g.Existing(n); {
		case l == nil:
		case l.pending == 0:
			l.Fail(errIdle)
		case over:
			l.Fail(err)
		default:
			left = true
		}
	}
	return left
}

var errIdle = errors.New("idle")

// Sweep closes dedicated links that nobody needed for long, and links of
// groups without sessions. The owner calls it about once a second.
func (p *Pool) Sweep() {
	now := p.loop.Now()
	for k, g := range p.groups {
		empty := true
		for _, l := range g.shared {
			if l != nil {
				l.out.shrink()
			}
		}
		keep := p.opts.DedicatedKeep
		if g.Sessions == 0 {
			keep = 0
		}
		for i := range g.idle {
			for len(g.idle[i]) > keep && now-g.idle[i][0].idleSince > int64(p.opts.DedicatedIdle) {
				g.idle[i][0].Fail(errIdle)
			}
			empty = empty && len(g.idle[i]) == 0
		}
		if g.Sessions > 0 {
			continue
		}
		for _, l := range g.shared {
			if l == nil {
				continue
			}
			empty = false
			if l.pending == 0 && now-l.lastReply > int64(p.opts.DedicatedIdle) && l.state == linkReady {
				l.Fail(errIdle)
			}
		}
		if empty {
			delete(p.groups, k)
		}
	}
}

func (g *Group) dial(n *topology.Node, dedicated bool) (*Link, error) {
	p := g.pool
	for len(p.backoff) <= n.Index {
		p.backoff = append(p.backoff, backoff{})
	}
	now := loop.Now()
	if b := &p.backoff[n.Index]; b.until > now {
		return nil, b.err
	}
	if g.refused.until > now {
		return nil, g.refused.err
	}
	l := &Link{Node: n, group: g, Dedicated: dedicated}
	if dedicated {
		p.lent[n.Index]++
	}
	if p.opts.OnLink != nil {
		p.opts.OnLink(n, dedicated, 1)
	}
	g.greet(l)
	ctx, cancel := context.WithTimeout(context.Background(), p.opts.ConnectTimeout)
	go func() {
		defer cancel()
		fd, err := p.opts.Dial(ctx, n.Addr)
		if !p.loop.Do(func() { l.connected(fd, err) }) && err == nil {
			unix.Close(fd)
		}
	}()
	return l, nil
}

// greet queues what the link says first, and keeps the rest back until it
// is answered.
func (g *Group) greet(l *Link) {
	h := &handshake{link: l}
	say := func(args ...string) {
		h.left++
		l.Send(resp.AppendCommand(nil, args...), &Call{Owner: h})
	}
	id := g.key.Identity
	switch {
	case g.key.Proto == 3 && !id.Anonymous():
		user := id.User
		if user == "" {
			user = "default"
		}
		say("HELLO", "3", "AUTH", user, id.password)
	case g.key.Proto == 3:
		say("HELLO", "3")
	case id.Anonymous():
	case id.User == "":
		say("AUTH", id.password)
	default:
		say("AUTH", id.User, id.password)
	}
	if g.key.DB != 0 {
		say("SELECT", strconv.Itoa(g.key.DB))
	}
	l.out.gate = l.out.end()
	if h.left == 0 {
		l.out.gate = math.MaxUint64
	}
}

func (l *Link) connected(fd int, err error) {
	if l.state == linkClosed {
		if err == nil {
			unix.Close(fd)
		}
		return
	}
	if err == nil {
		err = l.Attach(l.group.pool.loop, fd, l)
		if err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		l.Closed(fmt.Errorf("cannot connect to %s: %w", l.Node.Addr, err))
		return
	}
	l.state = linkHandshake
	if l.out.gate == math.MaxUint64 {
		l.open()
		return
	}
	l.Flush()
}

func (g *Group) linkReady(l *Link) {
	g.pool.backoff[l.Node.Index] = backoff{}
	g.refused = backoff{}
	l.readySince = g.pool.loop.Now()
}

// Forgive lets the group ask again at once for what was refused to it: its
// user has just been let in elsewhere.
func (g *Group) Forgive() { g.refused = backoff{} }

// handshakeRefused ends a link whose first words the server did not like.
func (g *Group) handshakeRefused(l *Link, err *HandshakeError) {
	g.refused.after(&g.pool.opts, err)
	l.Fail(err)
	if g.pool.opts.OnRefused != nil && !l.Dedicated {
		g.pool.opts.OnRefused(g, err.Text)
	}
}

// steady is how long a link must have been ready for its loss to be no reason
// to wait before the next.
const steady = 100 * time.Millisecond

// relink makes a user's lost shared link anew without waiting for a request.
// A server that deletes a user ends the user's connections, and nothing else
// would tell of it the sessions that are idle.
func (g *Group) relink(l *Link, err error) {
	if l.Node.Gone() || l.Dedicated || l.readySince == 0 || g.Sessions == 0 || g.key.Identity.Anonymous() ||
		errors.Is(err, errIdle) || errors.Is(err, loop.ErrStopped) ||
		g.pool.loop.Now()-l.readySince < int64(steady) {
		return
	}
	g.Shared(l.Node)
}

func (g *Group) linkClosed(l *Link, err error, dialing bool) {
	p := g.pool
	if p.opts.OnLink != nil {
		p.opts.OnLink(l.Node, l.Dedicated, -1)
	}
	if !errors.Is(err, errIdle) && p.opts.OnFail != nil {
		p.opts.OnFail(l.Node, err)
	}
	if dialing {
		p.backoff[l.Node.Index].after(&p.opts, err)
	}
	if l.Dedicated {
		p.lent[l.Node.Index]--
		if l.Node.Index < len(g.idle) {
			free := g.idle[l.Node.Index]
			for i := range free {
				if free[i] == l {
					g.idle[l.Node.Index] = append(free[:i], free[i+1:]...)
					break
				}
			}
		}
		p.wakeOne()
	} else if l.Node.Index < len(g.shared) && g.shared[l.Node.Index] == l {
		g.shared[l.Node.Index] = nil
	}
}
