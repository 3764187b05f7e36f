package registry_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

func canary(t testing.TB, name string, percent float64) *registry.Canary {
	t.Helper()
	tt, ok := t.(*testing.T)
	if !ok {
		return &registry.Canary{Version: "v2", Percent: percent, Sticky: registry.StickyKey, Seed: 0x9e3779b97f4a7c15}
	}
	r := open(tt, newTestStore(tt))
	for i := range 2 {
		must(tt)(r.LoadVersion(background, alice, registry.Load{Name: name, Body: body(i)}))
	}
	must(tt)(r.Activate(background, alice, name, "v1"))
	must(tt)(r.SetCanary(background, alice, name, "v2", percent, registry.StickyKey))
	return r.Snapshot().Script(name).Canary
}

func TestACanarysShareIsExactWithinStatistics(t *testing.T) {
	const keys = 100_000
	for _, percent := range []float64{0.05, 5, 33.33, 99.99} {
		c := canary(t, "pay", percent)
		for _, shape := range []string{"%d", "account:{%d}:balance", "%08x"} {
			picked := 0
			var key []byte
			for i := range keys {
				key = fmt.Appendf(key[:0], shape, i)
				if c.Picks(key) {
					picked++
				}
			}
			p := percent / 100
			// Five standard deviations: a fair choice fails once in 1.7 million.
			if off := math.Abs(float64(picked) - keys*p); off > 5*math.Sqrt(keys*p*(1-p)) {
				t.Errorf("%g %% of %d keys like %q are %g, picked %d", percent, keys, shape, keys*p, picked)
			}
		}
	}
}

func TestACanaryOf100PercentPicksEverything(t *testing.T) {
	c := canary(t, "pay", 100)
	for i := range 100_000 {
		if !c.Picks(fmt.Append(nil, i)) {
			t.Fatalf("key %d is not picked", i)
		}
	}
	if !c.Picks(nil) {
		t.Error("a call without a key is not picked")
	}
}

func TestRaisingACanaryKeepsTheKeysItHas(t *testing.T) {
	small, large := canary(t, "pay", 5), canary(t, "pay", 20)
	for i := range 100_000 {
		key := fmt.Append(nil, i)
		if small.Picks(key) && !large.Picks(key) {
			t.Fatalf("key %s is in 5 %% and not in 20 %%", key)
		}
	}
}

func TestCanariesOfDifferentScriptsPickDifferentKeys(t *testing.T) {
	const keys = 100_000
	a, b := canary(t, "pay", 10), canary(t, "refund", 10)
	both := 0
	for i := range keys {
		key := fmt.Append(nil, i)
		if a.Picks(key) && b.Picks(key) {
			both++
		}
	}
	if both < keys/100/2 || both > keys/100*2 {
		t.Errorf("10 %% of each are independent when 1 %% (%d) are in both; there are %d", keys/100, both)
	}
}

// The choice is part of what a fleet agrees on: proxies of different releases must not differ.
func TestACanarysChoiceIsTheSameInEveryRelease(t *testing.T) {
	c := canary(t, "pay", 50)
	got := ""
	for i := range 32 {
		if c.Picks(fmt.Appendf(nil, "key:%d", i)) {
			got += "1"
		} else {
			got += "0"
		}
	}
	if want := "00000010001100000101110011110100"; got != want {
		t.Errorf("picks %s, want %s", got, want)
	}
}

func TestPicksDoesNotAllocate(t *testing.T) {
	c, key := canary(t, "pay", 5), []byte("account:{4711}:balance")
	if n := testing.AllocsPerRun(100, func() { c.Picks(key) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func BenchmarkPicks(b *testing.B) {
	c, key := canary(b, "pay", 5), []byte("account:{4711}:balance")
	b.ReportAllocs()
	for b.Loop() {
		c.Picks(key)
	}
}
