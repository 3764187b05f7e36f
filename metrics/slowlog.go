package metrics

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// DefaultSlowLogSize is how many slow calls are kept unless NewSlowLog is told
// otherwise; as many as Redis's own slow log keeps (slowlog-max-len).
const DefaultSlowLogSize = 128

// Limits of what an entry keeps of arguments, as in Redis's slow log.
const (
	maxSlowArgs     = 32
	maxSlowArgBytes = 128
)

// Entry is one slow script call. It says nothing of key names, and of
// arguments only when the log was told to keep them.
type Entry struct {
	ID       uint64        `json:"id"` // set by Add; ascending, also across Reset
	When     time.Time     `json:"when"`
	Name     string        `json:"name"`
	Version  string        `json:"version,omitempty"`
	SHA      string        `json:"sha,omitempty"`
	Node     string        `json:"node"`
	Duration time.Duration `json:"duration_ns"` // on the node
	Keys     int           `json:"keys"`        // how many
	Client   string        `json:"client"`      // address
	User     string        `json:"user,omitempty"`
	Outcome  string        `json:"outcome"`
	Args     []string      `json:"args,omitempty"`
}

// SlowLog is a ring of the latest slow script calls, for any goroutine. A slow
// call is rare, so it has a lock.
type SlowLog struct {
	keepArgs bool

	mu   sync.Mutex
	ring []Entry // grows to its capacity, then wraps
	size int
	next uint64 // the id of the next entry
	low  uint64 // entries with a smaller id were reset
}

// NewSlowLog returns a log of the latest size calls (0: DefaultSlowLogSize). Only
// with keepArgs are arguments kept; they may hold what nobody should read.
func NewSlowLog(size int, keepArgs bool) *SlowLog {
	if size <= 0 {
		size = DefaultSlowLogSize
	}
	return &SlowLog{size: size, keepArgs: keepArgs}
}

// KeepsArgs says whether arguments are kept, so that a caller need not collect
// them for nothing.
func (l *SlowLog) KeepsArgs() bool { return l.keepArgs }

// Add adds a call. Arguments are dropped, or shortened as Redis does: 32 of
// them, 128 bytes each. The entry's strings are kept, so they must not alias a
// buffer that is used again; those of Args are copied.
func (l *SlowLog) Add(e Entry) {
	if l.keepArgs {
		e.Args = shortened(e.Args)
	} else {
		e.Args = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e.ID = l.next
	l.next++
	if len(l.ring) < l.size {
		l.ring = append(l.ring, e)
		return
	}
	l.ring[e.ID%uint64(l.size)] = e
}

// Entries returns up to limit calls (0 or less: all), newest first.
func (l *SlowLog) Entries(limit int) []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(int(l.next-l.low), len(l.ring))
	if limit > 0 {
		n = min(n, limit)
	}
	out := make([]Entry, 0, n)
	for id := l.next; len(out) < n; {
		id--
		out = append(out, l.ring[id%uint64(l.size)])
	}
	return out
}

// Reset empties the log.
func (l *SlowLog) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.low = l.next
	clear(l.ring)
}

func shortened(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	out := make([]string, 0, min(len(args), maxSlowArgs))
	for i, a := range args {
		if i == maxSlowArgs-1 && len(args) > maxSlowArgs {
			return append(out, fmt.Sprintf("... (%d more arguments)", len(args)-i))
		}
		if len(a) > maxSlowArgBytes {
			a = fmt.Sprintf("%s... (%d more bytes)", a[:maxSlowArgBytes], len(a)-maxSlowArgBytes)
		} else {
			a = strings.Clone(a)
		}
		out = append(out, strings.ToValidUTF8(a, "\uFFFD"))
	}
	return out
}
