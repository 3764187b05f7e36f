//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// endlessBody runs until it is killed. Redis acts on a kill after its busy-reply-threshold only, and keeps one that comes earlier waiting.
const endlessBody = "while true do end"

// spinBody keeps the server busy for a while.
const spinBody = "for i = 1, tonumber(ARGV[1]) do end; redis.call('SET', KEYS[1], 'done')"

func TestPingAndReadsAreAnsweredWhileAScriptBlocksThePrimary(t *testing.T) {
	const blocked = 3 * time.Second
	for name, threshold := range map[string]time.Duration{
		"silent":  blocked + 300*time.Millisecond, // Redis says nothing at all before its threshold
		"as BUSY": 200 * time.Millisecond,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			primary, replica := redisserver.StartPair(t, redisserver.LuaTimeLimit(int(threshold.Milliseconds())))
			primary.Do("SET", "k", "value")
			redisserver.WaitReplica(t, primary, replica)
			p := startProxy(t, primary, []*redisserver.Server{replica},
				script("endless", []string{endlessBody}, "class", "write"), script("read", []string{readBody}), set("limits.busy_wait", "1m"))
			onReplica(p, replica, "read")

			killer := direct(t, primary)
			killer.Do("PING")
			existing, reader, blocker, waiting := p.client(), p.client(), p.client(), p.client()
			reader.Do("EVALSHA", "read", "1", "k")
			blocker.Send(request("EVALSHA", "endless", "0"))
			began := time.Now()
			time.Sleep(50 * time.Millisecond) // the server has the script now
			waiting.Send(request("GET", "k")) // waits for the primary
			rounds := 0
			for time.Since(began) < blocked {
				if got := existing.Do("PING"); got != pong {
					t.Fatalf("PING on an existing connection: %q", got)
				}
				fresh := newClient(t, p.Open())
				if got := fresh.Do("PING", "new"); got != bulk("new") {
					t.Fatalf("PING on a new connection: %q", got)
				}
				fresh.Conn.Close()
				if got := reader.Do("EVALSHA", "read", "1", "k"); got != bulk("value") {
					t.Fatalf("a read script: %q", got)
				}
				if status, body := p.Get("/readyz"); status != http.StatusOK {
					t.Fatalf("/readyz while busy: %d %q", status, body)
				}
				rounds++
				time.Sleep(5 * time.Millisecond)
			}
			if got, err := blocker.ReplyWithin(time.Millisecond); err == nil {
				t.Fatalf("the script was over after %v: %q; nothing was shown", time.Since(began), got)
			}
			if rounds < 10 {
				t.Errorf("only %d rounds in %v", rounds, blocked)
			}
			killer.Send(request("SCRIPT", "KILL"))
			if got := blocker.Reply(); !strings.Contains(got, "Script killed by user") {
				t.Errorf("the script: %q", got)
			}
			killer.Want(ok)
			waiting.Want(bulk("value"))
			for series, v := range p.Metrics() {
				if strings.HasPrefix(series, "scriptproxy_upstream_up{") && strings.Contains(series, primary.Addr()) && v != 1 {
					t.Errorf("%s is %v after a script was slow", series, v)
				}
			}
			if n := calls(primary, "ping"); n > 10 {
				t.Errorf("the primary got %d PINGs", n)
			}
		})
	}
}

func TestScriptGoesOnWhenItsClientGoesAway(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, script("spin", []string{spinBody}), script("append", []string{appendBody}))
	c := p.client()
	c.Send(request("EVALSHA", "spin", "1", "spun", "50000000"))
	time.Sleep(50 * time.Millisecond)
	c.Conn.Close()
	other := p.client()
	if got := other.Do("EVALSHA", "append", "1", "list", "x"); got != integer(1) {
		t.Errorf("another client: %q", got)
	}
	if got := server.Do("GET", "spun"); got != "done" {
		t.Errorf("the script left %v", got)
	}
	p.Eventually("forget the client", func() error { return sessionsAre(p, 1) })
}

func TestRequestsForABusyNodeAreRefusedAfterBusyWait(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t, redisserver.LuaTimeLimit(100))
	p := startProxy(t, server, nil, script("endless", []string{endlessBody}, "class", "write"), set("limits.busy_wait", "500ms"))
	blocker, c := p.client(), p.client()
	blocker.Send(request("EVALSHA", "endless", "0"))
	killer := direct(t, server)
	running := fmt.Sprintf(`scriptproxy_script_running_seconds{node="%s",script="endless"}`, server.Addr())
	p.Eventually("know what runs", func() error {
		if p.Metrics()[running] == 0 {
			return fmt.Errorf("no %s", running)
		}
		return nil
	})
	if got := c.Do("SET", "k", "v"); !strings.HasPrefix(got, "-BUSY ") || !strings.Contains(got, "endless") || !strings.HasSuffix(got, "did not run\r\n") {
		t.Errorf("a request while the script runs: %q", got)
	}
	killer.Send(request("SCRIPT", "KILL"))
	blocker.Reply()
	p.Eventually("serve again", func() error {
		if got := c.Do("INCR", "n"); got != integer(1) {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}
