// Package app runs the proxy: it puts the parts together from a
// configuration, starts them in order, and ends them in the opposite one.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/admin"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/console"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/operate"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/tracing"
	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/proxy"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/edge"
	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// Options are what Run needs beside the configuration.
type Options struct {
	ConfigPath string               // the file of the configuration, for reloads
	Version    string               // of the program
	Ready      func(addrs []string) // called when clients are accepted, may be nil
}

// App is one running proxy. New makes it, Start runs it, Stop ends it; each
// is called once.
type App struct {
	opts      Options
	log       *slog.Logger
	metrics   *metrics.Metrics
	slow      *metrics.SlowLog
	upstreams upstreams
	places    *topology.Places // for servers that a reload adds
	preparing chan struct{}    // as many as nodes are being prepared
	loads     loads
	server    *proxy.Server
	registry  *registry.Registry
	desk      *operate.Desk
	admin     *admin.Server
	console   *console.Server
	tracer    *tracing.Tracer // nil when nothing is traced
	instance  string

	declared   atomic.Bool // the configuration, for the first time
	background background
	libraries  *libraries
	compacted  compactions
	shapes     *shapes

	government government
	sentinels  sentinels

	bridge    edge.Bridge
	listeners []config.Listener // as they were started
	fronts    []*edge.Front     // of listeners, nil for plain ones

	reloading sync.Mutex // one reload at a time, so that none puts an older file in force

	mu       sync.Mutex // one change of generation at a time
	cfg      *config.Config
	users    *proxy.Users
	commands *command.Table
	scripts  *catalog
	gens     uint64
	draining bool

	serving sync.WaitGroup
}

// Run serves until ctx is cancelled, then answers what was accepted and ends.
func Run(ctx context.Context, cfg *config.Config, logger *slog.Logger, opts Options) error {
	a, err := New(cfg, logger, opts)
	if err != nil {
		return err
	}
	// From the first moment: without a handler the signal would end the program.
	hup := make(chan os.Signal, 1)
	if opts.ConfigPath != "" {
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
	}
	addrs, err := a.Start(ctx)
	if err != nil {
		a.Close()
		return err
	}
	if opts.Ready != nil {
		opts.Ready(addrs)
	}
	if opts.ConfigPath != "" {
		go a.watchConfig(ctx, hup)
	}
	defer a.tellSystemd(ctx, addrs)()
	// What the start has left over is room for the first clients: while they are
	// served next to nothing is allocated, and nothing would collect it for long.
	runtime.GC()
	<-ctx.Done()
	return a.Stop()
}

// silent keeps go-redis from writing about every refused connection to standard
// error: who uses it here is told by errors, and logs what matters once.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

var quiet = sync.OnceFunc(func() { redis.SetLogger(silent{}) })

// New puts the parts together. Nothing listens yet, and no server was asked.
func New(cfg *config.Config, logger *slog.Logger, opts Options) (*App, error) {
	quiet()
	host, err := os.Hostname()
	if err != nil {
		host = "proxy"
	}
	a := &App{opts: opts, preparing: make(chan struct{}, stageNodes), log: logger, cfg: cfg, commands: command.Embedded(), instance: fmt.Sprintf("%s-%d", host, os.Getpid())}
	a.libraries, a.shapes = newLibraries(a), newShapes(logger)
	a.slow = metrics.NewSlowLog(cfg.Slowlog.Size, cfg.Slowlog.Arguments)
	a.metrics = metrics.New(metrics.Options{
		Version: opts.Version, Uncounted: !cfg.Metrics.ScriptCalls, MaxScripts: cfg.Metrics.MaxScripts, NativeHistograms: cfg.Metrics.NativeHistograms,
		Wake: func(shard int) { a.server.Wake(shard) },
	})
	dial, err := newDialer(cfg.Upstream, &a.bridge, logger)
	if err != nil {
		return nil, err
	}
	if a.users, err = users(cfg); err != nil {
		return nil, err
	}
	a.upstreams = a.newUpstreams(cfg, dial)
	nodes := a.upstreams.nodes()
	a.places = topology.NewPlaces(len(nodes), loop.Now())
	spare := a.places.Spare()
	a.scripts = newCatalog(len(nodes)+len(spare), a.metrics, cfg.Scripts)
	for _, n := range nodes {
		a.metrics.Node(n.Addr)
	}
	var trace func(proxy.CallTrace)
	if cfg.Tracing.Endpoint != "" {
		a.tracer, err = tracing.New(context.Background(), tracing.Options{
			Endpoint: cfg.Tracing.Endpoint, Service: cfg.Tracing.Service, Version: opts.Version, Instance: a.instance, Logger: logger,
		})
		if err != nil {
			return nil, err
		}
		trace = a.tracer.Record
	}
	loops := cfg.Loops
	if loops == 0 {
		loops = runtime.GOMAXPROCS(0)
	}
	first := proxy.NewGeneration(0, a.settings(), a.commands, proxy.NewScriptTable(nil, nil, nil))
	a.server, err = proxy.New(proxy.Options{
		Loops: loops, Upstreams: a.upstreams.forProxy(cfg), Spare: spare, ListenerUpstreams: listenerUpstreams(cfg), Metrics: a.metrics, SlowLog: a.slow,
		Upstream: upstreamOptions(cfg, dial, loops), Service: cfg.Auth.Mode == config.AuthService, First: first,
		KnownScripts: cfg.Scripts.MaxCached, KnownBytes: int64(cfg.Scripts.MaxCachedBytes),
		Analyse: a.classify, Load: a.loadOne, Trace: trace, Logger: logger,
		ConnectTimeout: cfg.Upstream.ConnectTimeout, OnBreaker: a.breakerOpened,
	})
	if err != nil {
		return nil, err
	}
	a.metrics.OnCollectLoops(func(emit func(int, float64)) { a.server.Loops(emit) })
	return a, nil
}

const (
	// silentAfter is how long a poll waits. A node that is quiet for longer
	// is busy with something.
	silentAfter = 500 * time.Millisecond
	// goneAfter is Redis's default busy-reply-threshold of 5 s, before which
	// a node that runs a script says nothing at all, and a poll more.
	goneAfter = 6 * time.Second
	// startWait bounds the wait for the nodes' first answers: the proxy
	// serves, and says so, also while they are away.
	startWait = 2 * time.Second
)

// Start loads the registry, asks the nodes, and accepts clients. It returns
// the addresses it listens on.
func (a *App) Start(ctx context.Context) ([]string, error) {
	var err error
	if a.government.spec, err = readRules(a.cfg); err != nil {
		return nil, err
	}
	if err := a.openRegistry(ctx); err != nil {
		return nil, err
	}
	if err := a.governs(); err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, startWait)
	a.upstreams.start(wait)
	cancel()
	a.listeners = a.cfg.Listen
	if a.fronts, err = a.newFronts(a.listeners); err != nil {
		return nil, err
	}
	var addrs []string
	for i, l := range a.listeners {
		ln, err := a.server.Listen(l.Address, os.FileMode(l.UnixMode))
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", l.Address, err)
		}
		addr := l.Address
		if !ln.Unix() {
			addr = ln.Addr().String()
		}
		addrs = append(addrs, addr)
		a.serving.Add(1)
		go func() {
			defer a.serving.Done()
			a.accept(ln, i)
		}()
	}
	operators, err := a.openOperators()
	if err != nil {
		return nil, err
	}
	addrs = append(addrs, operators...)
	a.metrics.ConfigReload(true, time.Now())
	a.log.Info("serving", "addresses", addrs, "version", a.opts.Version)
	return addrs, nil
}

// Stop drains the sessions, and ends everything.
func (a *App) Stop() error {
	a.mu.Lock()
	a.draining = true
	a.mu.Unlock()
	a.log.Info("draining", "sessions", a.server.Sessions(), "timeout", a.cfg.Limits.DrainTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), a.cfg.Limits.DrainTimeout)
	defer cancel()
	for _, front := range a.fronts {
		if front != nil {
			front.Stop()
		}
	}
	left := a.server.Drain(ctx)
	a.Close()
	if left > 0 {
		a.log.Warn("drain_timeout passed", "sessions closed", left)
		return nil
	}
	a.log.Info("drained")
	return nil
}

// Close ends everything at once.
func (a *App) Close() {
	a.abandonLearning()
	if a.admin != nil {
		a.admin.Close()
	}
	if a.console != nil {
		a.console.Close()
	}
	a.background.Stop()
	a.upstreams.close()
	if a.registry != nil {
		if err := a.registry.Close(); err != nil {
			a.log.Warn("the registry could not be closed", "error", err)
		}
	}
	a.server.Close()
	if a.tracer != nil {
		a.tracer.Close()
	}
	a.bridge.Close(flushTime)
	a.serving.Wait()
}

// Reload reads the configuration anew. Everything that can fail is done
// before anything changes. Any goroutine may call it; reloads that are asked
// for at the same time follow each other.
func (a *App) Reload(ctx context.Context) (err error) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	defer func() {
		a.metrics.ConfigReload(err == nil, time.Now())
		if err != nil {
			a.log.Error("the configuration was not reloaded", "error", err)
		} else {
			a.log.Info("configuration reloaded")
		}
	}()
	if a.opts.ConfigPath == "" {
		return errors.New("there is no configuration file to read")
	}
	cfg, warnings, err := config.Load(a.opts.ConfigPath)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		a.log.Warn(w.Text, "file", w.File, "line", w.Line, "key", w.Path)
	}
	secured, err := listenerTLS(cfg.Listen, a.log)
	if err != nil {
		return err
	}
	clients, err := users(cfg)
	if err != nil {
		return err
	}
	rules, err := a.checkRules(cfg)
	if err != nil {
		return err
	}
	nodes, err := a.proposeNodes(ctx, cfg)
	if err != nil {
		return err
	}
	if _, err := a.registry.Declare(ctx, declared(cfg)); err != nil {
		a.cancelNodes(nodes)
		return err
	}
	a.secure(cfg.Listen, secured)
	a.mu.Lock()
	for _, key := range restartOnly(a.cfg, cfg) {
		a.log.Warn("this changes with a restart only", "key", key)
	}
	a.cfg, a.users, a.government.spec = cfg, clients, rules
	a.scripts.settings(cfg.Scripts)
	a.mu.Unlock()
	a.publish()
	a.compareDeadlines()
	a.applyNodes(nodes)
	a.lookAtWall(ctx)
	return a.governs()
}

// publish makes a generation of the current configuration and snapshot. It
// looks at both under the lock, so that of two at a time the later one has
// the newer.
func (a *App) publish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	snap := a.registry.Snapshot()
	table, active := a.scripts.compile(snap)
	a.gens++
	g := proxy.NewGeneration(a.gens, a.settings(), a.commands, table)
	a.govern(g, snap)
	a.server.Apply(g)
	a.metrics.SetActiveVersions(active)
	a.metrics.RegistryRevision(snap.Revision)
	overrides := 0
	for _, s := range snap.Scripts {
		overrides += boolInt(s.Override)
	}
	a.metrics.RegistryOverrides(overrides)
}

func (a *App) nodeChanged(_ *topology.View, n *topology.Node) {
	id := a.metrics.Node(n.Addr)
	a.metrics.UpstreamOf(id, a.upstreams[n.Backend].name)
	role := metrics.RoleUnknown
	switch n.Role() {
	case topology.RolePrimary:
		role = metrics.RolePrimary
	case topology.RoleReplica:
		role = metrics.RoleReplica
		a.metrics.ReplicaLag(id, n.LagBytes(), n.Lag().Seconds())
	}
	a.metrics.UpstreamUp(id, role, n.Up())
	a.metrics.UpstreamOffset(id, n.Offset(), n.Conflicts())
	a.metrics.UpstreamBusy(id, a.server.NodeBusy(n))
	a.server.NodeChanged(n)
}
