package watchdog

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
)

const (
	busyScript   = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
	busyFunction = "-BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
	notBusy      = "-NOTBUSY No scripts in execution right now."
)

// threshold answers CONFIG GET with a threshold below every deadline.
func threshold(command string) string {
	if strings.HasPrefix(command, "CONFIG GET") {
		return "*2\r\n$20\r\nbusy-reply-threshold\r\n$2\r\n10"
	}
	return "-ERR unknown command"
}

var watching = Settings{Smallest: 50 * time.Millisecond}

func TestNoKillIsSentToANodeThatIsSilent(t *testing.T) {
	var speaks atomic.Bool
	s := newFake(t, func(command string) string {
		switch {
		case command == "PING" && speaks.Load():
			return "+PONG"
		case command == "PING":
			return ""
		}
		return threshold(command)
	})
	f := watch(t, s.Addr().String(), watching)
	r := f.run(KindScript)
	for range 30 {
		f.dog.Report(r)
		time.Sleep(10 * time.Millisecond)
	}
	if n := s.asked("PING"); n != 1 {
		t.Errorf("a silent node was asked %d times", n)
	}
	f.running.End(r, EndReplied, now())
	time.Sleep(300 * time.Millisecond)
	if s.asked("SCRIPT KILL")+s.asked("FUNCTION KILL") > 0 {
		t.Error("a kill was sent")
	}
}

func TestNoKillIsSentToANodeThatRunsNothing(t *testing.T) {
	s := newFake(t, func(command string) string {
		if command == "PING" {
			return "+PONG"
		}
		return threshold(command)
	})
	f := watch(t, s.Addr().String(), watching)
	r := f.run(KindScript)
	f.eventually("asking again while it is reported", func() error {
		f.dog.Report(r)
		if n := s.asked("PING"); n < 3 {
			return fmt.Errorf("asked %d times", n)
		}
		return nil
	})
	if s.asked("SCRIPT KILL") > 0 {
		t.Error("a kill was sent")
	}
}

func TestNoKillIsSentWhenTheNodeHasRefusedOurs(t *testing.T) {
	var f *fixture
	var r *Run
	s := newFake(t, func(command string) string {
		if command == "PING" {
			f.running.End(r, EndBusy, now()) // the reply that our call gets at the same time
			return busyScript
		}
		return threshold(command)
	})
	f = watch(t, s.Addr().String(), watching)
	r = f.run(KindScript)
	f.dog.Report(r)
	f.eventually("the question", func() error {
		if s.asked("PING") == 0 {
			return fmt.Errorf("not asked")
		}
		return nil
	})
	time.Sleep(10 * settle)
	if s.asked("SCRIPT KILL") > 0 {
		t.Error("a script that did not come through the proxy was killed")
	}
}

func TestRunThatEndsBeforeItsKillIsCountedSo(t *testing.T) {
	s := newFake(t, func(command string) string {
		switch command {
		case "PING":
			return busyScript
		case "SCRIPT KILL":
			return notBusy
		}
		return threshold(command)
	})
	f := watch(t, s.Addr().String(), watching)
	r := f.run(KindScript)
	f.dog.Report(r)
	f.counted("not_busy", 1)
	f.running.End(r, EndReplied, now())
	if r.Struck() {
		t.Error("the breaker counted a call that ended by itself")
	}
}

func TestOtherKindOfKillIsTriedWhenTheFirstIsTheWrongOne(t *testing.T) {
	var f *fixture
	var r *Run
	s := newFake(t, func(command string) string {
		switch command {
		case "PING", "SCRIPT KILL":
			return busyFunction
		case "FUNCTION KILL":
			f.running.End(r, EndKilled, now())
			return "+OK"
		}
		return threshold(command)
	})
	f = watch(t, s.Addr().String(), watching)
	r = f.run(KindScript)
	f.dog.Report(r)
	f.counted("killed", 1)
}

func TestRefusedKillIsReportedOnce(t *testing.T) {
	s := newFake(t, func(command string) string {
		switch command {
		case "PING":
			return busyScript
		case "SCRIPT KILL":
			return "-NOPERM this user has no permissions to run the 'script|kill' command"
		}
		return threshold(command)
	})
	f := watch(t, s.Addr().String(), watching)
	r := f.run(KindScript)
	for range 40 {
		f.dog.Report(r)
		time.Sleep(10 * time.Millisecond)
	}
	f.counted("failed", 1)
	if n := strings.Count(f.log(), "NOPERM"); n != 1 || s.asked("SCRIPT KILL") != 1 {
		t.Errorf("told %d times, asked %d times", n, s.asked("SCRIPT KILL"))
	}
}

func TestKillIsTriedAgainOnANewConnection(t *testing.T) {
	var f *fixture
	var r *Run
	var tries atomic.Int32
	s := newFake(t, func(command string) string {
		switch command {
		case "PING":
			return busyScript
		case "SCRIPT KILL":
			if tries.Add(1) == 1 {
				return "close"
			}
			f.running.End(r, EndKilled, now())
			return "+OK"
		}
		return threshold(command)
	})
	f = watch(t, s.Addr().String(), watching)
	r = f.run(KindScript)
	f.dog.Report(r)
	f.counted("killed", 1)
	f.counted("failed", 1)
}

func TestKillThatHitsAnotherCallIsCountedAndTold(t *testing.T) {
	other := make(chan struct{})
	var f *fixture
	var r *Run
	s := newFake(t, func(command string) string {
		switch command {
		case "PING":
			return busyScript
		case "SCRIPT KILL":
			f.dog.Killed(f.node, "another link", f.id, func() string { return "script 'bystander'" }, nil)
			close(other)
			f.running.End(r, EndReplied, now())
			return "+OK"
		}
		return threshold(command)
	})
	f = watch(t, s.Addr().String(), watching)
	r = f.run(KindScript)
	f.dog.Report(r)
	<-other
	f.counted("other", 1)
	f.logged("a kill ended another script than the one it was meant for")
	f.logged("script 'bystander'")
}

func TestKillOfWhatIsBehindOnTheSameLinkIsAKill(t *testing.T) {
	var f *fixture
	var r *Run
	s := newFake(t, func(command string) string {
		switch command {
		case "PING":
			return busyScript
		case "SCRIPT KILL":
			// The replies of both come together, once the second is over.
			f.running.End(r, EndReplied, now())
			f.dog.Killed(f.node, r.Link, f.id, func() string { return "script 'behind'" }, nil)
			return "+OK"
		}
		return threshold(command)
	})
	f = watch(t, s.Addr().String(), watching)
	r = f.run(KindScript)
	f.dog.Report(r)
	f.counted("killed", 1)
	f.logged("script 'behind'")
	if f.kills("swallowed")+f.kills("other") > 0 || r.Struck() {
		t.Error("taken for another kind of end")
	}
}

func TestCallThatAnOperatorKillsIsNobodysMistake(t *testing.T) {
	s := newFake(t, threshold)
	f := watch(t, s.Addr().String(), watching)
	r := f.run(KindScript)
	f.dog.Killed(f.node, r.Link, f.id, func() string { return "" }, r)
	f.running.End(r, EndKilled, now())
	if f.kills("other") != 0 || strings.Contains(f.log(), "another script") {
		t.Error("counted as a kill that hit another")
	}
}

func TestScriptThatGoesOnAfterItsKillIsKilledAgain(t *testing.T) {
	var f *fixture
	var r *Run
	var tries atomic.Int32
	s := newFake(t, func(command string) string {
		switch command {
		case "PING":
			return busyScript
		case "SCRIPT KILL":
			if tries.Add(1) == 2 {
				f.running.End(r, EndKilled, now())
			}
			return "+OK"
		}
		return threshold(command)
	})
	f = watch(t, s.Addr().String(), watching)
	r = f.run(KindScript)
	f.dog.Report(r)
	f.counted("swallowed", 1)
	f.counted("killed", 1)
	if len(f.opened) != 1 {
		t.Errorf("the breaker opened %d times", len(f.opened))
	}
}

func TestNodeThatEndsIsDoubtedAtOnce(t *testing.T) {
	s := newFake(t, threshold)
	f := watch(t, s.Addr().String(), watching)
	f.eventually("connecting", func() error {
		if s.asked("CONFIG GET busy-reply-threshold") == 0 {
			return fmt.Errorf("nothing was asked")
		}
		return nil
	})
	before := now()
	s.mu.Lock()
	s.answer = func(string) string { return "close" }
	s.mu.Unlock()
	f.dog.Report(f.run(KindScript))
	f.eventually("the doubt", func() error {
		if !f.node.DoubtedSince(before) {
			return fmt.Errorf("not doubted")
		}
		return nil
	})
}

func TestRunningScriptsAreCollectedByTheirNames(t *testing.T) {
	s := newFake(t, threshold)
	f := watch(t, s.Addr().String(), Settings{})
	collect := func() (got []string) {
		f.dog.Collect(func(node, script string, seconds float64) {
			if node != f.node.Addr || seconds < .1 || seconds > patience.Seconds() {
				t.Errorf("collected %s %s %v", node, script, seconds)
			}
			got = append(got, script)
		})
		return got
	}
	if got := collect(); len(got) > 0 {
		t.Errorf("collected %v from an idle node", got)
	}
	r := f.run(KindScript)
	unnamed := NewRun(Call{Node: f.node, Label: "script abc"}, now()-second)
	f.running.Enter(unnamed)
	if got := collect(); len(got) != 1 || got[0] != metrics.Unregistered {
		t.Errorf("collected %v", got)
	}
	f.running.End(unnamed, EndBusy, now())
	if got := collect(); len(got) != 1 || got[0] != "job" {
		t.Errorf("collected %v", got)
	}
	f.running.End(r, EndReplied, now())
}
