//go:build linux

package protect

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// rules puts a rule file in force.
func rules(t *testing.T, text string) option {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(path, []byte("default: allow\ndefault_commands: allow\nrules:\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(s program.Settings) { s["policy"] = map[string]any{"mode": "enforce", "rules_file": path} }
}

// byKeys gives a call with no key low priority and one with two keys high.
const byKeys = `
  - {name: batch, match: {scripts: [tardy], max_keys: 0}, priority: low}
  - {name: urgent, match: {scripts: [tardy], min_keys: 2}, priority: high}
`

// ticketBody takes ARGV[1] milliseconds and then numbers its call.
const ticketBody = `local from = redis.call('TIME')
repeat local now = redis.call('TIME') until (now[1] - from[1]) * 1000 + (now[2] - from[2]) / 1000 >= tonumber(ARGV[1])
return redis.call('INCR', 'tickets')`

func TestCallsThatWaitForTheirScriptAreLetInByPriority(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("loops", 2), rules(t, byKeys), script("tardy", []string{ticketBody}, "max_concurrent", 1, "max_queue", 3))
	call := func(keys, ms int) <-chan answer {
		args := []any{"EVALSHA", "tardy", keys}
		for range keys {
			args = append(args, "k")
		}
		ch := later(p.dial(), append(args, ms)...)
		time.Sleep(20 * time.Millisecond) // the order of arrival
		return ch
	}
	running := call(1, 400)
	low, lower, normal := call(0, 0), call(0, 0), call(1, 0)
	if a := await(t, call(0, 0)); !isError(a.reply, "LIMIT script 'tardy': max_concurrent 1 and max_queue 3 are used up; nothing ran") {
		t.Errorf("a low call where the queue is full: %v", a.reply)
	}
	high := call(2, 0)
	if a := await(t, lower); !isError(a.reply, "LIMIT script 'tardy'", "nothing ran") {
		t.Errorf("the low call whose place a high one took: %v", a.reply)
	}
	for i, ch := range []<-chan answer{running, high, normal, low} {
		if a := await(t, ch); a.reply != int64(i+1) {
			t.Errorf("call %d was answered %v", i+1, a.reply)
		}
	}
	if n := p.counted("errors_total", `kind="low_priority"`); n != 2 {
		t.Errorf("%v refusals of low priority were counted", n)
	}
	if n := p.counted("script_calls_total", `outcome="limited",route="local",script="tardy",version="v1"`); n != 2 {
		t.Errorf("%v calls were counted as limited", n)
	}
}

func TestWhileAScriptHoldsTheNodeLowPriorityIsRefusedAndHighWaitsLonger(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	count := []string{"return redis.call('INCR', KEYS[1])"}
	p := startProxy(t, server, nil, set("limits.busy_wait", "2s"),
		rules(t, `  - {name: batch, match: {commands: [append]}, priority: low}`),
		script("slow", []string{writtenBody}), script("batch", count, "priority", "low"), script("normal", count, "priority", "normal"), script("urgent", count, "priority", "high"))
	slow := later(p.dial(), "EVALSHA", "slow", 1, "w", 3600)
	p.awaitRunning("slow")
	urgent, normal, plain := later(p.dial(), "EVALSHA", "urgent", 1, "urgent"), later(p.dial(), "EVALSHA", "normal", 1, "normal"), later(p.dial(), "SET", "plain", 1)
	for what, ch := range map[string]<-chan answer{
		"a script of low priority":  later(p.dial(), "EVALSHA", "batch", 1, "batch"),
		"a command of low priority": later(p.dial(), "APPEND", "log", "x"),
	} {
		a := await(t, ch)
		if !isError(a.reply, "BUSY ", "script 'slow' has run", "low priority does not wait", "the command did not run") {
			t.Errorf("%s: %v", what, a.reply)
		}
		if a.took >= 2*time.Second {
			t.Errorf("%s waited as long as others, %v", what, a.took)
		}
	}
	for what, ch := range map[string]<-chan answer{"a script of normal priority": normal, "a command": plain} {
		if a := await(t, ch); !isError(a.reply, "BUSY ", "script 'slow' has run", "the command did not run") || a.took < 2*time.Second {
			t.Errorf("%s: %v after %v", what, a.reply, a.took)
		}
	}
	if a := await(t, urgent); a.reply != int64(1) {
		t.Errorf("a script of high priority: %v", a.reply)
	}
	if a := await(t, slow); a.reply != "done" {
		t.Errorf("the script that held the node: %v", a.reply)
	}
	if got := server.Do("EXISTS", "batch", "log", "normal", "plain"); got != int64(0) {
		t.Errorf("%v of those that were refused have run", got)
	}
	for labels, want := range map[string]float64{`kind="low_priority"`: 2, `kind="busy"`: 2} {
		if n := p.counted("errors_total", labels); n != want {
			t.Errorf("errors_total{%s} is %v, want %v", labels, n, want)
		}
	}
	if n := p.counted("script_calls_total", `outcome="busy",route="local",script="batch",version="v1"`); n != 1 {
		t.Errorf("%v calls of the low script were counted as busy", n)
	}
}

// A client that sends MULTI and what belongs to it in one go would have that run by itself.
func TestTransactionOfLowPriorityWaitsAsAWhole(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("limits.busy_wait", "5s"), rules(t, `  - {name: batch, match: {commands: ["*"], users: [default]}, priority: low}`), script("slow", []string{writtenBody}),
		script("normal", []string{"return redis.call('INCR', KEYS[1])"}))
	c := p.dial()
	slow := later(p.dial(), "EVALSHA", "slow", 1, "w", 500)
	p.awaitRunning("slow")
	requests := [][]any{{"MULTI"}, {"APPEND", "log", "x"}, {"EVALSHA", "normal", 1, "n"}, {"EXEC"}}
	for _, r := range requests {
		if err := c.Send(r...); err != nil {
			t.Fatal(err)
		}
	}
	var got []any
	for range requests {
		reply, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, reply)
	}
	if fmt.Sprint(got) != "[OK QUEUED QUEUED [1 1]]" {
		t.Errorf("the transaction: %v", got)
	}
	await(t, slow)
}

func TestHighPriorityIsSentFirstWhenTheNodeIsFree(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	number := []string{"return redis.call('INCR', 'tickets')"}
	p := startProxy(t, server, nil, set("loops", 1), set("limits.busy_wait", "5s"), script("slow", []string{writtenBody}),
		script("normal", number), script("urgent", number, "priority", "high"))
	slow := later(p.dial(), "EVALSHA", "slow", 1, "w", 2000)
	p.awaitRunning("slow")
	var normal, urgent []<-chan answer
	for range 5 {
		normal = append(normal, later(p.dial(), "EVALSHA", "normal", 0))
	}
	time.Sleep(500 * time.Millisecond) // let them come in first
	for range 5 {
		urgent = append(urgent, later(p.dial(), "EVALSHA", "urgent", 0))
	}
	await(t, slow)
	for _, ch := range urgent {
		if n, _ := await(t, ch).reply.(int64); n < 1 || n > 5 {
			t.Errorf("a high call came as number %d of ten", n)
		}
	}
	for _, ch := range normal {
		if n, _ := await(t, ch).reply.(int64); n < 6 {
			t.Errorf("a normal call came as number %d of ten", n)
		}
	}
}

func TestLowPriorityHasHalfOfALinksQueue(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("loops", 1), set("upstream.links.max_pending", 6),
		rules(t, `  - {name: batch, match: {commands: [append]}, priority: low}`))
	clients := make([]*redisserver.Client, 6)
	for i := range clients {
		clients[i] = p.dial()
		do(t, clients[i], "PING")
	}
	do(t, clients[0], "SET", "k", "v")
	server.Pause()
	var sent []<-chan answer
	for _, c := range clients[:3] {
		sent = append(sent, later(c, "GET", "k"))
	}
	time.Sleep(50 * time.Millisecond)
	a := await(t, later(clients[3], "APPEND", "log", "x"))
	if !isError(a.reply, "LIMIT "+server.Addr(), "half full", "did not run") {
		t.Errorf("low priority where half of the queue is taken: %v", a.reply)
	}
	sent = append(sent, later(clients[4], "GET", "k"), later(clients[5], "GET", "k"))
	time.Sleep(50 * time.Millisecond)
	server.Continue()
	for i, ch := range sent {
		if a := await(t, ch); a.reply != "v" {
			t.Errorf("request %d: %v", i+1, a.reply)
		}
	}
	p.Eventually("take low priority again", func() error {
		if got := do(t, clients[3], "APPEND", "log", "x"); got != int64(1) {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	if n := p.counted("errors_total", `kind="low_priority"`); n != 1 {
		t.Errorf("%v refusals of low priority were counted", n)
	}
}
