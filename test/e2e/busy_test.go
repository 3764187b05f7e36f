//go:build linux

package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// spinBody keeps the server busy for as many seconds of its own CPU time as ARGV[1] says, and returns how many that were.
const spinBody = "local from = os.clock(); while os.clock() - from < tonumber(ARGV[1]) do end; redis.call('SET', KEYS[1], 'done'); return ARGV[1]"

func TestPingAndReadsAreAnsweredWhileAScriptBlocksThePrimary(t *testing.T) {
	for name, threshold := range map[string]int{
		"silent":  5000, // Redis says nothing at all before its busy-reply-threshold
		"as BUSY": 200,
	} {
		t.Run(name, func(t *testing.T) {
			primary, replica := redisserver.StartPair(t, redisserver.LuaTimeLimit(threshold))
			primary.Do("SET", "k", "value")
			redisserver.WaitReplica(t, primary, replica)
			p := startProxy(t, primary, []*redisserver.Server{replica}, script("spin", []string{spinBody}), script("read", []string{readBody}))
			onReplica(p, replica, "read")

			existing, reader, blocker, waiting := p.client(), p.client(), p.client(), p.client()
			reader.do("EVALSHA", "read", "1", "k")
			blocker.send(request("EVALSHA", "spin", "1", "spun", "3"))
			began := time.Now()
			time.Sleep(50 * time.Millisecond) // the server has the script now
			if threshold > 3000 {
				waiting.send(request("GET", "k")) // waits for the primary
			}
			rounds := 0
			for time.Since(began) < 2*time.Second {
				if got := existing.do("PING"); got != pong {
					t.Fatalf("PING on an existing connection: %q", got)
				}
				fresh := newClient(t, p.open())
				if got := fresh.do("PING", "new"); got != bulk("new") {
					t.Fatalf("PING on a new connection: %q", got)
				}
				fresh.conn.Close()
				if got := reader.do("EVALSHA", "read", "1", "k"); got != bulk("value") {
					t.Fatalf("a read script: %q", got)
				}
				if status, body := p.get("/readyz"); status != http.StatusOK {
					t.Fatalf("/readyz while busy: %d %q", status, body)
				}
				rounds++
				time.Sleep(5 * time.Millisecond)
			}
			if got, err := blocker.replyWithin(time.Millisecond); err == nil {
				t.Fatalf("the script was over after %v: %q; nothing was shown", time.Since(began), got)
			}
			if rounds < 10 {
				t.Errorf("only %d rounds in two seconds", rounds)
			}
			if got := blocker.reply(); got != bulk("3") {
				t.Errorf("the script: %q", got)
			}
			if threshold > 3000 {
				waiting.want(bulk("value"))
			}
			if got := primary.Do("GET", "spun"); got != "done" {
				t.Errorf("the script left %v", got)
			}
			for series, v := range p.metrics() {
				if strings.HasPrefix(series, "scriptproxy_upstream_up{") && v != 1 && strings.Contains(series, primary.Addr()) {
					t.Errorf("%s is %v after a script was slow", series, v)
				}
			}
		})
	}
}

func TestScriptGoesOnWhenItsClientGoesAway(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, script("spin", []string{spinBody}), script("append", []string{appendBody}))
	c := p.client()
	c.send(request("EVALSHA", "spin", "1", "spun", "0.3"))
	time.Sleep(50 * time.Millisecond)
	c.conn.Close()
	other := p.client()
	if got := other.do("EVALSHA", "append", "1", "list", "x"); got != integer(1) {
		t.Errorf("another client: %q", got)
	}
	if got := server.Do("GET", "spun"); got != "done" {
		t.Errorf("the script left %v", got)
	}
	p.eventually("forget the client", func() error { return sessionsAre(p, 1) })
}
