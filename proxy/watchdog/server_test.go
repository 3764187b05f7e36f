package watchdog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// Bodies that outlast a deadline of 50 ms.
const (
	endless = "while true do end"
	written = `redis.call('SET', 'k', 'v') local n = 0 repeat n = n + 1 until n == 30000000 return 'done'`
)

// start sends a command on a connection of its own, and has the loop's part done: the run ends when the reply comes.
func (f *fixture) start(s *redisserver.Server, r *Run, args ...any) <-chan any {
	f.t.Helper()
	c := s.Client()
	done := make(chan any, 1)
	go func() {
		reply, err := c.Do(args...)
		if err != nil {
			reply = err
		}
		how := EndReplied
		if e, ok := reply.(redisserver.Error); ok && strings.Contains(string(e), "Script killed by user") {
			how = EndKilled
		}
		f.running.End(r, how, now())
		done <- reply
	}()
	return done
}

// overdue reports a run as its loop does, until it is over.
func (f *fixture) overdue(r *Run) {
	go func() {
		for !r.Over() {
			f.dog.Report(r)
			time.Sleep(10 * time.Millisecond)
		}
	}()
}

func (f *fixture) reply(done <-chan any) any {
	f.t.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(patience):
		f.t.Fatal("the script did not end")
	}
	return nil
}

func TestEndlessScriptIsKilledOnARealServer(t *testing.T) {
	s := redisserver.Start(t, redisserver.LuaTimeLimit(100))
	f := watch(t, s.Addr(), watching)
	r := f.run(KindScript)
	done := f.start(s, r, "EVAL", endless, 0)
	f.overdue(r)
	if got := fmt.Sprint(f.reply(done)); !strings.Contains(got, "Script killed by user") {
		t.Errorf("the script: %v", got)
	}
	f.counted("killed", 1)
	f.logged("killed a script past its deadline")
	f.eventually("the breaker", func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.opened) != 1 {
			return fmt.Errorf("opened %d times", len(f.opened))
		}
		return nil
	})
	if !r.Struck() {
		t.Error("the breaker did not count it")
	}
}

func TestFunctionIsKilledWhateverKindItWasTakenFor(t *testing.T) {
	for name, kind := range map[string]Kind{"as a function": KindFunction, "as a script": KindScript} {
		t.Run(name, func(t *testing.T) {
			s := redisserver.Start(t, redisserver.LuaTimeLimit(100))
			s.Do("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() while true do end end)")
			f := watch(t, s.Addr(), watching)
			r := f.run(kind)
			done := f.start(s, r, "FCALL", "f", 0)
			f.overdue(r)
			f.reply(done)
			f.counted("killed", 1)
		})
	}
}

func TestScriptThatHasWrittenIsReportedOnceAndWaitedFor(t *testing.T) {
	s := redisserver.Start(t, redisserver.LuaTimeLimit(50))
	f := watch(t, s.Addr(), watching)
	r := f.run(KindScript)
	done := f.start(s, r, "EVAL", written, 0)
	f.overdue(r)
	if got := f.reply(done); got != "done" {
		t.Errorf("the script: %v", got)
	}
	f.counted("unkillable", 1)
	if n := strings.Count(f.log(), "can't be killed"); n != 1 {
		t.Errorf("told %d times", n)
	}
	if !r.Struck() {
		t.Error("the breaker did not count it")
	}
}

func TestOrphanIsKilledOnceItsDeadlineHasPassed(t *testing.T) {
	s := redisserver.Start(t, redisserver.LuaTimeLimit(50))
	f := watch(t, s.Addr(), watching)
	c := s.Client()
	c.Send("EVAL", endless, 0)
	time.Sleep(20 * time.Millisecond)
	c.Close()
	f.dog.Orphan(NewRun(Call{Node: f.node, Label: "script 'job'", Name: "job", Metric: f.id, Deadline: 300 * time.Millisecond}, now()))
	f.counted("killed", 1)
	if got := s.Do("PING"); got != "PONG" {
		t.Errorf("afterwards: %v", got)
	}
}

func TestOrphanThatHasEndedGetsNoKill(t *testing.T) {
	s := redisserver.Start(t, redisserver.LuaTimeLimit(50))
	f := watch(t, s.Addr(), watching)
	f.dog.Orphan(NewRun(Call{Node: f.node, Label: "script 'job'", Metric: f.id, Deadline: 20 * time.Millisecond}, now()))
	time.Sleep(300 * time.Millisecond)
	if got := s.Info("commandstats")["cmdstat_script|kill"]; got != "" {
		t.Errorf("a kill was sent: %s", got)
	}
}

func TestThresholdIsSetToTheSmallestDeadlineWhereManaged(t *testing.T) {
	for _, c := range []struct {
		name     string
		before   int
		smallest time.Duration
		manage   bool
		after    string
		says     string
	}{
		{"above", 5000, 200 * time.Millisecond, true, "200", "set busy-reply-threshold"},
		{"below", 100, 200 * time.Millisecond, true, "100", ""},
		{"off", 0, 200 * time.Millisecond, true, "200", "set busy-reply-threshold"},
		{"tiny deadline", 5000, time.Millisecond, true, "10", "set busy-reply-threshold"},
		{"above, not managed", 5000, 200 * time.Millisecond, false, "5000", "heeds a kill later than the smallest deadline"},
		{"off, not managed", 0, 200 * time.Millisecond, false, "0", "never heeds a kill"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := redisserver.Start(t, redisserver.LuaTimeLimit(c.before))
			f := watch(t, s.Addr(), Settings{Smallest: c.smallest, ManageThreshold: c.manage})
			if c.says != "" {
				f.logged(c.says)
			} else {
				time.Sleep(200 * time.Millisecond)
				if log := f.log(); log != "" {
					t.Errorf("it says %s", log)
				}
			}
			got, _ := s.Do("CONFIG", "GET", "busy-reply-threshold").([]any)
			if len(got) != 2 || got[1] != c.after {
				t.Errorf("the threshold is %v, want %s", got, c.after)
			}
		})
	}
}

func TestThresholdFollowsNewSettings(t *testing.T) {
	s := redisserver.Start(t, redisserver.LuaTimeLimit(5000))
	f := watch(t, s.Addr(), Settings{})
	time.Sleep(50 * time.Millisecond)
	if n := s.Info("commandstats")["cmdstat_config|get"]; n != "" {
		t.Errorf("without deadlines the server was asked: %s", n)
	}
	f.dog.Apply(Settings{Smallest: 300 * time.Millisecond, ManageThreshold: true})
	f.logged("set busy-reply-threshold")
	s.Restart()
	f.eventually("setting it again after a restart", func() error {
		if n := strings.Count(f.log(), "set busy-reply-threshold"); n != 2 {
			return fmt.Errorf("set %d times", n)
		}
		return nil
	})
}
