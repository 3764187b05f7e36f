//go:build linux

package proxy

import (
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
)

// CallTrace is one script call, for a tracer. It says nothing of keys or
// arguments.
type CallTrace struct {
	Name, Version, SHA string
	Node               string
	Route, Outcome     string
	// End is when the reply came, Took the time on the node.
	End  time.Time
	Took time.Duration
	Keys int
}

// sampled decides whether a call is traced: the fraction of calls that
// Settings.TraceSample says, by a generator of the loop's own (xorshift64).
func (w *worker) sampled() bool {
	x := w.random
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	w.random = x
	return float64(x>>11)/(1<<53) < w.gen.Settings.TraceSample
}

// trace hands a call to the tracer.
func (p *pending) trace(took time.Duration, o metrics.Outcome) {
	c := &p.call
	t := CallTrace{Node: c.node.Addr, Route: c.route.String(), Outcome: o.String(), End: time.Now(), Took: took, Keys: c.keys}
	if c.script != nil {
		t.Name, t.Version, t.SHA = c.script.Name, c.script.Version, c.script.SHA
	}
	p.w.srv.trace(t)
}
