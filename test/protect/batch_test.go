//go:build linux

package protect

import (
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// TestRunawayBehindAScriptWithoutADeadlineIsKilled sends both while the server stands still, so that it takes them in one go: the reply
// to the first is then held back by the second.
func TestRunawayBehindAScriptWithoutADeadlineIsKilled(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("loops", 1), set("watchdog.manage_busy_threshold", true),
		script("lookup", []string{"return redis.call('GET', KEYS[1])"}),
		script("runaway", []string{"while true do redis.call('GET', KEYS[1]) end"}, "deadline", "300ms"))
	server.Do("SET", "k", "v")
	first, second, third := p.dial(), p.dial(), p.dial()
	for range 3 { // also with links that were given back
		for _, c := range []*redisserver.Client{first, second, third} {
			do(t, c, "EVALSHA", "lookup", 1, "k") // loaded and proven
		}
		server.Pause()
		lookup := later(first, "EVALSHA", "lookup", 1, "k")
		time.Sleep(30 * time.Millisecond)
		runaway := later(second, "EVALSHA", "runaway", 1, "k")
		time.Sleep(30 * time.Millisecond)
		behind := later(third, "EVALSHA", "lookup", 1, "k")
		time.Sleep(30 * time.Millisecond)
		server.Continue()
		if a := await(t, runaway); !isError(a.reply, "Script killed by user") {
			t.Errorf("the script that runs away: %v", a.reply)
		}
		for _, ch := range []<-chan answer{lookup, behind} {
			if a := await(t, ch); a.reply != "v" {
				t.Errorf("a script without a deadline: %v", a.reply)
			}
		}
		if got := do(t, second, "SET", "k", "v"); got != "OK" {
			t.Errorf("the client of the script that was killed: %v", got)
		}
	}
}

// TestRunawayThatWaitedForABusyNodeIsKilledBehindAScriptWithoutADeadline has the server refuse both calls, so that they are sent again in
// one go when it is free.
func TestRunawayThatWaitedForABusyNodeIsKilledBehindAScriptWithoutADeadline(t *testing.T) {
	t.Parallel()
	server, p, end := occupied(t, set("limits.busy_wait", "10s"),
		script("lookup", []string{"return redis.call('GET', KEYS[1])"}),
		script("runaway", []string{"while true do redis.call('GET', KEYS[1]) end"}, "deadline", "300ms"))
	lookup := later(p.dial(), "EVALSHA", "lookup", 1, "warm")
	time.Sleep(50 * time.Millisecond)
	runaway := later(p.dial(), "EVALSHA", "runaway", 1, "warm")
	behind := later(p.dial(), "EVALSHA", "lookup", 1, "warm")
	time.Sleep(100 * time.Millisecond)
	end()
	if a := await(t, runaway); !isError(a.reply, "Script killed by user") {
		t.Errorf("the script that runs away: %v", a.reply)
	}
	for _, ch := range []<-chan answer{lookup, behind} {
		if a := await(t, ch); a.reply != "1" {
			t.Errorf("a script without a deadline: %v", a.reply)
		}
	}
	if got := server.Do("GET", "warm"); got != "1" {
		t.Errorf("the server is not free: %v", got)
	}
}
