package watchdog

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Waiter is woken when it may try to enter a gate again. Wake is called by
// any goroutine, outside of locks, and must not block.
type Waiter interface{ Wake() }

// Entry is a gate's answer.
type Entry uint8

// Answers of a gate.
const (
	// Entered: the call may run, and Exit must be called when it has ended.
	Entered Entry = iota
	// Queued: the waiter is woken when it is its turn.
	Queued
	// Full: as many wait as may.
	Full
)

// Rank orders who waits: a higher one goes first.
type Rank int8

// Ranks of requests.
const (
	RankLow    Rank = -1
	RankNormal Rank = 0
	RankHigh   Rank = 1
)

// Gate bounds how many calls of one script are on the nodes at a time. Who
// waits is let in by rank and, among equals, in the order of arrival, on
// whichever loop it is. Any goroutine may call it.
type Gate struct {
	serial   uint64 // the order in which several gates have to be entered
	mu       sync.Mutex
	max      int // 0: no bound
	maxQueue int
	inside   int
	queue    []queued // the next one first
}

type queued struct {
	w    Waiter
	rank Rank
}

var gates atomic.Uint64 // made so far

// NewGate makes a gate that lets max calls in and has maxQueue wait.
func NewGate(max, maxQueue int) *Gate {
	return &Gate{serial: gates.Add(1), max: max, maxQueue: maxQueue}
}

// Before reports that g has to be entered before other by whoever enters
// both: with one order for all, none waits for a place that is held by another
// who waits for its own.
func (g *Gate) Before(other *Gate) bool { return g.serial < other.serial }

// Set changes the bounds.
func (g *Gate) Set(max, maxQueue int) {
	g.mu.Lock()
	g.max, g.maxQueue = max, maxQueue
	next := g.next()
	g.mu.Unlock()
	wake(next)
}

// Enter asks for w to be let in. A waiter that was Queued asks again when it
// was woken: it is its turn then, or one of a higher rank has taken its place
// in a full queue.
func (g *Gate) Enter(w Waiter, rank Rank) Entry {
	g.mu.Lock()
	at := g.find(w)
	first := at == 0 || at < 0 && (len(g.queue) == 0 || rank > g.queue[0].rank)
	if g.max == 0 || g.inside < g.max && first {
		if at >= 0 {
			g.queue = slices.Delete(g.queue, at, at+1)
		}
		g.inside++
		next := g.next()
		g.mu.Unlock()
		wake(next)
		return Entered
	}
	var displaced Waiter
	if at < 0 {
		if n := len(g.queue); n >= g.maxQueue {
			if n == 0 || g.queue[n-1].rank >= rank {
				g.mu.Unlock()
				return Full
			}
			displaced = g.queue[n-1].w
			g.queue = slices.Delete(g.queue, n-1, n)
		}
		g.insert(queued{w, rank})
	}
	g.mu.Unlock()
	wake(displaced)
	return Queued
}

func (g *Gate) find(w Waiter) int {
	if len(g.queue) == 0 {
		return -1
	}
	return slices.IndexFunc(g.queue, func(q queued) bool { return q.w == w })
}

// insert puts one behind those of its rank.
func (g *Gate) insert(q queued) {
	at := len(g.queue)
	for at > 0 && g.queue[at-1].rank < q.rank {
		at--
	}
	g.queue = slices.Insert(g.queue, at, q)
}

// Leave takes a waiter off the queue.
func (g *Gate) Leave(w Waiter) {
	g.mu.Lock()
	if i := g.find(w); i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
	}
	next := g.next()
	g.mu.Unlock()
	wake(next)
}

// Exit says that a call which had entered has ended.
func (g *Gate) Exit() {
	g.mu.Lock()
	g.inside--
	next := g.next()
	g.mu.Unlock()
	wake(next)
}

// Load is how many calls are inside, how many wait, and the bounds.
func (g *Gate) Load() (inside, waiting, max, maxQueue int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside, len(g.queue), g.max, g.maxQueue
}

// next is who may be let in now.
func (g *Gate) next() Waiter {
	if len(g.queue) > 0 && (g.max == 0 || g.inside < g.max) {
		return g.queue[0].w
	}
	return nil
}

func wake(w Waiter) {
	if w != nil {
		w.Wake()
	}
}
