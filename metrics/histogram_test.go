package metrics

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// edgeDurations are all bounds, their neighbours, powers of two and their
// neighbours, the extremes, and random durations of every magnitude.
func edgeDurations() []time.Duration {
	out := []time.Duration{0, 1, 2, 3, math.MaxInt64 - 1, math.MaxInt64}
	for _, s := range bucketSeconds {
		n := time.Duration(math.Round(s * 1e9))
		out = append(out, n-1, n, n+1)
	}
	for b := 2; b < 63; b++ {
		n := time.Duration(1) << b
		out = append(out, n-1, n, n+1)
	}
	for k := -240; k < 264; k++ { // native bounds, as near as nanoseconds come
		n := time.Duration(math.Exp2(float64(k)/8) * 1e9)
		out = append(out, max(n-1, 0), n, n+1)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		out = append(out, time.Duration(rng.Uint64()>>(1+rng.UintN(63))))
	}
	return out
}

func TestClassicBucketIsTheFirstWhoseBoundIsNotPassed(t *testing.T) {
	for _, d := range edgeDurations() {
		want := 0
		for want < len(bucketSeconds) && d > time.Duration(math.Round(bucketSeconds[want]*1e9)) {
			want++
		}
		if got := int(classicBucket(d)); got != want {
			t.Fatalf("classicBucket(%d ns) = %d, want %d", d, got, want)
		}
	}
}

func TestBoundsAreAtLeastAFactorOfTwoApart(t *testing.T) {
	for i := 1; i < len(bucketSeconds); i++ {
		if bucketNanos[i] < 2*bucketNanos[i-1] {
			t.Errorf("bound %v is less than twice %v", bucketSeconds[i], bucketSeconds[i-1])
		}
	}
}

// The client library's own native histogram is the reference.
func TestNativeBucketsAreThoseOfTheClientLibrary(t *testing.T) {
	want := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "reference", Buckets: bucketSeconds[:], NativeHistogramBucketFactor: 1.1,
	})
	m, l := loops(t, Options{NativeHistograms: true}, 1)
	id := m.Script("s", "v1")
	l[0].do(func(s *Shard) {
		for _, d := range edgeDurations() {
			s.ScriptCall(id, RoutePrimary, OutcomeOK, d, false)
			want.Observe(float64(d) / 1e9)
		}
	})
	var ref dto.Metric
	if err := want.Write(&ref); err != nil {
		t.Fatal(err)
	}
	got := durations(t, m)
	w := ref.Histogram
	if got.GetSchema() != 3 || w.GetSchema() != 3 {
		t.Fatalf("schema %d, the reference has %d, want 3", got.GetSchema(), w.GetSchema())
	}
	if got.GetZeroCount() != w.GetZeroCount() || got.GetZeroThreshold() != w.GetZeroThreshold() {
		t.Errorf("zero bucket %d below %v, want %d below %v", got.GetZeroCount(), got.GetZeroThreshold(), w.GetZeroCount(), w.GetZeroThreshold())
	}
	a, b := nativeCounts(got), nativeCounts(w)
	if len(a) != len(b) {
		t.Fatalf("%d native buckets, want %d", len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] {
			t.Errorf("native bucket (index, count) %v, want %v", a[i], b[i])
		}
	}
	if got.GetSampleCount() != w.GetSampleCount() {
		t.Errorf("count %d, want %d", got.GetSampleCount(), w.GetSampleCount())
	}
	for i, b := range w.Bucket {
		if !proto.Equal(b, got.Bucket[i]) {
			t.Errorf("classic bucket %v, want %v", got.Bucket[i], b)
		}
	}
}

func TestAHistogramOfZerosAloneIsSeenAsNative(t *testing.T) {
	m, l := loops(t, Options{NativeHistograms: true}, 1)
	l[0].do(func(s *Shard) { s.ScriptCall(m.Script("s", "v1"), RoutePrimary, OutcomeOK, 0, false) })
	h := durations(t, m)
	if h.GetZeroCount() != 1 || len(h.PositiveSpan) != 1 || h.PositiveSpan[0].GetLength() != 0 {
		t.Errorf("histogram %v", h)
	}
}

func TestWithoutNativeHistogramsThereAreOnlyClassicBuckets(t *testing.T) {
	m, l := loops(t, Options{}, 1)
	l[0].do(func(s *Shard) { s.ScriptCall(m.Script("s", "v1"), RoutePrimary, OutcomeOK, time.Millisecond, false) })
	if h := durations(t, m); h.Schema != nil || h.PositiveSpan != nil || len(h.Bucket) != len(bucketSeconds) {
		t.Errorf("histogram %v", h)
	}
}

// durations returns the one series of script_duration_seconds.
func durations(t *testing.T, m *Metrics) *dto.Histogram {
	t.Helper()
	families, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == defScriptDuration.name && len(f.Metric) == 1 {
			return f.Metric[0].Histogram
		}
	}
	t.Fatal("there is not one series of", defScriptDuration.name)
	return nil
}

// nativeCounts decodes spans and deltas to pairs of index and count, leaving out
// empty buckets, which one encoder may bridge and another not.
func nativeCounts(h *dto.Histogram) (out [][2]int64) {
	index, at, count := int32(0), 0, int64(0)
	for _, span := range h.PositiveSpan {
		index += span.GetOffset()
		for range span.GetLength() {
			count += h.PositiveDelta[at]
			if count != 0 {
				out = append(out, [2]int64{int64(index), count})
			}
			index++
			at++
		}
	}
	return out
}
