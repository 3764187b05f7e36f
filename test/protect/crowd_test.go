//go:build linux

package protect

import (
	"fmt"
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
	phases  []stats           // of report
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

// phase is the name of the one that a request belongs to. Who was waiting when something began has met it, and so has who came meanwhile.
func (s sample) phase(phases []phase) (name string) {
	end := s.began.Add(s.took)
	for _, p := range phases {
		if p.name == "during" && s.began.Before(p.to) && end.After(p.from) {
			return p.name
		}
		if !s.began.Before(p.from) && s.began.Before(p.to) {
			name = p.name
		}
	}
	return name
}

// report prints what the clients saw in each phase, and returns how many requests of all phases failed with each code. It ends the crowd.
func (w *crowd) report(phases ...phase) map[string]int {
	w.t.Helper()
	w.stop()
	fails := map[string]int{}
	for _, p := range phases {
		var here []sample
		for _, s := range w.samples {
			if s.phase(phases) == p.name {
				here = append(here, s)
			}
		}
		if len(here) == 0 {
			w.t.Errorf("%s, %s: no request", w.name, p.name)
			continue
		}
		sum := statsOf(here)
		w.phases = append(w.phases, sum)
		for code, n := range sum.fails {
			fails[code] += n
		}
		w.t.Logf("%-22s %-7s %v", w.name, p.name, sum)
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
