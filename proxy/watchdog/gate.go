package watchdog

import (
	"slices"
	"sync"
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

// Gate bounds how many calls of one script are on the nodes at a time. Who
// waits is let in in order, on whichever loop it is. Any goroutine may call it.
type Gate struct {
	mu       sync.Mutex
	max      int // 0: no bound
	maxQueue int
	inside   int
	queue    []Waiter
}

// NewGate makes a gate that lets max calls in and has maxQueue wait.
func NewGate(max, maxQueue int) *Gate { return &Gate{max: max, maxQueue: maxQueue} }

// Set changes the bounds.
func (g *Gate) Set(max, maxQueue int) {
	g.mu.Lock()
	g.max, g.maxQueue = max, maxQueue
	next := g.next()
	g.mu.Unlock()
	wake(next)
}

// Enter asks for w to be let in. A waiter that was Queued asks again when it
// was woken.
func (g *Gate) Enter(w Waiter) Entry {
	g.mu.Lock()
	at := -1
	if len(g.queue) > 0 {
		at = slices.Index(g.queue, w)
	}
	switch {
	case g.max == 0 || g.inside < g.max && (at == 0 || len(g.queue) == 0):
		if at >= 0 {
			g.queue = slices.Delete(g.queue, at, at+1)
		}
		g.inside++
		next := g.next()
		g.mu.Unlock()
		wake(next)
		return Entered
	case at >= 0:
	case len(g.queue) >= g.maxQueue:
		g.mu.Unlock()
		return Full
	default:
		g.queue = append(g.queue, w)
	}
	g.mu.Unlock()
	return Queued
}

// Leave takes a waiter off the queue.
func (g *Gate) Leave(w Waiter) {
	g.mu.Lock()
	if i := slices.Index(g.queue, w); i >= 0 {
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
		return g.queue[0]
	}
	return nil
}

func wake(w Waiter) {
	if w != nil {
		w.Wake()
	}
}
