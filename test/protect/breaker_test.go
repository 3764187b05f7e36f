//go:build linux

package protect

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/filestore"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// moodyBody runs away when it is told to.
const moodyBody = "if ARGV[1] == 'bad' then while true do end end return redis.call('INCR', 'calls')"

// breaker are the settings of a breaker that opens after three kills.
func breaker(openFor, fallback string) map[string]any {
	return map[string]any{"kills": 3, "window": "30s", "open_for": openFor, "fallback": fallback}
}

// quickly are settings with a deadline of 100 ms.
func quickly(opts ...option) []option {
	return append([]option{set("scripts.deadline", "100ms"), set("watchdog.manage_busy_threshold", true), set("loops", 2)}, opts...)
}

// runAway has a call killed, of a script called by name or sha.
func runAway(t *testing.T, c *redisserver.Client, script string, args ...any) {
	t.Helper()
	if got := do(t, c, append([]any{"EVALSHA", script, 0}, args...)...); !isError(got, "Script killed by user") {
		t.Fatalf("a call that runs away: %v", got)
	}
}

func TestBreakerOpensHalfOpensAndCloses(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, quickly(script("moody", []string{moodyBody}, "breaker", breaker("1s", "none")))...)
	state := func(want float64) {
		t.Helper()
		p.Eventually("say the breaker's state", func() error {
			if got := p.counted("script_breaker_state", `script="moody",version="v1"`); got != want {
				return fmt.Errorf("it is %v, want %v", got, want)
			}
			return nil
		})
	}
	c, other := p.dial(), p.dial()
	open := func() {
		t.Helper()
		for range 3 {
			runAway(t, c, "moody", "bad")
		}
		if got := do(t, other, "EVALSHA", "moody", 0, "good"); !isError(got, "LIMIT script 'moody' version v1: breaker open for 1s more", "3 calls that had to be ended within 30s", "nothing ran") {
			t.Fatalf("a call while it is open: %v", got)
		}
		state(2)
	}
	open()
	calls := server.Do("GET", "calls")

	time.Sleep(time.Second)
	if got := do(t, other, "EVALSHA", "moody", 0, "good"); got != int64(1) {
		t.Fatalf("the trial: %v, with %v calls before", got, calls)
	}
	state(0)
	if got := do(t, c, "EVALSHA", "moody", 0, "good"); got != int64(2) {
		t.Fatalf("after it closed: %v", got)
	}

	open()
	time.Sleep(time.Second)
	trial := later(c, "EVALSHA", "moody", 0, "bad")
	time.Sleep(40 * time.Millisecond)
	if got := do(t, other, "EVALSHA", "moody", 0, "good"); !isError(got, "LIMIT script 'moody' version v1: breaker half open") {
		t.Errorf("a second call beside the trial: %v", got)
	}
	if a := await(t, trial); !isError(a.reply, "Script killed by user") {
		t.Errorf("the trial: %v", a.reply)
	}
	if got := do(t, other, "EVALSHA", "moody", 0, "good"); !isError(got, "LIMIT script 'moody' version v1: breaker open") {
		t.Errorf("after a trial that ran away: %v", got)
	}
	if got := p.counted("errors_total", `kind="limit"`); got != 4 {
		t.Errorf("%v refusals were counted", got)
	}
}

func TestOpenBreakerAbortsTheTransactionThatItsScriptIsIn(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, quickly(script("moody", []string{moodyBody}, "breaker", breaker("1m", "none")))...)
	c := p.dial()
	for range 3 {
		runAway(t, c, "moody", "bad")
	}
	do(t, c, "MULTI")
	do(t, c, "SET", "a", 1)
	if got := do(t, c, "EVALSHA", "moody", 0, "good"); !isError(got, "LIMIT script 'moody'") {
		t.Errorf("the call: %v", got)
	}
	do(t, c, "SET", "b", 1)
	if got := do(t, c, "EXEC"); !isError(got, "EXECABORT") {
		t.Errorf("EXEC: %v", got)
	}
	if got := server.Do("EXISTS", "a", "b"); got != int64(0) {
		t.Errorf("%v of its writes happened", got)
	}
}

func TestCallsPastTheirDeadlineOpenABreakerAlsoWhereTheyCanNotBeKilled(t *testing.T) {
	t.Parallel()
	slow := "redis.call('SET', KEYS[1], 0)\n" + tardyBody
	for name, threshold := range map[string]int{"because they have written": 50, "because the threshold is too high": 5000} {
		t.Run(name, func(t *testing.T) {
			server := redisserver.Start(t, redisserver.LuaTimeLimit(threshold))
			p := startProxy(t, server, nil, set("scripts.deadline", "100ms"), script("slow", []string{slow}, "breaker", breaker("1m", "none")))
			c := p.dial()
			for range 3 {
				if got := do(t, c, "EVALSHA", "slow", 1, "k", 300); got != int64(1) {
					t.Fatalf("the script: %v", got)
				}
			}
			if got := do(t, c, "EVALSHA", "slow", 1, "k", 0); !isError(got, "LIMIT script 'slow' version v1: breaker open") {
				t.Errorf("the fourth call: %v", got)
			}
			if threshold == 5000 && !strings.Contains(p.Log(), "heeds a kill later than the smallest deadline") {
				t.Error("nobody was told that the threshold is too high")
			}
		})
	}
}

func TestSlowRunsOpenABreakerWithoutADeadline(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	set3 := breaker("1m", "none")
	set3["slower_than"] = "800ms" // far above what 60 ms become on a busy machine
	p := startProxy(t, server, nil, set("loops", 2), set("limits.busy_wait", "5s"), script("slow", []string{tardyBody}, "breaker", set3),
		script("patient", []string{tardyBody + " "}, "breaker", breaker("1m", "none")))
	c, other := p.dial(), p.dial()
	call := func(c *redisserver.Client, name string, ms int) {
		t.Helper()
		if got, ok := do(t, c, "EVALSHA", name, 1, "n", ms).(int64); !ok {
			t.Fatalf("%s for %d ms: %v", name, ms, got)
		}
	}
	for range 4 {
		call(c, "slow", 60)
	}
	// Nor is the time counted in which a quick call waits for somebody else's.
	for range 3 {
		waits := later(other, "EVALSHA", "patient", 1, "n", 1000)
		time.Sleep(10 * time.Millisecond)
		call(c, "slow", 0)
		await(t, waits)
	}
	for range 3 {
		call(c, "slow", 1000)
	}
	if got := do(t, c, "EVALSHA", "slow", 1, "n", 0); !isError(got, "LIMIT script 'slow' version v1: breaker open", "3 calls that had to be ended or took 800ms within 30s") {
		t.Errorf("after three slow runs: %v", got)
	}
	call(c, "patient", 0)
}

// tell runs a command of the command line on the proxy's admin listener, and returns what it prints.
func (p *proxy) tell(args ...string) (string, error) {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "SCRIPTPROXY_ADMIN="+p.Admin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestOpenBreakerIsShownAndCanBeClosed(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, quickly(script("moody", []string{"return 'v1'", moodyBody}, "class", "write", "breaker", breaker("1m", "none")))...)
	c := p.dial()
	if status, body := p.Get("/api/v1/breakers"); status != 200 || strings.Join(strings.Fields(body), "") != `{"breakers":[]}` {
		t.Errorf("before: %d %s", status, body)
	}
	if out, err := p.tell("script", "reset-breaker", "moody"); err == nil || !strings.Contains(out, "no breaker of moody has opened on this proxy") {
		t.Errorf("a reset before: %v, %s", err, out)
	}
	for range 3 {
		runAway(t, c, "moody", "bad")
	}
	status, body := p.Get("/api/v1/breakers")
	var got struct {
		Breakers []struct {
			Script, Version, SHA, State string
			Since                       time.Time
			OpenFor                     float64 `json:"open_for_seconds"`
			Kills, Total                int
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 || len(got.Breakers) != 1 {
		t.Fatalf("GET /api/v1/breakers: %d %v %s", status, err, body)
	}
	b := got.Breakers[0]
	if b.Script != "moody" || b.Version != "v2" || b.SHA != registry.SHA([]byte(moodyBody)) || b.State != "open" || b.Kills != 3 || b.Total != 3 ||
		b.OpenFor <= 0 || b.OpenFor > 60 || time.Since(b.Since) > time.Minute {
		t.Errorf("GET /api/v1/breakers: %+v", b)
	}
	for _, args := range [][]string{{"script", "ls"}, {"script", "show", "moody"}} {
		if out, err := p.tell(args...); err != nil || !regexp.MustCompile(`v2 open, \d+s more|v2 open, 1m0s more`).MatchString(out) {
			t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if out, err := p.tell("script", "reset-breaker", "moody", "v1"); err == nil {
		t.Errorf("a reset of a version whose breaker is closed: %s", out)
	}
	if got := do(t, c, "EVALSHA", "moody", 0, "good"); !isError(got, "breaker open") {
		t.Errorf("before the reset: %v", got)
	}
	if out, err := p.tell("script", "reset-breaker", "moody", "v2"); err != nil || out != "moody v2: its calls run again\n" {
		t.Errorf("the reset: %v, %s", err, out)
	}
	if got := do(t, c, "EVALSHA", "moody", 0, "good"); got != int64(1) {
		t.Errorf("after the reset: %v", got)
	}
	if _, body := p.Get("/api/v1/breakers"); !strings.Contains(body, `"state": "closed"`) {
		t.Errorf("after the reset: %s", body)
	}
	if n := p.counted("script_breaker_state", `script="moody",version="v2"`); n != 0 {
		t.Errorf("after the reset the metric says %v", n)
	}
}

func TestBadReleaseIsTakenBackByItsBreaker(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	state := filepath.Join(t.TempDir(), "state.json")
	bodies := []string{"return 'v1 is good'", endlessBody}
	p := startProxy(t, server, nil, quickly(set("registry.state_file", state),
		script("release", bodies, "active", "v1", "class", "write", "breaker", breaker("1m", "previous")))...)
	c := p.dial()
	if got := do(t, c, "EVALSHA", "release", 0); got != "v1 is good" {
		t.Fatalf("v1: %v", got)
	}
	// The release goes out with the configuration.
	p.Rewrite(`"active": "v1"`, `"active": "v2"`)
	if status, body := p.Post("/-/reload"); status != 200 {
		t.Fatalf("reload: %d %s", status, body)
	}
	for range 3 {
		runAway(t, c, "release")
	}
	p.Eventually("go back to v1", func() error {
		if got := do(t, c, "EVALSHA", "release", 0); got != "v1 is good" {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	if got := do(t, c, "EVALSHA", registry.SHA([]byte(endlessBody)), 0); got != "v1 is good" {
		t.Errorf("a client with the sha of v2: %v", got)
	}
	if got := do(t, c, "EVALSHA", "release@v2", 0); !isError(got, "LIMIT script 'release' version v2: breaker open") {
		t.Errorf("a client that asks for v2: %v", got)
	}
	p.Stop()
	store, err := filestore.Open(filestore.Options{Path: state})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	changes, err := store.Audit(context.Background(), 100)
	if err != nil {
		t.Fatal(err)
	}
	var by []registry.Change
	for _, ch := range changes {
		if ch.Who == "breaker" {
			by = append(by, ch)
		}
	}
	if len(by) != 1 || by[0].Action != registry.ActionRollback || by[0].From != "v2" || by[0].To != "v1" || by[0].Name != "release" ||
		!strings.Contains(by[0].Why, "3 calls of version v2 had to be ended within 30s") {
		t.Errorf("the breaker's entries in the audit log: %+v", by)
	}
}
