//go:build linux

package protect

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// Bodies that run away.
const (
	// endlessBody runs until it is killed.
	endlessBody = "while true do end"
	// writtenBody has written when it begins to take too long, for ARGV[1] milliseconds.
	writtenBody = `redis.call('SET', KEYS[1], 'begun')
local from = redis.call('TIME')
repeat local now = redis.call('TIME') until (now[1] - from[1]) * 1000 + (now[2] - from[2]) / 1000 >= tonumber(ARGV[1])
redis.call('SET', KEYS[1], 'done')
return 'done'`
	// caughtBody catches the error of its kill, all on one line.
	caughtBody = "pcall(function() while true do end end) redis.call('SET', KEYS[1], 'survived') return 'survived'"
	// keysBody is inside one command all the time.
	keysBody = "return #redis.call('KEYS', ARGV[1])"
	// readBody only reads.
	readBody = "return redis.call('GET', KEYS[1])"
)

const deadline = 500 * time.Millisecond

// guarded are the settings of a proxy that ends what runs for longer than deadline.
func guarded(opts ...option) []option {
	return append([]option{
		set("scripts.deadline", deadline.String()), set("watchdog.manage_busy_threshold", true),
		set("scripts.breaker.kills", 0), set("loops", 2),
	}, opts...)
}

// scene is a primary and a replica behind a proxy, with two crowds of 50 clients: some write and read the primary, some read by script.
type scene struct {
	t                *testing.T
	primary, replica *redisserver.Server
	p                *proxy
	plain, readers   *crowd
	start            time.Time
}

func newScene(t *testing.T, opts ...option) *scene {
	t.Helper()
	primary, replica := redisserver.StartPair(t, redisserver.Args("enable-debug-command", "yes"))
	primary.Do("SET", "k", "value")
	redisserver.WaitReplica(t, primary, replica)
	s := &scene{t: t, primary: primary, replica: replica}
	s.p = startProxy(t, primary, []*redisserver.Server{replica}, append(guarded(script("read", []string{readBody})), opts...)...)
	s.plain = gather(s.p, "SET and GET, primary", 50, 2*time.Millisecond, plainly)
	s.readers = gather(s.p, "read script, replica", 50, 2*time.Millisecond, func(_ int, c *redisserver.Client) (any, error) {
		return c.Do("EVALSHA", "read", 1, "k")
	})
	s.start = time.Now()
	time.Sleep(500 * time.Millisecond)
	return s
}

// report ends the scene: what lasted from from to to, with that outcome.
func (s *scene) report(what, outcome string, from, to time.Time) (plain, readers map[string]int) {
	s.t.Helper()
	time.Sleep(500 * time.Millisecond)
	phases := during(s.start, from, to, time.Now())
	plain, readers = s.plain.report(phases...), s.readers.report(phases...)
	measured = append(measured, scenario{what, fmt.Sprintf("%s after %s ms", outcome, milliseconds(to.Sub(from))), s.plain.phases, s.readers.phases})
	return plain, readers
}

// kills is how many kills of a script ended with a result.
func (s *scene) kills(script, result string) float64 {
	s.t.Helper()
	return s.p.counted("script_kills_total", fmt.Sprintf("result=%q,script=%q", result, script))
}

// killsSent is how many SCRIPT KILL and FUNCTION KILL a server has got.
func killsSent(s *redisserver.Server) (n int) {
	for field, value := range s.Info("commandstats") {
		if field == "cmdstat_script|kill" || field == "cmdstat_function|kill" {
			var calls int
			fmt.Sscanf(value, "calls=%d", &calls)
			n += calls
		}
	}
	return n
}

func TestEndlessLoopIsKilledAtItsDeadlineAndNobodyElseFails(t *testing.T) {
	s := newScene(t, script("endless", []string{endlessBody}, "class", "write"))
	from := time.Now()
	a := await(t, later(s.p.dial(), "EVALSHA", "endless", 0))
	to := time.Now()
	if !isError(a.reply, "Script killed by user") {
		t.Errorf("the script: %v", a.reply)
	}
	t.Logf("killed after %v, with a deadline of %v", a.took.Round(time.Millisecond), deadline)
	if a.took < deadline {
		t.Errorf("killed after %v, before its deadline of %v", a.took, deadline)
	}
	plain, readers := s.report("endless loop", "killed", from, to)
	if len(plain) > 0 || len(readers) > 0 {
		t.Errorf("others failed: %v %v, %v", plain, readers, s.plain.texts)
	}
	if n := s.kills("endless", "killed"); n != 1 {
		t.Errorf("%v kills counted", n)
	}
}

func TestScriptThatHasWrittenIsWaitedForAndOthersAreTold(t *testing.T) {
	s := newScene(t, script("written", []string{writtenBody}), set("limits.busy_wait", "1s"))
	from := time.Now()
	victim := later(s.p.dial(), "EVALSHA", "written", 1, "w", 2500)
	time.Sleep(300 * time.Millisecond)
	other := await(t, later(s.p.dial(), "SET", "other", 1))
	a := await(t, victim)
	to := time.Now()
	if a.reply != "done" {
		t.Errorf("the script: %v", a.reply)
	}
	if !isError(other.reply, "BUSY ", "script 'written' has run 1.", "the command did not run") {
		t.Errorf("another client: %v", other.reply)
	}
	if other.took < time.Second || other.took > 2*time.Second {
		t.Errorf("another client was told after %v, with a busy_wait of 1s", other.took)
	}
	if got := s.primary.Do("EXISTS", "other"); got != int64(0) {
		t.Errorf("what was refused has run")
	}
	plain, readers := s.report("loop that has written", "could not be killed; ended by itself", from, to)
	delete(plain, "BUSY")
	if len(plain) > 0 || len(readers) > 0 {
		t.Errorf("others failed: %v %v, %v", plain, readers, s.plain.texts)
	}
	if n := s.kills("written", "unkillable"); n != 1 {
		t.Errorf("%v times counted as unkillable", n)
	}
	if n := killsSent(s.primary); n != 1 {
		t.Errorf("%d kills were sent to a script that can't be killed", n)
	}
	if strings.Count(s.p.Log(), "can't be killed") != 1 {
		t.Errorf("not told once that it can't be killed")
	}
}

func TestScriptThatCatchesItsKillIsReported(t *testing.T) {
	s := newScene(t, script("caught", []string{caughtBody}))
	from := time.Now()
	a := await(t, later(s.p.dial(), "EVALSHA", "caught", 1, "c"))
	to := time.Now()
	if a.reply != "survived" || s.primary.Do("GET", "c") != "survived" {
		t.Errorf("the script: %v", a.reply)
	}
	if plain, readers := s.report("loop inside a pcall on one line", "caught its kill, and went on to its end", from, to); len(plain) > 0 || len(readers) > 0 {
		t.Errorf("others failed: %v %v, %v", plain, readers, s.plain.texts)
	}
	s.p.Eventually("count the kill", func() error {
		if n := s.kills("caught", "swallowed"); n != 1 {
			return fmt.Errorf("counted %v times as swallowed", n)
		}
		return nil
	})
}

func TestScriptInsideOneLongCommandGetsNoKill(t *testing.T) {
	s := newScene(t, script("keys", []string{keysBody}, "class", "write"), set("limits.busy_wait", "1s"))
	long := strings.Repeat("a", 100)
	if got := s.primary.Do("DEBUG", "POPULATE", 1_200_000, long); got != "OK" {
		t.Fatalf("DEBUG POPULATE: %v", got)
	}
	s.start = time.Now()
	time.Sleep(300 * time.Millisecond)
	from := time.Now()
	a := await(t, later(s.p.dial(), "EVALSHA", "keys", 0, "*a*a*a*a*b"))
	to := time.Now()
	if a.reply != int64(0) {
		t.Errorf("the script: %v", a.reply)
	}
	t.Logf("one KEYS took %v", a.took)
	if a.took < deadline+200*time.Millisecond {
		t.Errorf("KEYS took only %v; nothing was shown", a.took)
	}
	plain, readers := s.report("one long KEYS", "nothing can kill it; ended by itself", from, to)
	delete(plain, "BUSY")
	if len(plain) > 0 || len(readers) > 0 {
		t.Errorf("others failed: %v %v, %v", plain, readers, s.plain.texts)
	}
	if n := killsSent(s.primary); n != 0 {
		t.Errorf("%d kills were sent to what could not be killed", n)
	}
}

func TestFunctionThatRunsAwayIsKilled(t *testing.T) {
	s := newScene(t)
	library := "#!lua name=away\nredis.register_function('away', function() while true do end end)"
	if got := s.primary.Do("FUNCTION", "LOAD", library); got != "away" {
		t.Fatalf("FUNCTION LOAD: %v", got)
	}
	from := time.Now()
	a := await(t, later(s.p.dial(), "FCALL", "away", 0))
	to := time.Now()
	if !isError(a.reply, "Script killed by user") {
		t.Errorf("the function: %v", a.reply)
	}
	if a.took < deadline {
		t.Errorf("killed after %v, before its deadline of %v", a.took, deadline)
	}
	if plain, readers := s.report("FCALL that runs away", "killed", from, to); len(plain) > 0 || len(readers) > 0 {
		t.Errorf("others failed: %v %v, %v", plain, readers, s.plain.texts)
	}
	if n := s.kills("unregistered", "killed"); n != 1 {
		t.Errorf("%v kills counted", n)
	}
}

func TestScriptPastTheProxyIsNotKilled(t *testing.T) {
	s := newScene(t, set("limits.busy_wait", "600ms"), script("own", []string{"return redis.call('INCR', KEYS[1])"}))
	killer := s.primary.Client()
	killer.Do("PING")
	from := time.Now()
	foreign := later(s.primary.Client(), "EVAL", endlessBody, 0)
	time.Sleep(100 * time.Millisecond)
	own := later(s.p.dial(), "EVALSHA", "own", 1, "n")
	time.Sleep(2 * deadline)
	late := await(t, later(s.p.dial(), "GET", "k"))
	if !isError(late.reply, "BUSY ", "not with a script that this proxy knows of", "the command did not run") {
		t.Errorf("another client: %v", late.reply)
	}
	if a := await(t, own); !isError(a.reply, "BUSY ") {
		t.Errorf("a script of the proxy's own, behind it: %v", a.reply)
	}
	if got := do(t, killer, "SCRIPT", "KILL"); got != "OK" {
		t.Errorf("the operator's kill: %v", got)
	}
	if a := await(t, foreign); !isError(a.reply, "Script killed by user") {
		t.Errorf("the script past the proxy: %v", a.reply)
	}
	to := time.Now()
	plain, readers := s.report("endless script past the proxy", "not ours to kill; killed by an operator", from, to)
	delete(plain, "BUSY")
	if len(plain) > 0 || len(readers) > 0 {
		t.Errorf("others failed: %v %v, %v", plain, readers, s.plain.texts)
	}
	if n := killsSent(s.primary); n != 1 {
		t.Errorf("%d kills were sent besides the operator's", n-1)
	}
	if got := do(t, s.p.dial(), "EVALSHA", "own", 1, "n"); got != int64(1) {
		t.Errorf("the script that was refused has run: %v", got)
	}
}

// Redis carries out what came together in one go, and answers afterwards: nothing tells that the first two have ended.
func TestRunawayBehindOthersInOnePipelineIsKilled(t *testing.T) {
	primary := redisserver.Start(t)
	p := startProxy(t, primary, nil, guarded(script("quick", []string{"return redis.call('INCR', KEYS[1])"}), script("endless", []string{endlessBody}, "class", "write"))...)
	conn, err := net.DialTimeout("tcp", p.Addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	raw := redisserver.AppendCommand(nil, "SET", "k", 1)
	raw = redisserver.AppendCommand(raw, "EVALSHA", "quick", 1, "n")
	raw = redisserver.AppendCommand(raw, "EVALSHA", "endless", 0)
	raw = redisserver.AppendCommand(raw, "GET", "k")
	if _, err := conn.Write(raw); err != nil {
		t.Fatal(err)
	}
	c := redisserver.NewClient(conn)
	var got []any
	for range 4 {
		reply, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, reply)
	}
	if got[0] != "OK" || got[1] != int64(1) || !isError(got[2], "Script killed by user") || got[3] != "1" {
		t.Errorf("the pipeline: %v", got)
	}
	p.Eventually("count the kill", func() error {
		if n := p.counted("script_kills_total", `result="killed",script="endless"`); n != 1 {
			return fmt.Errorf("%v kills of endless counted, and %v of quick", n, p.counted("script_kills_total", `result="killed",script="quick"`))
		}
		return nil
	})
	if n := p.counted("script_kills_total", `result="swallowed",script="quick"`) + p.counted("script_kills_total", `result="other",script="endless"`); n != 0 {
		t.Error("counted as a kill that went wrong")
	}
}

func TestRunawayInsideATransactionIsKilledToo(t *testing.T) {
	s := newScene(t, script("endless", []string{endlessBody}))
	c := s.p.dial()
	do(t, c, "MULTI")
	do(t, c, "EVALSHA", "endless", 0)
	do(t, c, "SET", "after", "ran")
	a := await(t, later(c, "EXEC"))
	replies, _ := a.reply.([]any)
	if len(replies) != 2 || !isError(replies[0], "Script killed by user") || replies[1] != "OK" {
		t.Errorf("EXEC: %v", a.reply)
	}
}

func TestRunawayWhoseClientWentAwayIsKilledToo(t *testing.T) {
	s := newScene(t, script("endless", []string{endlessBody}))
	c := s.p.dial()
	do(t, c, "MULTI")
	do(t, c, "EVALSHA", "endless", 0)
	if err := c.Send("EXEC"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	c.Close()
	s.p.Eventually("kill it", func() error {
		if n := s.kills("endless", "killed"); n != 1 {
			return fmt.Errorf("%v kills counted", n)
		}
		return nil
	})
	if a := await(t, later(s.p.dial(), "SET", "x", 1)); a.reply != "OK" {
		t.Errorf("afterwards: %v", a.reply)
	}
}
