//go:build linux

// Package proxy is the data plane: it serves clients, decides what becomes
// of each request, and sends it on.
//
// A request's way is in dispatch.go. A session (session.go) is one client
// connection, a pending (pending.go) one reply it waits for, a worker
// (worker.go) what one event loop has of its own. Nothing on a request's way
// is shared between loops but immutable snapshots.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
	"golang.org/x/sys/unix"
)

var errReleased = errors.New("no longer needed")

// Options are what a server is made of.
type Options struct {
	// Loops is the number of event loops, at least 1.
	Loops int
	// Upstreams are the sets of servers; there is at least one.
	Upstreams []Upstream
	// Spare are places for servers that are added later; see AddNode.
	Spare []*topology.Node
	// ListenerUpstreams says, for each listener, where its sessions begin; the
	// first where it has none.
	ListenerUpstreams []int
	Metrics           *metrics.Metrics
	SlowLog           *metrics.SlowLog
	Upstream          upstream.Options
	// Service makes all traffic travel under an identity of the proxy's, and
	// takes clients as they come; otherwise clients say AUTH to the server
	// themselves.
	Service bool
	// First is the configuration to begin with.
	First *Generation
	// KnownScripts and KnownBytes bound what the clients of each upstream load.
	KnownScripts int
	KnownBytes   int64
	// Analyse classifies a body that a client sent, and says SetFacts; it may
	// take its time on a goroutine of its own.
	Analyse func(*Script)
	// Trace takes the calls that Settings.TraceSample picks; it must not block.
	Trace func(CallTrace)
	// Load loads a script on a node through the proxy's own user, for users
	// that may not. refused is the server's error; err says that the node was
	// not reached.
	Load   func(ctx context.Context, n *topology.Node, s *Script) (refused string, err error)
	Logger *slog.Logger
	// ConnectTimeout bounds the making of the connections that kill.
	ConnectTimeout time.Duration
	// OnBreaker hears, on a goroutine of its own, that a script's breaker has
	// opened; it may be nil.
	OnBreaker func(*Script)
}

// Server serves clients. Serve may be called for several listeners; the
// other methods are for any goroutine.
type Server struct {
	group    *loop.Group
	workers  []*worker
	backends []*backend
	// listenerBackends has the number of a backend for each listener.
	listenerBackends []int

	metrics  *metrics.Metrics
	slow     *metrics.SlowLog
	service  bool
	gen      atomic.Pointer[Generation]
	log      *slog.Logger
	trace    func(CallTrace)
	nodes    []metrics.NodeID
	down     []bool // see NodeChanged
	load     func(context.Context, *topology.Node, *Script) (string, error)
	apart    atomic.Pointer[map[string]bool] // see loadApartFor
	users    sync.Map                        // see noteUser
	verdicts chan verdictLine
	ended    sync.Once

	dog       *watchdog.Dog
	breakers  breakerList
	onBreaker func(*Script)

	nextID   atomic.Uint64
	sessions atomic.Int64

	mu        sync.Mutex
	listeners []*loop.Listener
	draining  atomic.Bool
}

// New makes a server with its loops running and no listener.
func New(o Options) (*Server, error) {
	g, err := loop.NewGroup(o.Loops)
	if err != nil {
		return nil, err
	}
	s := &Server{
		group: g, listenerBackends: o.ListenerUpstreams, trace: o.Trace, metrics: o.Metrics, slow: o.SlowLog,
		service: o.Service, log: o.Logger,
	}
	s.load, s.verdicts = o.Load, make(chan verdictLine, verdictQueue)
	go s.writeVerdicts()
	var nodes []*topology.Node
	for _, u := range o.Upstreams {
		nodes = append(nodes, u.Topology.View().All...)
	}
	places := append(nodes[:len(nodes):len(nodes)], o.Spare...)
	for i, u := range o.Upstreams {
		known := newKnownScripts(o.KnownScripts, o.KnownBytes, len(places), o.Loops, o.Analyse)
		s.backends = append(s.backends, &backend{Upstream: u, index: i, known: known})
	}
	s.down, s.nodes = make([]bool, len(places)), make([]metrics.NodeID, len(places))
	for i, n := range nodes {
		s.nodes[i] = o.Metrics.Node(n.Addr)
	}
	s.gen.Store(o.First)
	s.onBreaker = o.OnBreaker
	s.dog = watchdog.New(watchdog.Options{
		Nodes: nodes, Spare: o.Spare, Dial: s.dialNode, ConnectTimeout: o.ConnectTimeout, Now: loop.Now,
		Metrics: o.Metrics, Logger: o.Logger, Free: s.nodeFree, Opened: s.breakerOpened,
	})
	o.Metrics.OnCollectRunning(s.dog.Collect)
	up := o.Upstream
	up.OnLink = func(n *topology.Node, dedicated bool, delta int) {
		kind := metrics.LinkShared
		if dedicated {
			kind = metrics.LinkDedicated
		}
		o.Metrics.Links(s.nodeMetric(n), kind, int64(delta))
	}
	up.OnFail = func(n *topology.Node, err error) {
		if !errors.Is(err, errReleased) {
			n.Doubt(loop.Now())
		}
		if !errors.Is(err, errReleased) && !errors.Is(err, loop.ErrStopped) {
			s.log.Debug("link ended", "node", n.Addr, "error", err)
		}
	}
	for _, l := range g.Loops() {
		s.workers = append(s.workers, newWorker(s, l, up, places))
	}
	g.Start()
	s.dog.Start()
	s.protect(&o.First.Settings)
	for _, w := range s.workers {
		w.loop.Do(w.sweep)
	}
	return s, nil
}

func (s *Server) nodeMetric(n *topology.Node) metrics.NodeID { return s.nodes[n.Index] }

// Generation is the current configuration.
func (s *Server) Generation() *Generation { return s.gen.Load() }

// Apply makes a configuration the current one. Requests in flight end under
// the one they began with. In service mode the sessions of users that it lacks
// are closed.
func (s *Server) Apply(g *Generation) {
	old := s.gen.Swap(g)
	s.protect(&g.Settings)
	if !s.service || old.Settings.Users == g.Settings.Users {
		return
	}
	for _, w := range s.workers {
		w.loop.Do(func() { w.dropRemoved(g.Settings.Users) })
	}
}

// Full reports that one more client would be refused.
func (s *Server) Full() bool {
	limit := s.gen.Load().Settings.MaxClients
	return limit > 0 && s.Sessions() >= limit
}

// KeepAlive is TCP keepalive's idle time; 0 is off.
func (s *Server) KeepAlive() time.Duration { return s.gen.Load().Settings.KeepAlive }

// Sessions is the number of clients.
func (s *Server) Sessions() int { return int(s.sessions.Load()) }

// Wake makes a loop run an iteration; it is for the collectors.
func (s *Server) Wake(shard int) { s.workers[shard].loop.Wake() }

// Turning reports that every loop runs what it is given, within a second.
func (s *Server) Turning() bool {
	late := time.After(time.Second)
	for _, w := range s.workers {
		turned := make(chan struct{})
		if !w.loop.Do(func() { close(turned) }) {
			return false
		}
		select {
		case <-turned:
		case <-late:
			return false
		}
	}
	return true
}

// Loops calls f with each loop's number and busy share, 0 to 1.
func (s *Server) Loops(f func(i int, busy float64)) {
	for _, l := range s.group.Loops() {
		f(l.Index, float64(l.Busy())/1000)
	}
}

// Listen opens a listener; Serve accepts on it.
func (s *Server) Listen(address string, mode os.FileMode) (*loop.Listener, error) {
	ln, err := loop.Listen(address, mode)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(s.listeners, ln)
	return ln, nil
}

// Serve accepts clients until the listener is closed.
func (s *Server) Serve(ln *loop.Listener, index int) {
	starved := func(err error) { s.log.Warn("cannot accept a connection", "error", err) }
	for {
		fd, err := ln.Accept(starved)
		if err != nil {
			return
		}
		s.Adopt(fd, index, ln.Unix(), "", "")
	}
}

const tooManyClients = "-ERR max number of clients reached\r\n"

// Adopt serves a client on a connected, non-blocking descriptor. addr and
// laddr are the addresses of the client and of what it connected to, where the
// descriptor's own are others.
func (s *Server) Adopt(fd, listener int, isUnix bool, addr, laddr string) {
	set := &s.gen.Load().Settings
	if n := s.sessions.Add(1); set.MaxClients > 0 && n > int64(set.MaxClients) {
		s.sessions.Add(-1)
		s.metrics.SessionRejected()
		unix.Write(fd, []byte(tooManyClients)) // as Redis says it (networking.c, acceptCommonHandler)
		unix.Close(fd)
		return
	}
	if !isUnix {
		loop.KeepAlive(fd, set.KeepAlive)
	}
	l := s.group.Pick()
	w := s.workers[l.Index]
	sess := &session{w: w, id: s.nextID.Add(1), listener: uint16(listener)}
	if addr != "" {
		e := sess.needExtra()
		e.addr, e.laddr = addr, laddr
	}
	if !l.Do(func() { w.adopt(sess, fd) }) {
		unix.Close(fd)
		s.sessions.Add(-1)
	}
}

func (w *worker) adopt(sess *session, fd int) {
	if w.srv.draining.Load() {
		// Accepted before the listener was closed, and not greeted until now.
		unix.Close(fd)
		w.srv.sessions.Add(-1)
		return
	}
	sess.group = w.anonymous(sess)
	sess.group.Sessions++
	sess.lastActive = w.loop.Now()
	sess.created = sess.lastActive
	sess.letIn()
	if err := sess.Attach(w.loop, fd, sess); err != nil {
		unix.Close(fd)
		sess.group.Sessions--
		w.srv.sessions.Add(-1)
		w.srv.log.Warn("cannot serve a connection", "error", err)
		return
	}
	w.sessions[sess.id] = sess
	w.srv.metrics.Sessions(1)
}

func (s *Server) sessionEnded(error) {
	s.sessions.Add(-1)
	s.metrics.Sessions(-1)
}

// pingOutcome is what PING is answered, and the refusal where it is one.
func (b *backend) pingOutcome(grace time.Duration) (metrics.PingOutcome, string) {
	v := b.Topology.View()
	now := loop.Now()
	n := v.Primary
	if n == nil {
		if down := b.Topology.NoPrimaryFor(now); down > grace {
			return metrics.PingUnavailable, fmt.Sprintf("-UNAVAILABLE no primary for %s: %s\r\n", down.Round(100*time.Millisecond), v.Why)
		}
		return metrics.PingDown, ""
	}
	switch {
	case n.Up() && n.Busy():
		return metrics.PingBusy, ""
	case n.Up():
		return metrics.PingPong, ""
	}
	if down := n.DownFor(now); down > grace {
		return metrics.PingUnavailable, fmt.Sprintf("-UNAVAILABLE the primary %s has been unreachable for %s: %s\r\n", n.Addr, down.Round(100*time.Millisecond), oneLine(n.LastError()))
	}
	return metrics.PingDown, ""
}

// Close ends everything at once.
func (s *Server) Close() {
	s.mu.Lock()
	for _, ln := range s.listeners {
		ln.Close()
	}
	s.mu.Unlock()
	s.group.Stop()
	s.ended.Do(func() { close(s.verdicts) })
	s.dog.Close()
	for _, w := range s.workers {
		w.shard.Close()
	}
}

// remoteAddr is the client's address, as far as it is known.
func (s *session) remoteAddr() string {
	if s.ext != nil && s.ext.addr != "" {
		return s.ext.addr
	}
	sa, err := unix.Getpeername(s.FD())
	if err != nil {
		return ""
	}
	if _, ok := sa.(*unix.SockaddrUnix); ok {
		return s.localAddr()
	}
	return addrOf(sa)
}
