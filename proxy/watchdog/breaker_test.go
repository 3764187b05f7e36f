package watchdog

import (
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
)

const second = int64(time.Second)

var threeIn10 = BreakerSettings{Kills: 3, Window: 10 * time.Second, OpenFor: 5 * time.Second}

// opened is a breaker that opened at 2 s.
func opened(t *testing.T) *Breaker {
	t.Helper()
	b := NewBreaker("x", threeIn10)
	for at := range int64(3) {
		if got := b.Strike(at * second); got != (at == 2) {
			t.Fatalf("strike %d: opened %v", at+1, got)
		}
	}
	return b
}

func state(t *testing.T, b *Breaker, now int64, want metrics.BreakerState) {
	t.Helper()
	if got := b.Status(now).State; got != want {
		t.Errorf("at %v the state is %d, want %d", time.Duration(now), got, want)
	}
}

func TestBreakerOpensAfterSoManyKillsWithinTheWindow(t *testing.T) {
	b := opened(t)
	if b.Closed() {
		t.Error("still closed")
	}
	a := b.Admit(3*second, false)
	if !a.Refused || a.Left != 4*time.Second || a.Kills != 3 || a.Window != 10*time.Second {
		t.Errorf("a call 1 s later: %+v", a)
	}
	if s := b.Status(3 * second); s.Total != 3 || s.Kills != 3 || s.Since != 2*second || s.Left != 4*time.Second {
		t.Errorf("its status: %+v", s)
	}
}

func TestKillsFurtherApartThanTheWindowDoNotOpenABreaker(t *testing.T) {
	b := NewBreaker("x", threeIn10)
	for at := int64(0); at < 100; at += 5 {
		if b.Strike(at * second) {
			t.Fatalf("opened by the strike at %d s", at)
		}
	}
	if a := b.Admit(100*second, false); a.Refused {
		t.Error("a call was refused")
	}
}

func TestHalfOpenBreakerLetsOneCallThroughAndClosesWhenItEndsWell(t *testing.T) {
	b := opened(t)
	now := 7 * second
	state(t, b, now-1, metrics.BreakerOpen)
	if a := b.Admit(now, true); a.Refused {
		t.Error("the look ahead of the trial was refused")
	}
	if a := b.Admit(now, false); a.Refused || !a.Trial {
		t.Errorf("the first call: %+v", a)
	}
	state(t, b, now, metrics.BreakerHalfOpen)
	if a := b.Admit(now, false); !a.Refused || a.Left != 0 {
		t.Errorf("the second call: %+v", a)
	}
	if a := b.Admit(now, true); !a.Refused {
		t.Errorf("a look while the trial runs: %+v", a)
	}
	b.Tried(now+second, true)
	state(t, b, now+second, metrics.BreakerClosed)
	if !b.Closed() {
		t.Error("not closed for those who do not ask")
	}
	if b.Strike(now + 2*second) {
		t.Error("the kills from before it closed were not forgotten")
	}
}

func TestTrialThatHasToBeEndedOpensTheBreakerAgain(t *testing.T) {
	b := opened(t)
	now := 8 * second
	b.Admit(now, false)
	if !b.Strike(now + second) {
		t.Error("the strike did not open it")
	}
	b.Tried(now+second, false)
	state(t, b, now+second, metrics.BreakerOpen)
	if a := b.Admit(now+2*second, false); !a.Refused || a.Left != 4*time.Second {
		t.Errorf("a call 1 s later: %+v", a)
	}
	b.Tried(now+2*second, true)
	state(t, b, now+2*second, metrics.BreakerOpen)
}

func TestTrialThatDidNotRunMakesWayForAnother(t *testing.T) {
	b := opened(t)
	b.Admit(8*second, false)
	b.Tried(8*second, false)
	state(t, b, 8*second, metrics.BreakerHalfOpen)
	if a := b.Admit(9*second, false); !a.Trial {
		t.Errorf("the next call: %+v", a)
	}
}

func TestCallsLetInBeforeItOpenedDoNotProlongABreaker(t *testing.T) {
	b := opened(t)
	if b.Strike(4 * second) {
		t.Error("opened twice")
	}
	if s := b.Status(4 * second); s.Left != 3*time.Second || s.Total != 4 {
		t.Errorf("its status: %+v", s)
	}
}

func TestBreakerSwitchedOffLetsCallsThroughAndStillCounts(t *testing.T) {
	b := opened(t)
	b.Set(BreakerSettings{})
	if a := b.Admit(3*second, false); a.Refused || !b.Closed() {
		t.Error("still refusing")
	}
	for range 10 {
		if b.Strike(4 * second) {
			t.Fatal("opened while off")
		}
	}
	if s := b.Status(4 * second); s.Total != 13 {
		t.Errorf("counted %d in all", s.Total)
	}
}
