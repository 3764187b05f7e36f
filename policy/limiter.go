package policy

import (
	"sync/atomic"
	"time"
)

// Limiter holds calls to an average rate with a bounded burst. It is one word, changed by compare and swap:
// any number of goroutines and loops may share it, and none waits for another. The word is the time at
// which the budget will be full again (the generic cell rate algorithm), so that no token is ever added by
// a timer.
type Limiter struct {
	full     atomic.Int64 // in the caller's clock, nanoseconds
	interval int64        // what one call costs, nanoseconds
	depth    int64        // what may be spent in advance, nanoseconds
}

// NewLimiter returns a Limiter for r, with its burst available.
func NewLimiter(r Rate) *Limiter {
	interval := max(1, int64(float64(time.Second)/r.Limit))
	// 2^60 ns are 36 years: the budget of a huge burst at a tiny rate must not overflow the clock.
	depth := int64(1 << 60)
	if b := int64(r.burst()); b < depth/interval {
		depth = b * interval
	}
	return &Limiter{interval: interval, depth: depth}
}

// Allow takes one call from the budget, or takes nothing and reports false. now is a monotonic time in
// nanoseconds, not negative; a clock that is behind another caller's is harmless.
func (l *Limiter) Allow(now int64) bool {
	for {
		full := l.full.Load()
		next := max(full, now) + l.interval
		if next-now > l.depth {
			return false
		}
		if l.full.CompareAndSwap(full, next) {
			return true
		}
	}
}

// Return gives back what one successful Allow took, for a call that did not happen after all.
func (l *Limiter) Return() { l.full.Add(-l.interval) }

// RetryAfter returns how long it takes until a call would be allowed, if nobody else calls.
func (l *Limiter) RetryAfter(now int64) time.Duration {
	return time.Duration(max(0, max(l.full.Load(), now)+l.interval-l.depth-now))
}

// Gate bounds how many calls are under way at the same time. Any number of goroutines and loops may share
// it, and none waits for another.
type Gate struct {
	inside atomic.Int64
	limit  int64
}

// NewGate returns a Gate for at most limit calls.
func NewGate(limit int) *Gate { return &Gate{limit: int64(limit)} }

// Acquire lets a call in and reports true, or reports false when the limit is reached. Who was let in must
// call Release once.
func (g *Gate) Acquire() bool {
	for {
		n := g.inside.Load()
		if n >= g.limit {
			return false
		}
		if g.inside.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Enter lets a call in whatever the limit and reports whether it is within it, for audits. Release must be
// called once in either case.
func (g *Gate) Enter() bool { return g.inside.Add(1) <= g.limit }

// Release ends what Acquire or Enter began.
func (g *Gate) Release() {
	if g.inside.Add(-1) < 0 {
		panic("policy: Gate released more often than acquired")
	}
}

// Inside returns how many calls are under way.
func (g *Gate) Inside() int { return int(g.inside.Load()) }
