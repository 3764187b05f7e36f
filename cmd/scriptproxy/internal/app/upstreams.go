package app

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/proxy"
	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// upstreams are the sets of servers that the proxy stands in front of, by
// their numbers.
type upstreams []*upstreamSet

type upstreamSet struct {
	name    string
	monitor *topology.Monitor
}

// newUpstreams makes the monitors of a configuration's sets.
func (a *App) newUpstreams(cfg *config.Config, dial *dialer) upstreams {
	var all upstreams
	index := 0
	for i, set := range cfg.Sets() {
		log := a.log
		if len(cfg.Upstreams) > 0 {
			log = log.With("upstream", set.Name)
		}
		m := topology.New(topology.Options{
			Primary: set.Primary, Replicas: set.Replicas, Backend: i, FirstIndex: index,
			Username: set.Username, Password: set.Password.Reveal(),
			Dial:         dial.conn,
			PollInterval: set.PollInterval, SilentAfter: silentAfter,
			GoneAfter: max(cfg.PingGrace, goneAfter), ConnectTimeout: set.ConnectTimeout,
			Now: loop.Now, Prepare: a.prepare, Changed: a.nodeChanged, Left: a.nodeLeft, Logger: log,
		})
		index += 1 + len(set.Replicas)
		all = append(all, &upstreamSet{name: set.Name, monitor: m})
	}
	return all
}

// forProxy says the same to the data plane.
func (u upstreams) forProxy(cfg *config.Config) []proxy.Upstream {
	all := make([]proxy.Upstream, len(u))
	for i, set := range cfg.Sets() {
		all[i] = proxy.Upstream{Topology: u[i].monitor}
		if cfg.Auth.Mode == config.AuthService {
			all[i].Identity = upstream.NewIdentity(set.Username, set.Password.Reveal())
		}
	}
	return all
}

// listenerUpstreams says where each listener leads.
func listenerUpstreams(cfg *config.Config) []int {
	all := make([]int, len(cfg.Listen))
	for i, l := range cfg.Listen {
		all[i] = cfg.SetIndex(l.Upstream)
	}
	return all
}

// nodes lists the servers of all sets.
func (u upstreams) nodes() []*topology.Node {
	var all []*topology.Node
	for _, set := range u {
		all = append(all, set.monitor.View().All...)
	}
	return all
}

// of is the monitor of a node.
func (u upstreams) of(n *topology.Node) *topology.Monitor { return u[n.Backend].monitor }

// client makes a client for a node with the proxy's own user; the caller
// closes it.
func (u upstreams) client(n *topology.Node) *redis.Client { return u.of(n).Client(n) }

// primary tells whether a node is the primary of its set.
func (u upstreams) primary(n *topology.Node) bool { return u.of(n).View().Primary == n }

// start asks every node once, and goes on polling. It returns when each was
// heard or failed, or when ctx ends.
func (u upstreams) start(ctx context.Context) {
	var wg sync.WaitGroup
	for _, set := range u {
		wg.Go(func() { set.monitor.Start(ctx) })
	}
	wg.Wait()
}

func (u upstreams) close() {
	var wg sync.WaitGroup
	for _, set := range u {
		wg.Go(set.monitor.Close)
	}
	wg.Wait()
}

// out are the sets that can't be served, with the reasons.
func (u upstreams) out() []string {
	var reasons []string
	for _, set := range u {
		reason := ""
		switch v := set.monitor.View(); {
		case v.Primary == nil:
			reason = "no primary: " + v.Why
		case !v.Primary.Up():
			reason = fmt.Sprintf("the primary %s is down: %s", v.Primary.Addr, v.Primary.LastError())
		default:
			continue
		}
		if len(u) > 1 {
			reason = "upstream " + set.name + ": " + reason
		}
		reasons = append(reasons, reason)
	}
	return reasons
}

// loading names the primaries that are up and do not have every script yet.
func (u upstreams) loading() []*topology.Node {
	var nodes []*topology.Node
	for _, set := range u {
		if n := set.monitor.View().Primary; n != nil && n.Up() && !n.Ready() && !n.Busy() {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// nodeList is what is known of the servers.
func (a *App) nodeList() []api.Node {
	maxLag := a.server.Generation().Settings.MaxLag
	var list []api.Node
	for _, set := range a.upstreams {
		v := set.monitor.View()
		for _, n := range v.All {
			node := api.Node{
				Upstream: set.name, Node: n.Addr, Role: n.Role().String(), Up: n.Up(), Ready: n.Ready(), Error: n.LastError(),
				Busy: n.BusyFor(loop.Now()).Seconds(), Offset: n.Offset(), Serving: n == v.Primary && n.Up(),
			}
			if n.Role() == topology.RoleReplica {
				node.Lag, node.LagBytes = n.Lag().Seconds(), n.LagBytes()
				node.Serving = n != v.Primary && n.Ready() && !n.Busy() && n.CaughtUp() > 0 && (maxLag == 0 || n.Lag() <= maxLag)
			}
			list = append(list, node)
		}
	}
	return list
}

// ready says whether the proxy should get traffic, and why not. With several
// sets it should as long as one of them can be served: the others' clients
// would find no better proxy.
func (a *App) ready() []string {
	var reasons []string
	a.mu.Lock()
	if a.draining {
		reasons = append(reasons, "draining")
	}
	a.mu.Unlock()
	if out := a.upstreams.out(); len(out) == len(a.upstreams) {
		reasons = append(reasons, out...)
	}
	if loading := a.upstreams.loading(); len(loading) > 0 {
		reasons = append(reasons, "scripts are being loaded on "+a.loads.text(loading))
	}
	return reasons
}

// partlyOut warns of the sets that can't be served while others can.
func (a *App) partlyOut() []string {
	if out := a.upstreams.out(); len(out) < len(a.upstreams) {
		return out
	}
	return nil
}

// loads is how far the loading of scripts on nodes has come.
type loads struct {
	mu   sync.Mutex
	node map[*topology.Node]*progress
}

type progress struct{ done, of int }

// begin takes note of so many scripts for a node; end that it is over.
func (l *loads) begin(n *topology.Node, of int) (p *progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.node == nil {
		l.node = make(map[*topology.Node]*progress)
	}
	p = &progress{of: of}
	l.node[n] = p
	return p
}

func (l *loads) add(p *progress, k int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.done += k
}

func (l *loads) end(n *topology.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.node, n)
}

// sum is how many scripts are being loaded now, and how many of them are there.
func (l *loads) sum() (p progress, nodes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.node {
		p.done += one.done
		p.of += one.of
	}
	return p, len(l.node)
}

// loadsEvery is how often the log tells how far the loading of scripts is.
const loadsEvery = time.Second

// tellLoads logs how far the loading of scripts on nodes has come, where it
// takes long, until ctx ends.
func (a *App) tellLoads(ctx context.Context) {
	tick := time.NewTicker(loadsEvery)
	defer tick.Stop()
	told := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		nodes := a.upstreams.nodes()
		up, ready := 0, 0
		for _, n := range nodes {
			up += boolInt(n.Up())
			ready += boolInt(n.Ready())
		}
		sum, loading := a.loads.sum()
		switch {
		case loading > 0:
			told++
			a.log.Info("loading scripts", "scripts", sum.done, "of", sum.of, "nodes_ready", ready, "nodes_up", up, "nodes", len(nodes))
		case told > 0:
			told = 0
			a.log.Info("scripts are loaded", "nodes_ready", ready, "nodes_up", up, "nodes", len(nodes))
		}
	}
}

// namedNodes is how many nodes a text lists at most.
const namedNodes = 3

// text says how far nodes have come: "127.0.0.1:6379 (4210 of 10000)".
func (l *loads) text(nodes []*topology.Node) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var parts []string
	for _, n := range nodes[:min(len(nodes), namedNodes)] {
		part := n.Addr
		if p := l.node[n]; p != nil {
			part += fmt.Sprintf(" (%d of %d)", p.done, p.of)
		}
		parts = append(parts, part)
	}
	text := strings.Join(parts, ", ")
	if more := len(nodes) - namedNodes; more > 0 {
		text += fmt.Sprintf(" and %d more nodes", more)
	}
	return text
}
