package policy

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestALimiterAllowsTheBurstAtOnceAndTheRateAfterwards(t *testing.T) {
	for _, c := range []struct {
		rate  Rate
		burst int
	}{
		{Rate{Limit: 10}, 10}, {Rate{Limit: 10, Burst: 3}, 3}, {Rate{Limit: 0.5}, 1}, {Rate{Limit: 1e6, Burst: 1}, 1}, {Rate{Limit: 1.0 / 3600, Burst: 5}, 5},
	} {
		l := NewLimiter(c.rate)
		now := int64(12345)
		for i := range c.burst {
			if !l.Allow(now) {
				t.Fatalf("%v: call %d of the burst is refused", c.rate, i+1)
			}
		}
		if l.Allow(now) {
			t.Fatalf("%v: more than the burst is allowed", c.rate)
		}
		wait := l.RetryAfter(now)
		if l.Allow(now + int64(wait) - 1) {
			t.Errorf("%v: allowed before %v have passed", c.rate, wait)
		}
		if !l.Allow(now + int64(wait)) {
			t.Errorf("%v: refused although %v have passed", c.rate, wait)
		}
		seconds := math.Ceil(20 / c.rate.Limit)
		allowed := 0
		start := now + int64(wait) + int64(float64(c.burst)*1e9/c.rate.Limit)
		for l.Allow(start) {
		}
		steps := 1000
		for i := range steps {
			if l.Allow(start + int64(seconds*1e9)*int64(i+1)/int64(steps)) {
				allowed++
			}
		}
		if want := min(seconds*c.rate.Limit, float64(steps)); math.Abs(float64(allowed)-want) > 1 {
			t.Errorf("%v: %d calls in %v s, want %v", c.rate, allowed, seconds, want)
		}
	}
}

func TestALimiterIsExactAmongGoroutines(t *testing.T) {
	l := NewLimiter(Rate{Limit: 1000, Burst: 50})
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for now := int64(0); now <= int64(time.Second); now += int64(time.Second) / 5000 {
				if l.Allow(now) {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	// Goroutines whose clock is behind must not make the budget any bigger: the burst and one second's worth.
	if n := allowed.Load(); n > 1050 || n < 50 {
		t.Errorf("%d calls were allowed, at most 1050 may be", n)
	}
}

func TestALimiterSurvivesExtremeBurstsAndClocks(t *testing.T) {
	l := NewLimiter(Rate{Limit: 1e-9, Burst: math.MaxInt})
	for range 100 {
		l.Allow(math.MaxInt64 / 4)
	}
	l = NewLimiter(Rate{Limit: 1, Burst: 1})
	if !l.Allow(1e18) || l.Allow(0) {
		t.Error("a clock that went backwards gave calls away")
	}
}

func TestReturnGivesACallBack(t *testing.T) {
	l := NewLimiter(Rate{Limit: 1, Burst: 1})
	l.Allow(0)
	l.Return()
	if !l.Allow(0) || l.Allow(0) {
		t.Error("one call given back is not one call more")
	}
}

func TestAGateNeverLetsInMoreThanItsLimit(t *testing.T) {
	g := NewGate(3)
	var inside, most, served atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5000 {
				if !g.Acquire() {
					continue
				}
				n := inside.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				served.Add(1)
				inside.Add(-1)
				g.Release()
			}
		})
	}
	wg.Wait()
	if most.Load() > 3 || served.Load() == 0 || g.Inside() != 0 {
		t.Errorf("at most %d were inside, %d served, %d remain", most.Load(), served.Load(), g.Inside())
	}
	for i := range 4 {
		if within := g.Enter(); within != (i < 3) {
			t.Errorf("call %d: within the limit of 3: %v", i+1, within)
		}
	}
	if g.Inside() != 4 {
		t.Errorf("Enter let in 4, Inside says %d", g.Inside())
	}
}

func TestReleasingTooOftenIsAFault(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it goes unnoticed")
		}
	}()
	NewGate(1).Release()
}
