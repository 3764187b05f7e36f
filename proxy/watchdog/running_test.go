package watchdog

import (
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// list is a node's list that counts how often the node became free.
func list(t *testing.T) (*Running, *topology.Node, *int) {
	t.Helper()
	n := topology.NewNode("127.0.0.1:1", 0, 0)
	freed := new(int)
	return newRunning(n, func(got *topology.Node) {
		if got != n {
			t.Errorf("free was told of %v", got)
		}
		*freed++
	}), n, freed
}

func TestOldestRunIsTakenForTheOneThatRuns(t *testing.T) {
	g, n, freed := list(t)
	younger, older := NewRun(Call{Node: n}, 20*second), NewRun(Call{Node: n}, 10*second)
	g.Enter(younger)
	g.Enter(older)
	g.Enter(older)
	if g.Oldest() != older || g.Busy(15*second) != 5*time.Second {
		t.Errorf("the oldest is %v, busy for %v", g.Oldest(), g.Busy(15*second))
	}
	g.End(older, EndBusy, 30*second)
	if g.Oldest() != younger || *freed != 0 {
		t.Error("what was only refused made the node free")
	}
	g.End(younger, EndBusy, 30*second)
	if g.Oldest() != nil || *freed != 1 {
		t.Errorf("freed %d times", *freed)
	}
}

func TestEndOfARunShowsThatTheOthersHadNotBegun(t *testing.T) {
	for _, how := range []End{EndReplied, EndKilled} {
		g, n, freed := list(t)
		first, second_ := NewRun(Call{Node: n}, 10*second), NewRun(Call{Node: n}, 11*second)
		g.Enter(first)
		g.Enter(second_)
		g.End(first, how, 20*second)
		if g.Oldest() != nil || *freed != 1 || g.Heard() != 20*second {
			t.Errorf("end %d: oldest %v, freed %d times, heard at %d", how, g.Oldest(), *freed, g.Heard())
		}
		if second_.Since() != 20*second || second_.Listed() || second_.Over() {
			t.Errorf("end %d: the other began at %d, listed %v", how, second_.Since(), second_.Listed())
		}
		g.Enter(second_)
		if g.Oldest() != second_ {
			t.Error("the other can't be listed again")
		}
	}
}

func TestRunThatBeganLaterThanThoughtLeavesTheList(t *testing.T) {
	g, n, freed := list(t)
	r := NewRun(Call{Node: n}, 10*second)
	g.Leave(r)
	g.Enter(r)
	r.Began(5 * second)
	if r.Since() != 10*second {
		t.Error("a run began earlier than thought")
	}
	r.Began(12 * second)
	g.Leave(r)
	if r.Since() != 12*second || g.Oldest() != nil || *freed != 1 {
		t.Errorf("began at %d, oldest %v, freed %d times", r.Since(), g.Oldest(), *freed)
	}
}

func TestRunThatIsOverIsNotListedAgain(t *testing.T) {
	g, n, _ := list(t)
	r := NewRun(Call{Node: n}, 10*second)
	g.End(r, EndReplied, 11*second)
	g.Enter(r)
	if g.Oldest() != nil || !r.Over() {
		t.Error("a run that is over was listed")
	}
}

func TestRunIsCountedByItsBreakerOnce(t *testing.T) {
	b := NewBreaker("x", BreakerSettings{Kills: 2, Window: time.Minute, OpenFor: time.Minute})
	r := NewRun(Call{Breaker: b}, 0)
	if r.Strike(1) || r.Strike(2) || !r.Struck() {
		t.Error("one run opened a breaker of two kills")
	}
	if !NewRun(Call{Breaker: b}, 0).Strike(3) {
		t.Error("the second run did not open it")
	}
	if NewRun(Call{}, 0).Strike(4) {
		t.Error("a run without a breaker opened one")
	}
}
