package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"
)

func benchShard(b *testing.B, native bool, scripts int) (*Shard, []ScriptID) {
	b.Helper()
	m := New(Options{NativeHistograms: native})
	ids := make([]ScriptID, scripts)
	for i := range ids {
		ids[i] = m.Script(fmt.Sprint("script-", i), "v1")
	}
	b.ReportAllocs()
	return m.NewShard(), ids
}

func BenchmarkScriptCall(b *testing.B) {
	for _, native := range []bool{false, true} {
		for _, n := range []int{1, 64, 4096} {
			b.Run(fmt.Sprintf("native=%v/scripts=%d", native, n), func(b *testing.B) {
				s, ids := benchShard(b, native, n)
				for i := 0; b.Loop(); i++ {
					s.ScriptCall(ids[i&(n-1)], RoutePrimary, OutcomeOK, time.Duration(i&0xfffff), false)
				}
			})
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	s, _ := benchShard(b, false, 1)
	for b.Loop() {
		s.Request(ClassRead)
	}
}

func BenchmarkTick(b *testing.B) {
	s, _ := benchShard(b, false, 1)
	for b.Loop() {
		s.Tick()
	}
}

// discard is a client that takes everything.
type discard struct {
	header http.Header
	bytes  int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(b []byte) (int, error) { d.bytes += len(b); return len(b), nil }

// fiveThousand returns metrics of 5,000 scripts of which all are active and have
// been called on two loops, and a function that calls all of them again.
func fiveThousand(b *testing.B, native bool) (*Metrics, func()) {
	b.Helper()
	m, ls := loops(b, Options{NativeHistograms: native}, 2)
	ids := make([]ScriptID, 5000)
	active := make([]ActiveVersion, len(ids))
	for i := range ids {
		active[i] = ActiveVersion{fmt.Sprintf("service.script-%04d", i), "v1", fmt.Sprintf("%040x", i)}
		ids[i] = m.Script(active[i].Script, "v1")
	}
	m.SetActiveVersions(active)
	call := func() {
		for _, l := range ls {
			l.do(func(s *Shard) {
				for i, id := range ids {
					for k := range 8 {
						s.ScriptCall(id, RoutePrimary, OutcomeOK, time.Duration(i*100+1000<<k), k == 7)
					}
				}
			})
		}
	}
	call()
	return m, call
}

// BenchmarkScrape is a whole scrape of 5,000 scripts that were all called since
// the one before.
func BenchmarkScrape(b *testing.B) {
	for _, bench := range []struct {
		name, accept string
		native       bool
	}{{"text", "text/plain", false}, {"protobuf", protobuf, false}, {"protobuf-native", protobuf, true}} {
		b.Run(bench.name, func(b *testing.B) {
			m, call := fiveThousand(b, bench.native)
			h := m.Handler()
			r := httptest.NewRequest("GET", "/metrics", nil)
			r.Header.Set("Accept", bench.accept)
			w := &discard{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				call()
				b.StartTimer()
				w.bytes = 0
				h.ServeHTTP(w, r)
			}
			b.ReportMetric(float64(w.bytes)/1e6, "MB-answer")
		})
	}
}

// BenchmarkMemory reports what 5,000 called scripts keep, with two loops.
func BenchmarkMemory(b *testing.B) {
	for _, native := range []bool{false, true} {
		b.Run(fmt.Sprintf("native=%v", native), func(b *testing.B) {
			for b.Loop() {
				before := heap()
				m, call := fiveThousand(b, native)
				for range 3 {
					m.gather()
					call()
				}
				b.ReportMetric(float64(heap()-before)/1e6, "MB-kept")
				runtime.KeepAlive(m)
				runtime.KeepAlive(call)
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}
