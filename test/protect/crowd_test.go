//go:build linux

package protect

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// sample is one request of a crowd's client.
type sample struct {
	began time.Time
	took  time.Duration
	fail  string // the code of an error reply, or what became of the connection
}

// crowd is many clients, each with one request at a time and a pause after it.
type crowd struct {
	t       *testing.T
	name    string
	stopped atomic.Bool
	wg      sync.WaitGroup
	mu      sync.Mutex
	samples []sample
	texts   map[string]string // one error text for each code
	counts  map[string]int    // errors so far, by code
}

// gather starts n clients of the proxy that repeat ask. A client that loses its connection stops, and fails the test.
func gather(p *proxy, name string, n int, pause time.Duration, ask func(i int, c *redisserver.Client) (any, error)) *crowd {
	p.t.Helper()
	w := &crowd{t: p.t, name: name, texts: map[string]string{}, counts: map[string]int{}}
	for i := range n {
		c := p.dial()
		w.wg.Go(func() { w.visit(i, c, pause, ask) })
	}
	p.t.Cleanup(w.stop)
	return w
}

func (w *crowd) visit(i int, c *redisserver.Client, pause time.Duration, ask func(int, *redisserver.Client) (any, error)) {
	var mine []sample
	for !w.stopped.Load() {
		s := sample{began: time.Now()}
		reply, err := ask(i, c)
		s.took = time.Since(s.began)
		text := ""
		if e, ok := reply.(redisserver.Error); ok {
			s.fail, _, _ = strings.Cut(string(e), " ")
			text = string(e)
		}
		if err != nil {
			s.fail, text = "connection", err.Error()
		}
		mine = append(mine, s)
		if text != "" {
			w.mu.Lock()
			w.texts[s.fail] = text
			w.counts[s.fail]++
			w.mu.Unlock()
		}
		if err != nil {
			break
		}
		time.Sleep(pause)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples = append(w.samples, mine...)
}

// stop ends the clients. It may be called more than once.
func (w *crowd) stop() {
	w.stopped.Store(true)
	w.wg.Wait()
}

// refusals is how many requests have failed with a code so far.
func (w *crowd) refusals(code string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[code]
}

// phase is a part of a test with its name.
type phase struct {
	name     string
	from, to time.Time
}

// report prints what the clients saw in each phase, and returns how many requests of all phases failed with each code. It ends the crowd.
func (w *crowd) report(phases ...phase) map[string]int {
	w.t.Helper()
	w.stop()
	fails := map[string]int{}
	for _, p := range phases {
		var took []time.Duration
		here := map[string]int{}
		for _, s := range w.samples {
			if s.began.Before(p.from) || !s.began.Before(p.to) {
				continue
			}
			took = append(took, s.took)
			if s.fail != "" {
				fails[s.fail]++
				here[s.fail]++
			}
		}
		if len(took) == 0 {
			w.t.Errorf("%s, %s: no request", w.name, p.name)
			continue
		}
		slices.Sort(took)
		at := func(share float64) time.Duration {
			return took[min(len(took)-1, int(share*float64(len(took))))].Round(10 * time.Microsecond)
		}
		w.t.Logf("%-22s %-7s %6d requests, p50 %8v, p99 %8v, longest %8v, errors %v", w.name, p.name, len(took), at(.5), at(.99), at(1), here)
	}
	if n := fails["connection"]; n > 0 {
		w.t.Errorf("%s: %d clients lost their connections: %s", w.name, n, w.texts["connection"])
	}
	return fails
}

// during returns the phases before, during and after something that lasted from from to to.
func during(start, from, to, end time.Time) []phase {
	return []phase{{"before", start, from}, {"during", from, to}, {"after", to, end}}
}

// plainly is what a client does that sets and gets a key of its own.
func plainly(i int, c *redisserver.Client) (any, error) {
	key := fmt.Sprintf("plain:%d", i)
	if i%2 == 0 {
		return c.Do("SET", key, i)
	}
	return c.Do("GET", key)
}
