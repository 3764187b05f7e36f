package watchdog

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// Options are what a Dog is made of; all are required.
type Options struct {
	// Nodes have their place in it by their Index, and so have Spare ones
	// behind them, which are left alone until Watch.
	Nodes, Spare []*topology.Node
	// Dial opens an authenticated connection to a node.
	Dial           func(ctx context.Context, n *topology.Node) (net.Conn, error)
	ConnectTimeout time.Duration
	// Now is the clock of the loops, in nanoseconds.
	Now     func() int64
	Metrics *metrics.Metrics
	Logger  *slog.Logger
	// Free hears that a node runs nothing long any more. It is called by
	// whoever ended the last run, and must not block.
	Free func(n *topology.Node)
	// Opened hears that a breaker has opened. It must not block.
	Opened func(b *Breaker)
}

// Settings are what a reload can change.
type Settings struct {
	// Smallest is the smallest deadline of any script; 0 when none has one.
	Smallest time.Duration
	// ManageThreshold sets busy-reply-threshold on the nodes when it is above
	// Smallest.
	ManageThreshold bool
}

// Dog watches the nodes. Its methods are for any goroutine, between Start and
// Close.
type Dog struct {
	opts     Options
	killers  []*killer
	settings atomic.Pointer[applied]

	mu     sync.Mutex
	closed bool
	ends   map[*killer]func() // ends its goroutine, and waits for it
}

// applied are settings with the number of their change.
type applied struct {
	Settings
	serial uint64
}

// New makes a Dog that does not watch yet.
func New(o Options) *Dog {
	d := &Dog{opts: o, ends: make(map[*killer]func())}
	d.settings.Store(&applied{})
	for _, n := range slices.Concat(o.Nodes, o.Spare) {
		d.killers = append(d.killers, &killer{
			dog: d, node: n, running: newRunning(n, o.Free),
			reports: make(chan overdue, 64), poke: make(chan struct{}, 1),
		})
	}
	return d
}

// Start begins to watch.
func (d *Dog) Start() {
	for _, n := range d.opts.Nodes {
		d.Watch(n)
	}
}

// Watch begins to watch a node that was spare, or unwatched.
func (d *Dog) Watch(n *topology.Node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.killers[n.Index]
	if d.closed || d.ends[k] != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.loop(ctx)
	}()
	d.ends[k] = func() { cancel(); <-done }
}

// Unwatch gives a node up that was taken away, and the connection to it. What
// runs there is left to end by itself.
func (d *Dog) Unwatch(n *topology.Node) {
	d.mu.Lock()
	k := d.killers[n.Index]
	end := d.ends[k]
	delete(d.ends, k)
	d.mu.Unlock()
	if end != nil {
		end()
	}
}

// Close stops watching, and waits.
func (d *Dog) Close() {
	d.mu.Lock()
	d.closed = true
	ends := d.ends
	d.ends = nil
	d.mu.Unlock()
	var wg sync.WaitGroup
	for _, end := range ends {
		wg.Go(end)
	}
	wg.Wait()
}

// Apply takes over settings.
func (d *Dog) Apply(s Settings) {
	old := d.settings.Load()
	if old.Settings == s && old.serial > 0 {
		return
	}
	d.settings.Store(&applied{Settings: s, serial: old.serial + 1})
	for _, k := range d.killers {
		select {
		case k.poke <- struct{}{}:
		default:
		}
	}
}

// wanted reports that a connection for kills should be kept.
func (d *Dog) wanted() bool { return d.settings.Load().Smallest > 0 }

// Running is the list of a node's runs.
func (d *Dog) Running(n *topology.Node) *Running { return d.killers[n.Index].running }

// Report says that a run is past its deadline and still has no reply. It is
// to be repeated as long as that is so: only the first counts, until the
// watchdog has found that the run was not what the node was working on.
func (d *Dog) Report(r *Run) {
	if !r.reported.CompareAndSwap(false, true) {
		return
	}
	select {
	case d.killers[r.Node.Index].reports <- overdue{run: r}:
	default:
		r.reported.Store(false)
	}
}

// Orphan says that the link of a call was lost which has a deadline and may
// be running. From then on the node alone can say when it ends.
func (d *Dog) Orphan(r *Run) {
	select {
	case d.killers[r.Node.Index].reports <- overdue{run: r, orphan: true}:
	default:
	}
}

// Killed says that the server ended a call on a link: label names it, r is
// its run if it had one.
func (d *Dog) Killed(n *topology.Node, link any, metric metrics.ScriptID, label func() string, r *Run) {
	d.killers[n.Index].victim(link, metric, label, r)
}

// Strike has a run counted by its breaker.
func (d *Dog) Strike(r *Run) {
	if r.Strike(d.opts.Now()) {
		d.opts.Opened(r.Breaker)
	}
}

// Collect calls emit with what each node runs: the oldest of its runs, by its
// registered name or as unregistered, and for how long.
func (d *Dog) Collect(emit func(node, script string, seconds float64)) {
	now := d.opts.Now()
	for _, k := range d.killers {
		r := k.running.Oldest()
		if r == nil {
			continue
		}
		name := r.Name
		if name == "" {
			name = metrics.Unregistered
		}
		emit(k.node.Addr, name, r.Age(now).Seconds())
	}
}

func (d *Dog) log(n *topology.Node, r *Run) *slog.Logger {
	log := d.opts.Logger.With("node", n.Addr, "call", r.Label)
	if r.Version != "" {
		log = log.With("version", r.Version)
	}
	return log
}
