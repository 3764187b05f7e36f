package watchdog

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
)

// BreakerSettings say when a breaker opens.
type BreakerSettings struct {
	// Kills within Window open it; 0 switches it off.
	Kills  int
	Window time.Duration
	// Slow is from when on a run counts like one that had to be ended; 0 is
	// never.
	Slow time.Duration
	// OpenFor is how long it refuses calls before it lets one through.
	OpenFor time.Duration
}

// Breaker refuses the calls of one script version for a while after they had
// to be ended several times. Any goroutine may call it; times are in
// nanoseconds of the loops' clock.
type Breaker struct {
	// Owner is whose calls it counts, for who is told that it opened.
	Owner any

	closed  atomic.Bool // the fast path: calls pass
	mu      sync.Mutex
	set     BreakerSettings
	state   metrics.BreakerState
	strikes []int64 // within the window, the oldest first
	since   int64   // of the state
	trial   bool    // a call is on its way, to see
	total   uint64
}

// NewBreaker makes a closed breaker.
func NewBreaker(owner any, set BreakerSettings) *Breaker {
	b := &Breaker{Owner: owner, set: set}
	b.closed.Store(true)
	return b
}

// Closed reports that calls pass without being asked about.
func (b *Breaker) Closed() bool { return b.closed.Load() }

// Set changes when it opens; switched off, it closes.
func (b *Breaker) Set(set BreakerSettings) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set = set
	if set.Kills == 0 {
		b.close(0)
	}
}

// Strike counts a call that had to be ended, or should have been. It reports
// whether the breaker opened by it.
func (b *Breaker) Strike(now int64) (opened bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total++
	if b.set.Kills == 0 {
		return false
	}
	from := now - int64(b.set.Window)
	b.strikes = slices.DeleteFunc(append(b.strikes, now), func(at int64) bool { return at <= from })
	if len(b.strikes) > b.set.Kills {
		b.strikes = b.strikes[len(b.strikes)-b.set.Kills:]
	}
	switch {
	case b.state == metrics.BreakerOpen && now-b.since < int64(b.set.OpenFor):
		return false // by a call that was let in before
	case b.state == metrics.BreakerClosed && len(b.strikes) < b.set.Kills:
		return false
	}
	b.state, b.since, b.trial = metrics.BreakerOpen, now, false
	b.closed.Store(false)
	return true
}

// Admission is a breaker's answer to a call.
type Admission struct {
	// Refused calls must not run.
	Refused bool
	// Trial marks the one call that a half-open breaker lets through; its
	// end has to be told to Tried.
	Trial bool
	// Left is how long the breaker stays open; 0 while a trial is under way.
	Left time.Duration
	// Kills were counted within Window, and Slow runs with them.
	Kills        int
	Window, Slow time.Duration
}

// Admit decides about a call. With peek nothing changes: a call that would
// be the trial is not refused yet.
func (b *Breaker) Admit(now int64, peek bool) Admission {
	if b.closed.Load() {
		return Admission{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a := Admission{Kills: b.set.Kills, Window: b.set.Window, Slow: b.set.Slow}
	switch {
	case b.state == metrics.BreakerClosed:
		return Admission{}
	case b.state == metrics.BreakerOpen && now-b.since < int64(b.set.OpenFor):
		a.Refused, a.Left = true, b.set.OpenFor-time.Duration(now-b.since)
		return a
	}
	b.halfOpen(now)
	if b.trial {
		a.Refused = true
		return a
	}
	if !peek {
		b.trial = true
		a.Trial = true
	}
	return a
}

// Tried says how the trial ended: ran tells that it ran to its end in time.
// One that did not run at all makes way for another.
func (b *Breaker) Tried(now int64, ran bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != metrics.BreakerHalfOpen || !b.trial {
		return // opened again by a strike, or closed by new settings
	}
	b.trial = false
	if ran {
		b.close(now)
	}
}

// Reset closes it, for somebody who knows better.
func (b *Breaker) Reset(now int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.close(now)
}

func (b *Breaker) close(now int64) {
	b.state, b.since, b.trial = metrics.BreakerClosed, now, false
	b.strikes = b.strikes[:0]
	b.closed.Store(true)
}

func (b *Breaker) halfOpen(now int64) {
	if b.state == metrics.BreakerOpen && now-b.since >= int64(b.set.OpenFor) {
		b.state, b.since = metrics.BreakerHalfOpen, b.since+int64(b.set.OpenFor)
	}
}

// BreakerStatus is a breaker as it is at one moment.
type BreakerStatus struct {
	State metrics.BreakerState
	// Since is when the state began, 0 for one that never changed.
	Since int64
	// Kills were counted within the window; Total since the start.
	Kills int
	Total uint64
	// Left is how long it stays open.
	Left time.Duration
}

// Status is the breaker's state at a time.
func (b *Breaker) Status(now int64) BreakerStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.halfOpen(now)
	s := BreakerStatus{State: b.state, Since: b.since, Total: b.total}
	for _, at := range b.strikes {
		if at > now-int64(b.set.Window) {
			s.Kills++
		}
	}
	if b.state == metrics.BreakerOpen {
		s.Left = b.set.OpenFor - time.Duration(now-b.since)
	}
	return s
}
