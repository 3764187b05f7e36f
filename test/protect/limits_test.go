//go:build linux

package protect

import (
	"fmt"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// tardyBody takes ARGV[1] milliseconds and then numbers its call.
const tardyBody = `local from = redis.call('TIME')
repeat local now = redis.call('TIME') until (now[1] - from[1]) * 1000 + (now[2] - from[2]) / 1000 >= tonumber(ARGV[1])
return redis.call('INCR', KEYS[1])`

func TestCallsPastTheLimitWaitInOrderAndTheRestIsRefused(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("loops", 2),
		script("tardy", []string{tardyBody}, "max_concurrent", 2, "max_queue", 3), script("free", []string{"return redis.call('INCR', KEYS[1])"}))
	var calls []<-chan answer
	for range 8 {
		calls = append(calls, later(p.dial(), "EVALSHA", "tardy", 1, "n", 200))
		time.Sleep(8 * time.Millisecond) // the order of arrival
	}
	for i := 5; i < 8; i++ {
		if a := await(t, calls[i]); !isError(a.reply, "LIMIT script 'tardy': max_concurrent 2 and max_queue 3 are used up; nothing ran") {
			t.Errorf("call %d: %v", i+1, a.reply)
		}
	}
	for i := range 5 {
		if a := await(t, calls[i]); a.reply != int64(i+1) {
			t.Errorf("call %d came as number %v", i+1, a.reply)
		}
	}
	if got := server.Do("GET", "n"); got != "5" {
		t.Errorf("%v calls ran", got)
	}
	if n := p.counted("script_calls_total", `outcome="limited",route="local",script="tardy",version="v1"`); n != 3 {
		t.Errorf("%v calls were counted as limited", n)
	}
	if got := do(t, p.dial(), "EVALSHA", "tardy", 1, "n", 0); got != int64(6) {
		t.Errorf("afterwards: %v", got)
	}
}

func TestPlacesOfClientsThatGoAwayAreGivenBack(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("loops", 2), script("tardy", []string{tardyBody}, "max_concurrent", 1, "max_queue", 10))
	running := p.dial()
	running.Send("EVALSHA", "tardy", 1, "n", 300)
	time.Sleep(30 * time.Millisecond)
	first := p.dial()
	first.Send("EVALSHA", "tardy", 1, "n", 0)
	time.Sleep(30 * time.Millisecond)
	second := later(p.dial(), "EVALSHA", "tardy", 1, "n", 0)
	time.Sleep(30 * time.Millisecond)
	running.Close() // its call runs to its end
	first.Close()   // it waits no more
	if a := await(t, second); a.reply != int64(2) {
		t.Errorf("who waited behind: %v", a.reply)
	}
	for i := range 5 {
		if got := do(t, p.dial(), "EVALSHA", "tardy", 1, "n", 0); got != int64(3+i) {
			t.Errorf("afterwards: %v", got)
		}
	}
}

func TestPlacesAreGivenBackWhenANodeIsLost(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, script("tardy", []string{tardyBody}, "max_concurrent", 1, "max_queue", 10))
	running := later(p.dial(), "EVALSHA", "tardy", 1, "n", 5000)
	waiting := later(p.dial(), "EVALSHA", "tardy", 1, "n", 0)
	p.awaitRunning("tardy")
	server.Kill()
	if a := await(t, running); !isError(a.reply, "UNAVAILABLE", "may have run") {
		t.Errorf("the call that ran: %v", a.reply)
	}
	if a := await(t, waiting); !isError(a.reply, "UNAVAILABLE") { // its own link may not have ended yet
		t.Errorf("the call that waited: %v", a.reply)
	}
	server.Restart()
	c := p.dial()
	p.Eventually("run it again", func() error {
		if got := do(t, c, "EVALSHA", "tardy", 1, "n", 0); got != int64(1) {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
}

func TestLimitsOfScriptsThatClientsBringAreThoseOfTheDefaults(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("scripts.max_concurrent", 1), set("scripts.max_queue", 0))
	running := later(p.dial(), "EVAL", tardyBody, 1, "n", 300)
	time.Sleep(50 * time.Millisecond)
	if got := do(t, p.dial(), "EVAL", tardyBody, 1, "n", 0); !isError(got, "LIMIT script ", "max_concurrent 1 and max_queue 0 are used up") {
		t.Errorf("the same body: %v", got)
	}
	if a := await(t, later(p.dial(), "EVAL", "return 7", 0)); a.reply != int64(7) {
		t.Errorf("another body: %v", a.reply)
	}
	if a := await(t, running); a.reply != int64(1) {
		t.Errorf("the call that ran: %v", a.reply)
	}
}

func TestLimitsFollowAReload(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, script("tardy", []string{tardyBody}, "max_concurrent", 1, "max_queue", 10))
	running := later(p.dial(), "EVALSHA", "tardy", 1, "n", 1500)
	time.Sleep(30 * time.Millisecond)
	waiting := later(p.dial(), "EVALSHA", "tardy", 1, "n", 0)
	time.Sleep(100 * time.Millisecond)
	p.Rewrite(`"max_queue": 10`, `"max_queue": 0`)
	if status, body := p.Post("/-/reload"); status != 200 {
		t.Fatalf("reload: %d %s", status, body)
	}
	if got := do(t, p.dial(), "EVALSHA", "tardy", 1, "n", 0); !isError(got, "LIMIT script 'tardy'") {
		t.Errorf("after the reload: %v", got)
	}
	if a := await(t, running); a.reply != int64(1) {
		t.Errorf("the call that ran: %v", a.reply)
	}
	if a := await(t, waiting); a.reply != int64(2) {
		t.Errorf("the call that waited: %v", a.reply)
	}
}

// queueUp begins a transaction on a new connection, with calls of scripts and a SET, up to its EXEC.
func queueUp(t *testing.T, p *proxy, key string, scripts ...string) *redisserver.Client {
	t.Helper()
	c := p.dial()
	do(t, c, "MULTI")
	for _, name := range scripts {
		if got := do(t, c, "EVALSHA", name, 1, "n", 0); got != "QUEUED" {
			t.Fatalf("EVALSHA %s inside MULTI: %v", name, got)
		}
	}
	do(t, c, "SET", key, 1)
	return c
}

func TestTransactionsWaitForThePlacesOfTheirScripts(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("loops", 2), set("limits.busy_wait", "5s"), script("tardy", []string{tardyBody}, "max_concurrent", 1, "max_queue", 1))
	first, second := queueUp(t, p, "first", "tardy", "tardy"), queueUp(t, p, "second", "tardy")
	running := later(p.dial(), "EVALSHA", "tardy", 1, "n", 400)
	time.Sleep(30 * time.Millisecond)
	waits := later(first, "EXEC")
	time.Sleep(30 * time.Millisecond)
	refused := later(second, "EXEC") // the server hears of it when it is free
	time.Sleep(30 * time.Millisecond)
	if got := do(t, p.dial(), "EVALSHA", "tardy", 1, "n", 0); !isError(got, "LIMIT script 'tardy'") {
		t.Errorf("a call beside the transaction that waits: %v", got)
	}
	if got := await(t, refused).reply; !isError(got, "EXECABORT Transaction discarded because of: LIMIT script 'tardy': max_concurrent 1 and max_queue 1 are used up; nothing ran") {
		t.Errorf("EXEC where the queue is full: %v", got)
	}
	if a := await(t, running); a.reply != int64(1) {
		t.Errorf("the call that ran: %v", a.reply)
	}
	if a := await(t, waits); fmt.Sprint(a.reply) != "[2 3 OK]" {
		t.Errorf("the transaction that waited: %v", a.reply)
	}
	if got := server.Do("EXISTS", "first", "second"); got != int64(1) || server.Do("GET", "n") != "3" {
		t.Errorf("%v transactions and %v calls ran", got, server.Do("GET", "n"))
	}
	// Both are out of their transactions, and every place is free again.
	for _, c := range []*redisserver.Client{first, second, p.dial()} {
		if got := do(t, c, "SET", "k", 1); got != "OK" {
			t.Errorf("afterwards: %v", got)
		}
		if got, ok := do(t, c, "EVALSHA", "tardy", 1, "n", 0).(int64); !ok {
			t.Errorf("a call afterwards: %v", got)
		}
	}
	if n := p.counted("errors_total", `kind="limit"`); n != 2 {
		t.Errorf("%v refusals were counted", n)
	}
}

func TestTransactionsWithScriptsInDifferentOrderDoNotBlockEachOther(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("loops", 2), script("one", []string{tardyBody}, "max_concurrent", 1), script("two", []string{tardyBody + " "}, "max_concurrent", 1))
	const clients, rounds = 8, 30
	var done []<-chan error
	for i := range clients {
		c, end := p.dial(), make(chan error, 1)
		done = append(done, end)
		go func() {
			names := []string{"one", "two"}
			for round := range rounds {
				for _, cmd := range [][]any{{"MULTI"}, {"EVALSHA", names[i%2], 1, "n", 0}, {"EVALSHA", names[1-i%2], 1, "n", 0}, {"EXEC"}} {
					reply, err := c.Do(cmd...)
					if list, ok := reply.([]any); cmd[0] == "EXEC" && (!ok || len(list) != 2) || err != nil {
						end <- fmt.Errorf("client %d, round %d, %v: %v, %v", i, round, cmd, reply, err)
						return
					}
				}
			}
			end <- nil
		}()
	}
	for _, end := range done {
		select {
		case err := <-end:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("the transactions wait for each other")
		}
	}
	if got := server.Do("GET", "n"); got != fmt.Sprint(2*clients*rounds) {
		t.Errorf("%v calls ran", got)
	}
}

func TestPlacesOfATransactionAreGivenBackWhenItsClientGoes(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("loops", 2), set("limits.busy_wait", "5s"),
		script("tardy", []string{tardyBody}, "max_concurrent", 1), script("other", []string{tardyBody + " "}, "max_concurrent", 1))
	waits, runs := queueUp(t, p, "waits", "other", "tardy"), p.dial()
	do(t, runs, "MULTI")
	do(t, runs, "EVALSHA", "tardy", 1, "n", 300)
	runs.Send("EXEC")
	time.Sleep(30 * time.Millisecond)
	waits.Send("EXEC") // has a place of the one, and waits for the other
	time.Sleep(30 * time.Millisecond)
	runs.Close()
	waits.Close()
	for _, name := range []string{"tardy", "other"} {
		if got, ok := await(t, later(p.dial(), "EVALSHA", name, 1, "n", 0)).reply.(int64); !ok {
			t.Errorf("%s afterwards: %v", name, got)
		}
	}
	if got := server.Do("EXISTS", "waits"); got != int64(0) {
		t.Error("the transaction that waited has run")
	}
}
