//go:build linux

package protect

import (
	"net"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// occupied starts a server that answers BUSY, and a proxy that learns this only from what the server refuses: its next look at the server
// is far away. The returned function ends what occupies the server.
func occupied(t *testing.T, opts ...option) (*redisserver.Server, *proxy, func()) {
	t.Helper()
	server := redisserver.Start(t, redisserver.LuaTimeLimit(20))
	p := startProxy(t, server, nil, append([]option{set("upstream.poll_interval", "10s"), set("limits.busy_wait", "3s"), set("loops", 1)}, opts...)...)
	do(t, p.dial(), "SET", "warm", 1)
	killer := server.Client()
	killer.Do("PING")
	foreign := later(server.Client(), "EVAL", endlessBody, 0)
	time.Sleep(100 * time.Millisecond)
	return server, p, func() {
		t.Helper()
		if got := do(t, killer, "SCRIPT", "KILL"); got != "OK" {
			t.Errorf("SCRIPT KILL: %v", got)
		}
		await(t, foreign)
	}
}

func TestCallThatTheServerRefusedAsBusyIsSentAgain(t *testing.T) {
	t.Parallel()
	server, p, end := occupied(t, script("count", []string{"return redis.call('INCR', KEYS[1])"}))
	byName := later(p.dial(), "EVALSHA", "count", 1, "n")
	byBody := later(p.dial(), "EVAL", "return redis.call('INCRBY', KEYS[1], 10)", 1, "n")
	time.Sleep(300 * time.Millisecond)
	end()
	for what, ch := range map[string]<-chan answer{"by name": byName, "by body": byBody} {
		if n, ok := await(t, ch).reply.(int64); !ok || n < 1 {
			t.Errorf("the call %s: %v", what, n)
		}
	}
	if got := server.Do("GET", "n"); got != "11" {
		t.Errorf("the two calls made it %v, want 11", got)
	}
}

func TestCallThatMayHaveSaidBusyItselfIsNotSentAgain(t *testing.T) {
	t.Parallel()
	quotes := "if redis.call('INCR', KEYS[1]) > 5 then return redis.error_reply('BUSY ' .. ARGV[1]) end return 1"
	server, p, end := occupied(t, script("quotes", []string{quotes}))
	c := p.dial()
	if a := await(t, later(c, "EVALSHA", "quotes", 1, "n", "x")); !isError(a.reply, "BUSY Redis is busy running a script") {
		t.Errorf("the server's refusal: %v", a.reply)
	}
	end()
	server.Do("SET", "n", 5)
	if got := do(t, c, "EVALSHA", "quotes", 1, "n", "Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."); !isError(got, "BUSY Redis is busy running a script") {
		t.Errorf("the script's own: %v", got)
	}
	if got := server.Do("GET", "n"); got != "6" {
		t.Errorf("the script ran %v times, want once", got)
	}
}

// What is in flight behind a refused call may have run by the time it could be sent again, so the client is told instead.
func TestRefusedCallInAPipelineIsSentAgainOnlyWhereOrderAllows(t *testing.T) {
	t.Parallel()
	server, p, end := occupied(t, script("count", []string{"return redis.call('INCR', KEYS[1])"}))
	pipeline := func(requests ...[]any) *redisserver.Client {
		conn, err := net.DialTimeout("tcp", p.Addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(patience))
		var raw []byte
		for _, r := range requests {
			raw = redisserver.AppendCommand(raw, r...)
		}
		if _, err := conn.Write(raw); err != nil {
			t.Fatal(err)
		}
		return redisserver.NewClient(conn)
	}
	together := pipeline([]any{"EVAL", "return redis.call('INCR', KEYS[1])", 1, "together"}, []any{"SET", "behind", 1})
	last := pipeline([]any{"PING"}, []any{"EVALSHA", "count", 1, "last"})
	if reply, err := together.Receive(); err != nil || !isError(reply, "BUSY Redis is busy running a script") {
		t.Errorf("a call with another in flight behind it: %v, %v", reply, err)
	}
	time.Sleep(100 * time.Millisecond)
	end()
	if reply, err := together.Receive(); err != nil || reply != "OK" {
		t.Errorf("what was behind it: %v, %v", reply, err)
	}
	if reply, err := last.Receive(); err != nil || reply != "PONG" {
		t.Errorf("PING: %v, %v", reply, err)
	}
	if reply, err := last.Receive(); err != nil || reply != int64(1) {
		t.Errorf("the last call of a pipeline: %v, %v", reply, err)
	}
	if got := server.Do("EXISTS", "together"); got != int64(0) {
		t.Error("the call that was refused has run")
	}
}
