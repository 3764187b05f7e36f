package redisstore_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

// BenchmarkPropagation measures the time from the call of Activate on one proxy until the
// last of five has told its subscribers, in milliseconds.
func BenchmarkPropagation(b *testing.B) {
	for _, scripts := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("scripts=%d", scripts), func(b *testing.B) { propagation(b, scripts) })
	}
}

func propagation(b *testing.B, scripts int) {
	s := startServer(b)
	var fleet []*registry.Registry
	const proxies = 5
	var behind atomic.Int64
	var waitingFor atomic.Uint64
	last := make(chan time.Time, 1)
	first := s.open("p0")
	declared := make([]registry.Declared, scripts)
	for i := range declared {
		declared[i] = registry.Declared{Name: fmt.Sprint("filler", i), Versions: []registry.DeclaredVersion{{ID: "v1", Body: body(i)}}}
	}
	if _, err := first.Declare(background, declared); err != nil {
		b.Fatal(err)
	}
	seed(b, first)
	for i := range proxies {
		r := first
		if i > 0 {
			r = s.open(fmt.Sprint("p", i))
		}
		fleet = append(fleet, r)
		cancel := r.Subscribe(func(s *registry.Snapshot) {
			if s.Revision == waitingFor.Load() && behind.Add(-1) == 0 {
				last <- time.Now()
			}
		})
		b.Cleanup(cancel)
	}
	waitFor(b, "that all subscribe", func() bool {
		return s.do("PUBSUB", "NUMSUB", "{test}:announce").([]any)[1].(int64) == proxies
	})
	versions := []string{"v2", "v1"}
	var times []time.Duration
	n := 0
	for b.Loop() {
		behind.Store(proxies)
		waitingFor.Store(first.Snapshot().Revision + 1)
		start := time.Now()
		activate(b, fleet[0], versions[n%2])
		times = append(times, (<-last).Sub(start))
		n++
	}
	slices.Sort(times)
	at := func(q float64) float64 { return float64(times[int(q*float64(len(times)-1))].Microseconds()) / 1000 }
	b.ReportMetric(at(0.5), "ms-p50")
	b.ReportMetric(at(0.99), "ms-p99")
	b.ReportMetric(at(1), "ms-max")
}
