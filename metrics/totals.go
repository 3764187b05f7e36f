package metrics

import "sync"

// totals are the sums over all loops since the start. The script totals hang on
// the entries of ids, the rest is here; mu guards both.
type totals struct {
	mu       sync.Mutex
	requests [numClasses]uint64
	pings    [numPings]uint64
	errors   [numErrKinds]uint64
	heals    []uint64 // by NodeID
}

// callTotals are the calls of one version of a script on one route.
type callTotals [numOutcomes]uint64

// histTotals are the durations of one script, all versions, on one route.
type histTotals struct {
	buckets [numBuckets]uint64 // not cumulative
	nanos   uint64
	native  *sparse[uint64]
}

// add adds c to the totals, empties it, and returns its cells as a free list.
func (t *totals) add(m *Metrics, c *counts) (emptied *cell) {
	scripts, _, nodes, rules := m.ids.all()
	t.mu.Lock()
	defer t.mu.Unlock()

	addTo(t.requests[:], c.requests[:])
	addTo(t.pings[:], c.pings[:])
	addTo(t.errors[:], c.errors[:])
	if len(t.heals) < len(c.heals) {
		t.heals = append(t.heals, make([]uint64, len(nodes)-len(t.heals))...)
	}
	addTo(t.heals, c.heals)
	for i := range c.policy {
		addTo(rules[i].counted[:], c.policy[i][:])
		clear(c.policy[i][:])
	}

	for i := range c.spilled {
		sp := &c.spilled[i]
		addCell(scripts[sp.at/uint32(numRoutes)], Route(sp.at%uint32(numRoutes)), &sp.cell)
	}
	for _, at := range c.touched {
		cl := c.cells[at]
		c.cells[at] = nil
		addCell(scripts[at/uint32(numRoutes)], Route(at%uint32(numRoutes)), cl)
		native := cl.native
		if native != nil {
			native.reset()
		}
		*cl = cell{native: native, next: emptied}
		emptied = cl
	}
	clear(c.requests[:])
	clear(c.pings[:])
	clear(c.errors[:])
	clear(c.heals)
	c.touched = c.touched[:0]
	c.spilled = nil
	return emptied
}

func addCell(s *script, route Route, c *cell) {
	calls := s.calls[route]
	if calls == nil {
		calls = &callTotals{}
		s.calls[route] = calls
	}
	for i, n := range c.outcomes {
		calls[i] += uint64(n)
	}
	s.name.called = true
	s.name.slow += uint64(c.slow)

	var observed uint64
	for _, n := range c.buckets {
		observed += uint64(n)
	}
	if observed == 0 {
		return
	}
	h := s.name.hist[route]
	if h == nil {
		h = &histTotals{}
		s.name.hist[route] = h
	}
	for i, n := range c.buckets {
		h.buckets[i] += uint64(n)
	}
	h.nanos += c.nanos
	if c.native != nil {
		if h.native == nil {
			h.native = &sparse[uint64]{}
		}
		h.native.zero += uint64(c.native.zero)
		c.native.each(func(bucket int, n uint32) { h.native.add(bucket, uint64(n)) })
	}
}

func addTo(total, delta []uint64) {
	for i, n := range delta {
		total[i] += n
	}
}
