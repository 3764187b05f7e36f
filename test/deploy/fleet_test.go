//go:build linux

package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// proxy is one of a fleet.
type proxy struct{ name, addr, admin string }

// fleet is two proxies with a shared registry in front of a primary and a replica.
type fleet struct {
	primary, replica *redisserver.Server
	proxies          []proxy
}

// busyLoop is Lua that keeps a node busy for so many milliseconds.
func busyLoop(ms int) string {
	return fmt.Sprintf(`local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
local stop = now() + %d
while now() < stop do end
`, ms)
}

// object is a mapping of the configuration, written as JSON, which is YAML too.
type object = map[string]any

// fleetScripts has every kind of script that a dashboard or an alert speaks of.
func fleetScripts() []object {
	move := "redis.call('DECRBY', KEYS[1], ARGV[1]) return redis.call('INCRBY', KEYS[2], ARGV[1])"
	body := func(text string) object { return object{"v1": object{"body": text}} }
	return []object{
		{"name": "transfer", "active": "v1", "versions": object{"v1": object{"body": move}, "v2": object{"body": move + " -- again"}}},
		{"name": "lookup", "versions": body("return redis.call('GET', KEYS[1])")},
		{"name": "report", "versions": body(busyLoop(60) + "return 1"), "slow_after": "50ms"},
		{"name": "faulty", "versions": body("return redis.error_reply('ERR out of stock')")},
		{"name": "forbidden", "versions": body("return 1")},
		{"name": "runaway", "versions": body("while true do end"), "class": "read", "deadline": "300ms",
			"breaker": object{"kills": 2, "window": "1m", "open_for": "2s"}},
		{"name": "import", "versions": body("redis.call('SET', KEYS[1], 1) " + busyLoop(900) + "return 1"), "deadline": "300ms"},
	}
}

// startFleet starts servers that answer kills after 100 ms, and the proxies.
func startFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{}
	f.primary, f.replica = redisserver.StartPair(t, redisserver.LuaTimeLimit(100))
	store := redisserver.Start(t)
	for _, name := range []string{"proxy-a", "proxy-b"} {
		dir := t.TempDir()
		rules := filepath.Join(dir, "rules.yaml")
		p := proxy{
			name: name, addr: "127.0.0.1:" + strconv.Itoa(redisserver.FreePort(t)),
			admin: "127.0.0.1:" + strconv.Itoa(redisserver.FreePort(t)),
		}
		config := object{
			"listen":   []string{p.addr},
			"admin":    object{"listen": p.admin},
			"upstream": object{"primary": f.primary.Addr(), "replicas": []string{f.replica.Addr()}},
			"scripts":  object{"list": fleetScripts(), "compact": object{"check_interval": "1s"}},
			"registry": object{"store": "redis", "redis": object{"address": store.Addr()}},
			"policy":   object{"mode": "enforce", "rules_file": rules},
			"limits":   object{"drain_timeout": "5s"},
		}
		writeJSON(t, rules, object{"default": "allow", "default_commands": "allow", "rules": []object{
			{"name": "no-forbidden", "match": object{"scripts": []string{"forbidden"}}, "action": "deny"},
		}})
		writeJSON(t, filepath.Join(dir, "config.yaml"), config)
		startProgram(t, nil, scriptproxy(t), "serve", "-config", filepath.Join(dir, "config.yaml"))
		f.proxies = append(f.proxies, p)
	}
	for _, p := range f.proxies {
		eventually(t, "ready proxy", func() error { return answers("http://" + p.admin + "/readyz") })
		c := redis.NewClient(&redis.Options{Addr: p.addr, DisableIdentity: true})
		eventually(t, "script on the replica", func() error { return p.readsFromReplica(c) })
		c.Close()
	}
	return f
}

// readsFromReplica calls a script that reads, and returns nil when the replica has run one.
func (p *proxy) readsFromReplica(c *redis.Client) error {
	c.Do(context.Background(), "EVALSHA", "lookup", 1, "account:1")
	resp, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && !strings.Contains(string(text), `scriptproxy_script_calls_total{outcome="ok",route="replica",script="lookup"`) {
		err = errors.New("none was counted")
	}
	return err
}

func writeJSON(t *testing.T, path string, value any) {
	t.Helper()
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// operate runs scriptproxy script … against the fleet, again while a node that is busy refuses the change.
func (f *fleet) operate(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{"script", args[0], "-admin", "http://" + f.proxies[0].admin}, args[1:]...)
	eventually(t, "success of "+strings.Join(args, " "), func() error {
		_, err := output(".", scriptproxy(t), args...)
		return err
	})
}

// load sends traffic of every kind through all proxies until ctx ends. Errors are part of it: scripts are killed, calls denied.
func (f *fleet) load(ctx context.Context) (wait func()) {
	var all sync.WaitGroup
	every := func(addr string, first, pause time.Duration, do func(ctx context.Context, c *redis.Client)) {
		all.Go(func() {
			c := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, DisableIdentity: true})
			defer c.Close()
			wait := first
			for {
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return
				}
				do(ctx, c)
				wait = pause
			}
		})
	}
	for _, p := range f.proxies {
		n := 0
		every(p.addr, 0, 5*time.Millisecond, func(ctx context.Context, c *redis.Client) {
			n++
			from, to := fmt.Sprintf("account:%d", n%50), fmt.Sprintf("account:%d", (n+7)%50)
			c.Do(ctx, "EVALSHA", "transfer", 2, from, to, 1)
			c.Do(ctx, "EVALSHA", "lookup", 1, from)
			c.Set(ctx, "plain", n, 0)
			c.Get(ctx, "plain")
			c.Ping(ctx)
		})
		every(p.addr, 0, 200*time.Millisecond, func(ctx context.Context, c *redis.Client) {
			c.Do(ctx, "EVALSHA", "faulty", 0)
			c.Do(ctx, "EVALSHA", "forbidden", 0)
			c.Do(ctx, "EVAL", "return ARGV[1]", 0, "x")
			c.TxPipelined(ctx, func(tx redis.Pipeliner) error { tx.Incr(ctx, "counter"); return nil })
		})
		every(p.addr, 0, 500*time.Millisecond, func(ctx context.Context, c *redis.Client) { c.Do(ctx, "EVALSHA", "report", 0) })
	}
	// At first somebody takes the scripts away behind the proxies' backs; then come those that block a node.
	flushes := 0
	every(f.primary.Addr(), 0, 500*time.Millisecond, func(ctx context.Context, c *redis.Client) {
		if flushes++; flushes <= 8 {
			c.ScriptFlush(ctx)
		}
	})
	const later = 5 * time.Second
	every(f.proxies[0].addr, later, 700*time.Millisecond, func(ctx context.Context, c *redis.Client) { c.Do(ctx, "EVALSHA", "runaway", 0) })
	every(f.proxies[1].addr, later, 4*time.Second, func(ctx context.Context, c *redis.Client) { c.Do(ctx, "EVALSHA", "import", 1, "imported") })
	return all.Wait
}
