package metrics

import (
	"sync/atomic"
	"time"
)

// Shard is what one event loop counts into. Only the loop that owns it may call
// its methods. Each takes a few nanoseconds, and none locks or, once the scripts
// in use have been seen, allocates.
type Shard struct {
	// The loop's own.
	cur       *counts
	free      *cell
	native    bool
	uncounted bool
	m         *Metrics

	// ask is set by a scrape and cleared by the loop. Setting it gives spare
	// to the loop, clearing it (through out) gives the filled counts away.
	ask   atomic.Bool
	spare *counts
	out   chan *counts  // capacity 1; a send never blocks
	gone  chan struct{} // closed by Close; then cur belongs to the scrape

	// returned are emptied cells on their way back from a scrape.
	returned atomic.Pointer[cell]

	index int
	asked bool // a scrape waits for an answer; guarded by Metrics.syncMu
}

// counts is what was counted since the last hand-over.
type counts struct {
	requests [numClasses]uint64
	pings    [numPings]uint64
	errors   [numErrKinds]uint64
	heals    []uint64              // by NodeID
	policy   [][numVerdicts]uint64 // by RuleID
	cells    []*cell               // by ScriptID*numRoutes + Route; nil is all zero
	touched  []uint32              // the indexes of those that are not nil
	spilled  []spill
}

// cell is one script on one route. Its counters have 32 bits, so that 5,000
// scripts cost little and a call touches two or three cache lines; before they
// could wrap, they are spilled.
type cell struct {
	outcomes [numOutcomes]uint32
	buckets  [numBuckets]uint32
	slow     uint32
	calls    uint32 // the sum of outcomes; no other counter is larger
	nanos    uint64
	native   *sparse[uint32]
	next     *cell // in a free list
}

// spill is a copy of a cell that had become full.
type spill struct {
	at uint32
	cell
}

const (
	cellFull  = 1 << 31
	cellChunk = 32 // cells allocated at a time
)

// NewShard returns the shard of a new loop. It takes a lock.
func (m *Metrics) NewShard() *Shard {
	s := &Shard{
		cur:       &counts{},
		spare:     &counts{},
		native:    m.opts.NativeHistograms,
		uncounted: m.opts.Uncounted,
		m:         m,
		out:       make(chan *counts, 1),
		gone:      make(chan struct{}),
	}
	m.syncMu.Lock()
	defer m.syncMu.Unlock()
	s.index = int(m.nextShard.Add(1)) - 1
	m.shards = append(m.shards, s)
	return s
}

// Index is the number by which Options.Wake is told which loop to wake.
func (s *Shard) Index() int { return s.index }

// ScriptCall counts a finished script call: its outcome, the time d that it took
// on the node (negative when it took none or that is not known), and whether
// that was longer than the script's slow_after.
func (s *Shard) ScriptCall(id ScriptID, route Route, outcome Outcome, d time.Duration, slow bool) {
	if s.uncounted {
		return
	}
	route = min(route, numRoutes-1)
	at := uint(id)*uint(numRoutes) + uint(route)
	var c *cell
	if at < uint(len(s.cur.cells)) {
		c = s.cur.cells[at]
	}
	if c == nil {
		c = s.newCell(id, route)
	}
	c.outcomes[min(outcome, numOutcomes-1)]++
	if d >= 0 {
		c.buckets[classicBucket(d)]++
		c.nanos += uint64(d)
		if s.native {
			c.observeNative(d)
		}
	}
	if slow {
		c.slow++
	}
	if c.calls++; c.calls == cellFull {
		s.spill(id, route, c)
	}
}

// Request counts a request of a client.
func (s *Shard) Request(class Class) { s.cur.requests[min(class, numClasses-1)]++ }

// Ping counts how a PING was answered.
func (s *Shard) Ping(answer PingOutcome) { s.cur.pings[min(answer, numPings-1)]++ }

// Error counts an error that the proxy made.
func (s *Shard) Error(kind ErrKind) { s.cur.errors[min(kind, numErrKinds-1)]++ }

// Heal counts a script that was loaded again on a node that had lost it.
func (s *Shard) Heal(n NodeID) {
	if uint(n) >= uint(len(s.cur.heals)) {
		n = s.roomForNode(n)
	}
	s.cur.heals[n]++
}

// Policy counts what a rule decided about a call.
func (s *Shard) Policy(r RuleID, verdict Verdict) {
	if uint(r) >= uint(len(s.cur.policy)) {
		r = s.roomForRule(r)
	}
	s.cur.policy[r][min(verdict, numVerdicts-1)]++
}

func (c *cell) observeNative(d time.Duration) {
	if c.native == nil {
		c.native = &sparse[uint32]{}
	}
	c.native.observe(d)
}

// roomForNode makes room for every node known by now. An id that was never
// given becomes 0.
func (s *Shard) roomForNode(n NodeID) NodeID {
	known := s.m.ids.numNodes.Load()
	s.cur.heals = append(s.cur.heals, make([]uint64, int(known)-len(s.cur.heals))...)
	if uint32(n) >= known {
		return 0
	}
	return n
}

func (s *Shard) roomForRule(r RuleID) RuleID {
	known := s.m.ids.numRules.Load()
	s.cur.policy = append(s.cur.policy, make([][numVerdicts]uint64, int(known)-len(s.cur.policy))...)
	if uint32(r) >= known {
		return 0
	}
	return r
}

// newCell gives a script its cell on its first call since the last hand-over.
func (s *Shard) newCell(id ScriptID, route Route) *cell {
	b := s.cur
	if known := s.m.ids.numScripts.Load(); uint32(id) >= known {
		id = 0
	}
	at := int(id)*int(numRoutes) + int(route)
	if at >= len(b.cells) {
		room := int(s.m.ids.numScripts.Load()) * int(numRoutes)
		b.cells = append(b.cells, make([]*cell, room-len(b.cells))...)
	}
	if c := b.cells[at]; c != nil {
		return c
	}
	if s.free == nil {
		s.free = s.returned.Swap(nil)
	}
	if s.free == nil {
		chunk := make([]cell, cellChunk)
		for i := range chunk[:cellChunk-1] {
			chunk[i].next = &chunk[i+1]
		}
		s.free = &chunk[0]
	}
	c := s.free
	s.free, c.next = c.next, nil
	b.cells[at] = c
	b.touched = append(b.touched, uint32(at))
	return c
}

// spill sets aside what a full cell holds and empties it.
func (s *Shard) spill(id ScriptID, route Route, c *cell) {
	if uint32(id) >= s.m.ids.numScripts.Load() {
		id = 0
	}
	s.cur.spilled = append(s.cur.spilled, spill{at: uint32(id)*uint32(numRoutes) + uint32(route), cell: *c})
	*c = cell{}
}
