package watchdog

import (
	"sync/atomic"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// Kind is what ends a call.
type Kind uint8

// Kinds of calls.
const (
	// KindScript is ended by SCRIPT KILL: EVAL, EVALSHA and EXEC with them.
	KindScript Kind = iota
	// KindFunction is ended by FUNCTION KILL: FCALL.
	KindFunction
)

// End is how a run ended, as far as its reply says.
type End uint8

// Ends of a run.
const (
	// EndReplied is any reply that is none of the following.
	EndReplied End = iota
	// EndKilled is the server's error for a call that was killed.
	EndKilled
	// EndBusy is the server's refusal while it runs something else: this one
	// never ran.
	EndBusy
	// EndLost is a link that ended before the reply came. The server may run
	// the call to its end all the same.
	EndLost
)

// Call is what is known of a call from the start.
type Call struct {
	Node *topology.Node
	// Link is where it is in flight: several calls there can't always be told
	// apart.
	Link any
	Kind Kind
	// Label names it for people: script 'transfer', script <sha>, function 'f'.
	// Name is the registered name, or empty, and Version what runs of it.
	Label, Name, Version string
	Metric               metrics.ScriptID
	// Deadline is how long it may run; 0 for as long as it likes.
	Deadline time.Duration
	// Opaque calls have a reply that does not tell whether they were killed.
	Opaque bool
	// Breaker counts the call when it has to be ended; it may be nil.
	Breaker *Breaker
}

// Run is the first script call on a link. The loop that owns the link makes
// it and ends it; any goroutine may read it.
type Run struct {
	Call

	since    atomic.Int64
	listed   atomic.Bool
	reported atomic.Bool
	struck   atomic.Bool
	done     chan struct{}
	end      End // valid once done is closed
}

// NewRun is the run of a call that began at since at the earliest, in
// nanoseconds of the loops' clock.
func NewRun(c Call, since int64) *Run {
	run := &Run{Call: c, done: make(chan struct{})}
	run.since.Store(since)
	return run
}

// Since is when the run began at the earliest.
func (r *Run) Since() int64 { return r.since.Load() }

// Age is for how long the run has lasted at most.
func (r *Run) Age(now int64) time.Duration { return time.Duration(max(0, now-r.since.Load())) }

// Began says when the run began at the earliest, as far as its loop knows by
// now.
func (r *Run) Began(since int64) { raise(&r.since, since) }

// Listed reports that the run is on its node's list.
func (r *Run) Listed() bool { return r.listed.Load() }

// Over reports that the run has ended.
func (r *Run) Over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Strike has the breaker count the run, once however often it is called. It
// reports whether the breaker opened.
func (r *Run) Strike(now int64) bool {
	return r.Breaker != nil && r.struck.CompareAndSwap(false, true) && r.Breaker.Strike(now)
}

// Struck reports that the breaker has counted the run.
func (r *Run) Struck() bool { return r.struck.Load() }
