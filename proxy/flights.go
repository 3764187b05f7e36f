//go:build linux

package proxy

import "context"

// flights counts the script calls in flight of one loop, in two phases, so
// that those which began before a moment can be told from those after it.
type flights struct {
	count [2]int
	phase uint8
	// quiet is called when the calls of the other phase have ended.
	quiet func()
}

func (f *flights) begin(c *scriptCall) {
	if c.flight == 0 {
		c.flight = f.phase + 1
		f.count[f.phase]++
	}
}

func (f *flights) end(flight uint8) {
	phase := flight - 1
	f.count[phase]--
	if f.count[phase] == 0 && phase != f.phase && f.quiet != nil {
		f.quiet()
		f.quiet = nil
	}
}

// turn begins a new phase, and calls quiet when the calls of the one before
// have ended. When an earlier turn was not waited out, its calls count as
// those of the phase that begins: the next turn waits for them.
func (f *flights) turn(quiet func()) {
	old := f.phase
	f.phase ^= 1
	f.quiet = nil
	if f.count[old] == 0 {
		quiet()
		return
	}
	f.quiet = quiet
}

// Settle returns when no script call is in flight that a generation before
// the current one has decided, or when ctx ends. Calls that wait inside a
// transaction for EXEC are not looked at. One goroutine at a time may call it.
func (s *Server) Settle(ctx context.Context) error {
	done := make(chan struct{}, len(s.workers))
	waiting := 0
	for _, w := range s.workers {
		if w.loop.Do(func() { w.flights.turn(func() { done <- struct{}{} }) }) {
			waiting++
		}
	}
	for range waiting {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
