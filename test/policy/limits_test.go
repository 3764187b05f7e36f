//go:build linux

package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func TestRatesAreCountedByUserAndByScript(t *testing.T) {
	const rules = `
rules:
  - name: slowly
    match: {scripts: [incr]}
    rate: {per_user: {limit: 1/h, burst: 2}}
  - name: rarely
    match: {scripts: [get], users: [app, batch]}
    rate: {per_script: {limit: 1/h, burst: 3}}
  - name: keys
    match: {commands: [keys]}
    rate: {per_user: {limit: 1/h, burst: 1}}
`
	s := start(t, redisserver.Start(t, users...), "enforce", rules, "")
	app, batch := s.as("app"), s.as("batch")
	const slowly = "-LIMIT script 'incr' version v1: rule 'slowly': at most 1/h per user"
	want(t, app.pipeline("EVALSHA incr 1 n 1", "EVALSHA incr 1 n 1", "EVALSHA incr 1 n 1", "PING"), ":1", ":2", slowly, "+PONG")
	want(t, batch.pipeline("EVALSHA incr 1 n 1", "EVALSHA incr 1 n 1", "EVALSHA incr 1 n 1"), ":3", ":4", slowly)
	want(t, app.pipeline("EVALSHA get 1 n", "EVALSHA get 1 n"), "$1\r\n4", "$1\r\n4")
	want(t, batch.pipeline("EVALSHA get 1 n", "EVALSHA get 1 n"), "$1\r\n4", "-LIMIT script 'get' version v1: rule 'rarely': at most 1/h per script")
	want(t, app.pipeline("KEYS none", "KEYS none", "MULTI", "KEYS none", "EXEC"), "*0", "-LIMIT command 'keys': rule 'keys': at most 1/h per user",
		"+OK", "-LIMIT command 'keys'…", "-EXECABORT…")

	// What was spent stays spent over a reload, for rules that stay as they are.
	s.write("rules.yaml", strings.Replace(rules, "match: {scripts: [get], users: [app, batch]}\n    rate: {per_script: {limit: 1/h, burst: 3}}", "match: {scripts: [get]}\n    rate: {per_script: {limit: 2/h, burst: 1}}", 1))
	if status, text := s.reload(); status != 200 {
		t.Fatal(text)
	}
	want(t, app.pipeline("EVALSHA incr 1 n 1", "EVALSHA get 1 n", "EVALSHA get 1 n"), slowly, "$1\r\n4", "-LIMIT script 'get' version v1: rule 'rarely': at most 2/h per script")
	s.Eventually("count", func() error {
		series := `scriptproxy_script_calls_total{outcome="limited",route="local",script="incr",version="v1"}`
		if got := s.metric(series); got != 3 {
			return fmt.Errorf("%s is %v, want 3", series, got)
		}
		return nil
	})
}

func TestConcurrencyIsBoundedWhileACallRuns(t *testing.T) {
	redis := redisserver.Start(t, users...)
	s := start(t, redis, "enforce", `
rules:
  - name: one-at-a-time
    match: {scripts: [spin]}
    max_concurrent: 1
  - name: one-pop
    match: {commands: [blpop]}
    max_concurrent: 1
`, "")
	a, b := s.as("app"), s.as("batch")
	a.send([]string{"BLPOP", "list", "0"})
	s.Eventually("block", func() error {
		if n := redis.Info("clients")["blocked_clients"]; n != "1" {
			return fmt.Errorf("%s clients are blocked", n)
		}
		return nil
	})
	want(t, b.pipeline("BLPOP list 0.001", "EVALSHA spin 0 5"), "-LIMIT command 'blpop': rule 'one-pop': at most 1 at the same time", ":5")
	want(t, b.pipeline("LPUSH list x"), ":1")
	want(t, a.replies(1), "*2\r\n$4\r\nlist\r\n$1\r\nx")
	want(t, b.pipeline("BLPOP list 0.001"), "*-1")

	// The transaction's call has its place from when it is queued until EXEC.
	want(t, a.pipeline("MULTI", "EVALSHA spin 0 7"), "+OK", "+QUEUED")
	want(t, b.pipeline("EVALSHA spin 0 5"), "-LIMIT script 'spin' version v1: rule 'one-at-a-time': at most 1 at the same time")
	want(t, a.pipeline("EXEC"), "*1\r\n:7")
	want(t, b.pipeline("EVALSHA spin 0 5"), ":5")
}

func TestARuleChoosesVersionAndRoute(t *testing.T) {
	primary, replica := redisserver.StartPair(t, users...)
	s := start(t, primary, "enforce", `
rules:
  - {name: beta, match: {users: [batch], scripts: [incr]}, version: v2}
  - {name: own-data, match: {users: [batch], scripts: [get]}, route: primary}
  - {name: hget, match: {commands: [get], users: [app]}, route: replica}
`, "")
	s.write("config.yaml", strings.Replace(s.read("config.yaml"), "username: loader", fmt.Sprintf("replicas: [%q], username: loader", replica.Addr()), 1))
	s.Stop()
	s = restart(t, s)
	app, batch := s.as("app"), s.as("batch")
	want(t, app.pipeline("EVALSHA incr 1 n 1"), ":1")
	want(t, batch.pipeline("EVALSHA incr 1 n 1"), ":101")
	want(t, batch.pipeline("EVALSHA incr@v1 1 n 1"), ":201")
	redisserver.WaitReplica(t, primary, replica)

	before := ran(replica, "evalsha_ro") + ran(replica, "get")
	for range 10 {
		want(t, batch.pipeline("EVALSHA get 1 n"), "$3\r\n201")
	}
	if n := ran(replica, "evalsha_ro") + ran(replica, "get"); n != before {
		t.Errorf("the replica has run %d reads that a rule sends to the primary", n-before)
	}
	before = ran(replica, "get")
	s.Eventually("read from the replica", func() error {
		want(t, app.pipeline("GET n"), "$3\r\n201")
		if ran(replica, "get") == before {
			return fmt.Errorf("the replica has not seen the GET that a rule sends there")
		}
		return nil
	})
}

// ran is how often a server has run a command.
func ran(redis *redisserver.Server, command string) (n int) {
	fmt.Sscanf(redis.Info("commandstats")["cmdstat_"+command], "calls=%d", &n)
	return n
}

func TestARulesDeadlineEndsACall(t *testing.T) {
	redis := redisserver.Start(t, append(users, redisserver.LuaTimeLimit(100))...)
	s := start(t, redis, "enforce", "rules: [{name: quick, match: {scripts: [spin]}, deadline: 200ms}]\n", "watchdog: {manage_busy_threshold: true}\n")
	c := s.as("app")
	want(t, c.pipeline("EVALSHA spin 0 10"), ":10")
	if got := c.do("EVALSHA", "spin", "0", "1000000000000"); !strings.Contains(got, "Script killed by user with SCRIPT KILL") {
		t.Errorf("an endless call is answered %s", got)
	}
	want(t, c.pipeline("EVALSHA spin 0 10"), ":10")
}
