//go:build linux

package registry

import (
	"math"
	"strconv"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func TestCanaryTakesItsShareAndEachKeySeesOneVersion(t *testing.T) {
	primary, store := redisserver.Start(t), redisserver.Start(t)
	settings := object{"scripts": declare("which", "return 'v1'", "return 'v2'"), "registry": onRedis(store)}
	fleet := newFleet(t, 2, settings, primary)
	here, there := fleet[0].client(), fleet[1].client()
	const keys = 4000
	// ask returns which keys see v2, asking twice here and once at the other proxy, in three forms.
	ask := func() map[int]bool {
		picked := map[int]bool{}
		for k := range keys {
			key := "user:" + strconv.Itoa(k)
			first := do(t, here, "EVALSHA", "which", 1, key)
			picked[k] = first == "v2"
			if k%4 != 0 {
				continue
			}
			if again := do(t, here, "EVAL", "return 'v1'", 1, key); again != first {
				t.Fatalf("%s saw %v by name, and %v by EVAL", key, first, again)
			}
			if other := do(t, there, "EVALSHA", "which", 1, key); other != first {
				t.Fatalf("%s saw %v at one proxy, and %v at the other", key, first, other)
			}
		}
		return picked
	}
	share := func(picked map[int]bool, percent float64) {
		t.Helper()
		n := 0
		for _, p := range picked {
			if p {
				n++
			}
		}
		p := percent / 100
		// Five standard deviations of a binomial distribution: one false alarm in two million.
		if sigma := math.Sqrt(keys * p * (1 - p)); math.Abs(float64(n)-keys*p) > 5*sigma {
			t.Errorf("%d of %d keys see the canary of %g %%", n, keys, percent)
		}
		t.Logf("%d of %d keys see the canary of %g %%", n, keys, percent)
	}

	fleet[0].must("script", "canary", "-yes", "which", "v2", "5")
	five := ask()
	share(five, 5)
	fleet[1].must("script", "canary", "-yes", "which", "v2", "20%")
	twenty := ask()
	share(twenty, 20)
	for k, was := range five {
		if was && !twenty[k] {
			t.Fatalf("key %d saw v2 at 5 %% and v1 at 20 %%", k)
		}
	}
	fleet[0].must("script", "abort", "which")
	for k := range keys {
		if v := do(t, here, "EVALSHA", "which", 1, "user:"+strconv.Itoa(k)); v != "v1" {
			t.Fatalf("a key sees %v after the abort", v)
		}
		if k%8 == 0 {
			if v := do(t, there, "EVALSHA", "which", 1, "user:"+strconv.Itoa(k)); v != "v1" {
				t.Fatalf("a key sees %v at the other proxy after the abort", v)
			}
		}
	}
	fleet[0].must("script", "canary", "-yes", "-by", "client", "which", "v2", "50")
	for range 20 {
		c := fleet[0].client()
		first := do(t, c, "EVALSHA", "which", 1, "a")
		for k := range 10 {
			if v := do(t, c, "EVALSHA", "which", 1, strconv.Itoa(k)); v != first {
				t.Fatalf("one client sees %v and %v", first, v)
			}
		}
	}
	fleet[0].must("script", "promote", "-yes", "which")
	if v := do(t, there, "EVALSHA", "which", 0); v != "v2" {
		t.Errorf("%v runs after the canary was made active", v)
	}
}
