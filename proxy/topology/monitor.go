package topology

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// Options say which nodes there are and how to ask them.
type Options struct {
	// Primary and Replicas are host:port or unix:/path.
	Primary  string
	Replicas []string
	// Backend is the number of this set of servers, where there are several,
	// and FirstIndex the Index of its first node.
	Backend, FirstIndex int
	// Username and Password are the proxy's own; empty for none.
	Username, Password string
	// Dial opens a connection to a node; nil dials TCP or unix.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// PollInterval is how often a node is asked for its role and offset.
	PollInterval time.Duration
	// SilentAfter is how long a poll waits before the node counts as busy.
	SilentAfter time.Duration
	// GoneAfter is how long a node may be silent, without even a BUSY,
	// before it counts as down. It must be longer than the server's
	// busy-reply-threshold, before which Redis says nothing at all.
	GoneAfter      time.Duration
	ConnectTimeout time.Duration
	// Now is the clock of the loops, in nanoseconds.
	Now func() int64
	// Prepare readies a node that came up, with a client of its own, before
	// it is given reads. An error is told, except for ErrLater, and retried
	// with the next poll.
	Prepare func(ctx context.Context, n *Node, c *redis.Client) error
	// Changed hears of a new View or of a node's change of state, on the
	// node's goroutine.
	Changed func(v *View, n *Node)
	// Left hears of a node that is asked no more since it was taken away. It
	// may be nil.
	Left   func(n *Node)
	Logger *slog.Logger
}

// ErrLater is what Options.Prepare returns to be asked again with the next
// poll.
var ErrLater = errors.New("later")

// Monitor polls the nodes and keeps the View. Any goroutine may call it.
type Monitor struct {
	opts      Options
	view      atomic.Pointer[View]
	hello     atomic.Pointer[Hello]
	greeted   atomic.Pointer[Node] // who said hello
	authless  atomic.Bool
	authKnown atomic.Bool
	noneFrom  atomic.Int64 // since when there is no primary

	mu      sync.Mutex // roles, history
	history []mark
	replID  string
	last    *Node // that alone said it is the primary, now or before

	polls pollers
}

// pollers are the goroutines that ask the nodes.
type pollers struct {
	mu     sync.Mutex
	closed bool
	ends   map[*Node]func() // ends a node's goroutine, and waits for it
}

// mark says that the primary's offset was at least this at that time.
type mark struct {
	at, offset int64
}

// historyLen marks at ten a second cover a replica that is 25 s behind;
// beyond that it counts as not caught up at all.
const historyLen = 256

// New makes a monitor that has not asked anybody yet.
func New(o Options) *Monitor {
	if o.Dial == nil {
		o.Dial = dialPlain
	}
	m := &Monitor{opts: o}
	v := &View{Why: "no node has answered yet"}
	now := o.Now()
	for i, addr := range append([]string{o.Primary}, o.Replicas...) {
		n := NewNode(addr, o.FirstIndex+i, now)
		n.Backend = o.Backend
		v.All = append(v.All, n)
	}
	v.Primary, v.Replicas = v.All[0], v.All[1:]
	m.view.Store(v)
	m.hello.Store(&Hello{Server: "redis", Version: "7.0.0", Mode: "standalone"})
	return m
}

// View is the current picture.
func (m *Monitor) View() *View { return m.view.Load() }

// Hello is what the primary said of itself last.
func (m *Monitor) Hello() *Hello { return m.hello.Load() }

// AuthRequired reports that the server refuses who has not said AUTH. It is
// true until the server was heard; see AuthKnown.
func (m *Monitor) AuthRequired() bool { return !m.authless.Load() }

// AuthKnown reports that a primary has said whether it refuses who has not
// said AUTH.
func (m *Monitor) AuthKnown() bool { return m.authKnown.Load() }

// NoPrimaryFor is how long no node, or more than one, has claimed to be the
// primary; 0 when one does.
func (m *Monitor) NoPrimaryFor(now int64) time.Duration { return since(m.noneFrom.Load(), now) }

// Start asks every node once, and then goes on polling until Close. It
// returns when each was heard or failed, or when ctx ends.
func (m *Monitor) Start(ctx context.Context) {
	nodes := m.View().All
	heard := make(chan struct{}, len(nodes))
	for _, n := range nodes {
		m.watch(n, heard)
	}
	for range nodes {
		select {
		case <-heard:
		case <-ctx.Done():
			return
		}
	}
}

// watch begins to ask a node; heard is told when it was asked once. After
// Close it does nothing.
func (m *Monitor) watch(n *Node, heard chan<- struct{}) {
	p := &m.polls
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if p.ends == nil {
		p.ends = make(map[*Node]func())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.pollNode(ctx, n, heard)
	}()
	p.ends[n] = func() { cancel(); <-done }
}

// unwatch asks a node no more.
func (m *Monitor) unwatch(n *Node) {
	p := &m.polls
	p.mu.Lock()
	end := p.ends[n]
	delete(p.ends, n)
	p.mu.Unlock()
	if end == nil {
		return
	}
	end()
	if m.opts.Left != nil {
		m.opts.Left(n)
	}
}

// Close stops polling and waits.
func (m *Monitor) Close() {
	p := &m.polls
	p.mu.Lock()
	p.closed = true
	ends := p.ends
	p.ends = nil
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, end := range ends {
		wg.Go(end)
	}
	wg.Wait()
}

// Client makes a client for a node with the proxy's own user. It neither
// retries nor keeps more than a few connections; the caller closes it.
func (m *Monitor) Client(n *Node) *redis.Client { return m.client(n.Addr, nil) }

// Dial opens a connection to a node under the proxy's own user, for the
// caller to close.
func (m *Monitor) Dial(ctx context.Context, n *Node) (net.Conn, error) {
	c, err := m.opts.Dial(ctx, n.Addr)
	if err != nil || m.opts.Password == "" {
		return c, err
	}
	args := []string{"AUTH", m.opts.Password}
	if m.opts.Username != "" {
		args = []string{"AUTH", m.opts.Username, m.opts.Password}
	}
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	line := make([]byte, 256)
	_, err = c.Write(resp.AppendCommand(nil, args...))
	if err == nil {
		var k int
		k, err = c.Read(line)
		line = line[:k]
	}
	if err == nil && !strings.HasPrefix(string(line), "+OK") {
		err = fmt.Errorf("AUTH: %s", strings.TrimSpace(string(line)))
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (m *Monitor) client(addr string, onConnect func()) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: addr,
		Dialer: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return m.opts.Dial(ctx, addr)
		},
		OnConnect: func(context.Context, *redis.Conn) error {
			if onConnect != nil {
				onConnect()
			}
			return nil
		},
		Username: m.opts.Username, Password: m.opts.Password,
		Protocol: 2, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: m.opts.ConnectTimeout, ReadTimeout: m.opts.SilentAfter, WriteTimeout: m.opts.SilentAfter,
		PoolSize: 2, MaxIdleConns: 1, ContextTimeoutEnabled: true,
	})
}

func dialPlain(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return d.DialContext(ctx, "unix", path)
	}
	return d.DialContext(ctx, "tcp", addr)
}

// take stores what a node said of its replication.
func (m *Monitor) take(n *Node, f map[string]string, started int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := f["master_replid"]
	if f["role"] == "master" {
		n.role.Store(uint32(RolePrimary))
		n.linkUp.Store(true)
		offset := number(f["master_repl_offset"])
		n.offset.Store(offset)
		n.replicas.Store(number(f["connected_slaves"]))
		n.lagBytes.Store(0)
		n.lag.Store(0)
		if n != m.View().Primary {
			return
		}
		if id != m.replID {
			m.replID, m.history = id, m.history[:0]
		}
		if len(m.history) == historyLen {
			m.history = append(m.history[:0], m.history[historyLen/4:]...)
		}
		m.history = append(m.history, mark{at: started, offset: offset})
		return
	}
	n.role.Store(uint32(RoleReplica))
	n.linkUp.Store(f["master_link_status"] == "up")
	offset := number(f["slave_repl_offset"])
	n.offset.Store(offset)
	if id != m.replID || len(m.history) == 0 || started <= n.doubted.Load() {
		n.caughtUp.Store(0)
		n.lag.Store(int64(time.Hour))
		return
	}
	last := m.history[len(m.history)-1]
	n.lagBytes.Store(max(0, last.offset-offset))
	caught := int64(0)
	for i := len(m.history) - 1; i >= 0; i-- {
		if m.history[i].offset <= offset {
			caught = m.history[i].at
			break
		}
	}
	n.caughtUp.Store(caught)
	if started <= n.doubted.Load() {
		n.caughtUp.Store(0) // doubted meanwhile
	}
	n.lag.Store(last.at - caught)
}

// elect finds the primary among what the nodes say.
func (m *Monitor) elect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.View()
	var claims []*Node
	for _, n := range old.All {
		if n.Up() && n.Role() == RolePrimary {
			claims = append(claims, n)
		}
	}
	primary, why := old.Primary, old.Why
	switch len(claims) {
	case 0:
		if primary == nil {
			why = "no node says it is the primary"
		}
	case 1:
		primary, why = claims[0], ""
	default:
		primary = nil
		why = conflict(claims, m.last)
	}
	m.contest(old.All, claims)
	if len(claims) == 1 {
		m.last = primary
	}
	if primary == old.Primary && why == old.Why {
		return
	}
	v := &View{Primary: primary, All: old.All, Why: why}
	for _, n := range old.All {
		if n != primary {
			v.Replicas = append(v.Replicas, n)
		}
	}
	if primary != old.Primary {
		m.primaryChanged(v)
		if m.opts.Logger != nil {
			if primary == nil {
				m.opts.Logger.Error("no primary", "reason", why)
			} else {
				m.opts.Logger.Warn("primary changed", "node", primary.Addr)
			}
		}
	}
	m.view.Store(v)
}

// primaryChanged forgets what was known by the offsets of another primary. mu
// is held.
func (m *Monitor) primaryChanged(v *View) {
	m.replID, m.history = "", nil
	for _, n := range v.All {
		n.caughtUp.Store(0)
	}
	if v.Primary == nil {
		m.noneFrom.Store(m.opts.Now())
	} else {
		m.noneFrom.Store(0)
	}
}

func isBusy(err error) bool { return strings.HasPrefix(err.Error(), "BUSY ") }

func isTimeout(err error) bool {
	var ne net.Error
	return (errors.As(err, &ne) && ne.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)) &&
		!errors.Is(err, syscall.ECONNREFUSED)
}

func parseInfo(text string) map[string]string {
	f := make(map[string]string)
	for line := range strings.SplitSeq(text, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			f[k] = v
		}
	}
	return f
}
