package metrics

import (
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loop stands for an event loop: it sleeps until there is work or it is woken,
// and calls Tick at the end of every iteration.
type loop struct {
	shard *Shard
	work  chan func(*Shard)
	wake  chan struct{}
	done  chan struct{}
}

// loops starts n loops for a new Metrics and ends them with the test.
func loops(t testing.TB, o Options, n int) (*Metrics, []*loop) {
	t.Helper()
	all := make([]*loop, n)
	o.Wake = func(i int) {
		select {
		case all[i].wake <- struct{}{}:
		default:
		}
	}
	if o.HandOverWait == 0 {
		o.HandOverWait = 10 * time.Second // tests of exactness must not depend on speed
	}
	m := New(o)
	var wg sync.WaitGroup
	for i := range all {
		l := &loop{shard: m.NewShard(), work: make(chan func(*Shard)), wake: make(chan struct{}, 1), done: make(chan struct{})}
		all[i] = l
		wg.Go(l.run)
	}
	t.Cleanup(func() {
		for _, l := range all {
			close(l.done)
		}
		wg.Wait()
	})
	return m, all
}

func (l *loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		select {
		case f := <-l.work:
			f(l.shard)
		case <-l.wake:
		case <-l.done:
			l.shard.Close()
			return
		}
		l.shard.Tick()
	}
}

// do runs f on the loop and waits for it.
func (l *loop) do(f func(*Shard)) {
	finished := make(chan struct{})
	l.work <- func(s *Shard) { f(s); close(finished) }
	<-finished
}

// values gathers m and returns every sample as name{label="value",…} → value; a
// histogram as its _count and _sum.
func values(t testing.TB, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal("gather:", err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, metric := range f.Metric {
			key := series(f.GetName(), metric)
			switch {
			case metric.Counter != nil:
				out[key] = metric.Counter.GetValue()
			case metric.Gauge != nil:
				out[key] = metric.Gauge.GetValue()
			case metric.Histogram != nil:
				out[series(f.GetName()+"_count", metric)] = float64(metric.Histogram.GetSampleCount())
				out[series(f.GetName()+"_sum", metric)] = metric.Histogram.GetSampleSum()
			}
		}
	}
	return out
}

func series(name string, m *dto.Metric) string {
	var labels []string
	for _, p := range m.Label {
		labels = append(labels, p.GetName()+"="+p.GetValue())
	}
	return strings.TrimPrefix(name, namespace) + "{" + strings.Join(labels, ",") + "}"
}

// scrape returns what Handler answers to a client that takes plain text.
func scrape(t testing.TB, m *Metrics, accept string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("scrape: status %d: %s", w.Code, w.Body)
	}
	return w
}

func expect(t testing.TB, got map[string]float64, key string, want float64) {
	t.Helper()
	v, ok := got[key]
	if !ok {
		t.Errorf("%s is absent, want %v", key, want)
	} else if v != want {
		t.Errorf("%s = %v, want %v", key, v, want)
	}
}

func expectAbsent(t testing.TB, got map[string]float64, prefix string) {
	t.Helper()
	for key := range got {
		if strings.HasPrefix(key, prefix) {
			t.Errorf("%s is exposed", key)
		}
	}
}
