package metrics

import "time"

// Tick must be called once per iteration of the loop, at its end. It costs one
// atomic load unless a scrape has asked for the counts; then it exchanges two
// pointers and gives the filled counts away.
func (s *Shard) Tick() {
	if s.ask.Load() {
		s.handOver()
	}
}

func (s *Shard) handOver() {
	filled := s.cur
	s.cur, s.spare = s.spare, nil
	s.ask.Store(false)
	s.out <- filled // has room: one request is one answer
}

// Close gives everything counted so far to the totals and ends the shard. The
// loop calls it when it ends; nothing may be counted afterwards.
func (s *Shard) Close() {
	s.Tick()
	close(s.gone)
}

// gather asks every loop for its counts and adds what comes to the totals. It
// returns when all have answered, or after Options.HandOverWait; the counts of a
// loop that is late come with the next call.
func (m *Metrics) gather() {
	m.syncMu.Lock()
	defer m.syncMu.Unlock()

	for _, s := range m.shards {
		s.collectLate()
		if !s.asked {
			s.asked = true
			s.ask.Store(true)
		}
		if m.opts.Wake != nil {
			m.opts.Wake(s.index)
		}
	}

	timer := time.NewTimer(m.opts.HandOverWait)
	defer timer.Stop()
	deadline := timer.C
	complete := true
	open := m.shards[:0]
	for _, s := range m.shards {
		answered, ended := s.await(deadline)
		if !answered {
			complete = false
			deadline = passed
		}
		if !ended {
			open = append(open, s)
		}
	}
	clear(m.shards[len(open):])
	m.shards = open
	if !complete {
		m.incomplete.Add(1)
	}
}

// passed is a deadline that is over.
var passed = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

// collectLate takes the answer to an earlier request that had come too late.
func (s *Shard) collectLate() (found bool) {
	select {
	case c := <-s.out:
		s.take(c)
		return true
	default:
		return false
	}
}

// await waits until the loop answers or ends, or the deadline passes.
func (s *Shard) await(deadline <-chan time.Time) (answered, ended bool) {
	select {
	case c := <-s.out:
		s.take(c)
		return true, false
	case <-s.gone:
		s.takeLast()
		return true, true
	case <-deadline:
	}
	select {
	case <-s.gone:
		s.takeLast()
		return true, true
	default:
		return s.collectLate(), false
	}
}

// takeLast takes everything from a shard whose loop has ended.
func (s *Shard) takeLast() {
	s.collectLate()
	s.m.totals.add(s.m, s.cur)
}

// take adds an answer to the totals and readies it for the next request.
func (s *Shard) take(c *counts) {
	emptied := s.m.totals.add(s.m, c)
	if emptied != nil {
		last := emptied
		for last.next != nil {
			last = last.next
		}
		last.next = s.returned.Swap(nil)
		s.returned.Store(emptied)
	}
	s.spare = c
	s.asked = false
}
