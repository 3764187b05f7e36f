package watchdog

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// Running lists the runs of one node that have taken long, on whichever loop
// their links are. Only one of them can be running; the others wait their
// turn, and the oldest is taken for it. Any goroutine may call it.
type Running struct {
	node   *topology.Node
	oldest atomic.Pointer[Run]
	// heard is when the node last showed that it had ended something.
	heard atomic.Int64
	free  func(*topology.Node)

	mu   sync.Mutex
	runs []*Run
}

// newRunning makes the list of a node. free is called, outside of any lock,
// when the last run leaves it.
func newRunning(n *topology.Node, free func(*topology.Node)) *Running {
	return &Running{node: n, free: free}
}

// Oldest is the run taken for the one that the node works on, or nil.
func (g *Running) Oldest() *Run { return g.oldest.Load() }

// Heard is when a run of this node ended last: what is still waiting began
// after that.
func (g *Running) Heard() int64 { return g.heard.Load() }

// Busy is for how long the node has been taken, by one of the runs or, as
// the monitor sees it, by something else; 0 when it is free. The monitor's
// word is as old as its last poll, so an end seen here since then counts
// more.
func (g *Running) Busy(now int64) time.Duration {
	if r := g.oldest.Load(); r != nil {
		return max(1, r.Age(now))
	}
	for_ := g.node.BusyFor(now)
	if for_ > 0 && now-int64(for_) <= g.heard.Load() {
		return 0
	}
	return for_
}

// Enter puts a run on the list.
func (g *Running) Enter(r *Run) {
	if r.listed.Load() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Over() {
		return
	}
	r.listed.Store(true)
	g.runs = append(g.runs, r)
	g.choose()
}

// Leave takes a run off the list that turned out to have begun later than
// thought.
func (g *Running) Leave(r *Run) {
	if !r.listed.Load() {
		return
	}
	g.mu.Lock()
	g.drop(r)
	freed := g.choose()
	g.mu.Unlock()
	if freed {
		g.free(g.node)
	}
}

// End says how a run ended. One that was running shows that the others had
// not begun: they leave the list too, until they have taken long themselves.
// The loop calls it once for every run it made, listed or not.
func (g *Running) End(r *Run, how End, now int64) {
	g.mu.Lock()
	g.drop(r)
	r.end = how
	close(r.done)
	if how == EndReplied || how == EndKilled {
		raise(&g.heard, now)
		for _, other := range g.runs {
			other.listed.Store(false)
			raise(&other.since, now)
		}
		g.runs = g.runs[:0]
	}
	freed := g.choose()
	g.mu.Unlock()
	if freed {
		g.free(g.node)
	}
}

// raise sets a time that only moves forward.
func raise(at *atomic.Int64, to int64) {
	for {
		old := at.Load()
		if to <= old || at.CompareAndSwap(old, to) {
			return
		}
	}
}

func (g *Running) drop(r *Run) {
	r.listed.Store(false)
	if i := slices.Index(g.runs, r); i >= 0 {
		g.runs = slices.Delete(g.runs, i, i+1)
	}
}

// choose finds the oldest, and reports whether there is none any more.
func (g *Running) choose() (freed bool) {
	var oldest *Run
	for _, r := range g.runs {
		if oldest == nil || r.Since() < oldest.Since() {
			oldest = r
		}
	}
	return g.oldest.Swap(oldest) != nil && oldest == nil
}
