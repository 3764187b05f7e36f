//go:build linux

package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// noFlush denies FLUSHALL and its kin, outside of scripts and, as far as the analysis can see, inside.
const noFlush = `
rules:
  - name: no-flush
    match: {commands: [flushall, flushdb, "config|set"]}
    action: deny
    message: use UNLINK
  - name: no-flush-inside
    match: {uses: [flushall, flushdb]}
    action: deny
`

// evasions are scripts which hide from every analysis that they call FLUSHALL.
var evasions = []struct {
	name, body string
	args       []string
}{
	{"a computed command", "return redis.call('FLU' .. 'SHALL')", nil},
	{"a command from an argument", "return redis.call(ARGV[1])", []string{"FLUSHALL"}},
	{"a command from a key", "return redis.call(redis.call('GET', 'command'))", nil},
	{"a computed function", "return redis['ca' .. 'll']('FLU' .. 'SHALL')", nil},
	{"a string taken to pieces", "return redis.call(('LLAHSULF'):reverse())", nil},
	{"a string of bytes", "return redis.call(string.char(70, 76, 85, 83, 72, 65, 76, 76))", nil},
	{"loaded code", "return loadstring('return redis' .. '.call(\"FLUSH\" .. \"ALL\")')()", nil},
	{"loaded code from an argument", "return loadstring(ARGV[1])()", []string{"return redis.call('FLUSHALL')"}},
	{"a function found by looking", "for k, f in pairs(redis) do if k == 'ca' .. 'll' then return f('FLU' .. 'SHALL') end end", nil},
	{"a function passed on", "local function go(f, ...) return f(...) end return go(redis.call, 'FLUSH' .. 'ALL')", nil},
	{"a function in a table", "local t = {f = redis.call} return t.f(ARGV[1])", []string{"FLUSHALL"}},
	{"a protected call that tells", "local r = redis.pcall('FLUSH' .. 'ALL') return r", nil},
	{"server.call, where there is one", "local s = rawget(_G, 'server') or redis return s.call(ARGV[1])", []string{"FLUSHALL"}},
	{"another command that flushes", "return redis.call('flushdb' .. '', ARGV[1])", []string{"ASYNC"}},
}

// refusedByServer reports whether a reply is the server's refusal of a command inside a script (Redis 7.0; 7.2 and later).
func refusedByServer(reply string) bool {
	return strings.HasPrefix(reply, "-") &&
		(strings.Contains(reply, "can't run this command or subcommand") || strings.Contains(reply, "ACL failure in script"))
}

// flushOutside denies FLUSHALL and its kin outside of scripts, and leaves what is inside to the server.
var flushOutside, _, _ = strings.Cut(noFlush, "  - name: no-flush-inside")

// calls counts the EVALSHA that a server has run or refused to finish.
func calls(redis *redisserver.Server) string {
	for _, field := range strings.Split(redis.Info("commandstats")["cmdstat_evalsha"], ",") {
		if n, ok := strings.CutPrefix(field, "calls="); ok {
			return n
		}
	}
	return "0"
}

func TestEvasionsReachTheServerAndAreRefusedThere(t *testing.T) {
	redis := redisserver.Start(t, users...)
	s := start(t, redis, "enforce", flushOutside, "")
	s.applyACL("app", "batch")
	s.reload()
	redis.Do("SET", "witness", "1")
	redis.Do("SET", "command", "FLUSHALL")
	c := s.as("app")
	for i, e := range evasions {
		args := append([]string{"EVAL", e.body, "0"}, e.args...)
		if got := c.do(args...); !refusedByServer(got) {
			t.Errorf("%s is answered %s", e.name, got)
		}
		if n := calls(redis); n != fmt.Sprint(i+1) {
			t.Fatalf("after %s the server has seen %s calls, and not %d", e.name, n, i+1)
		}
		if got := redis.Do("EXISTS", "witness"); got != int64(1) {
			t.Fatalf("%s has emptied the server", e.name)
		}
	}
	want(t, c.pipeline("FLUSHALL"), "-DENIED command 'flushall': rule 'no-flush': use UNLINK")

	// Who goes round the proxy with the same user gets no further.
	d := direct(t, redis, "app")
	want(t, []string{d.do("EVAL", "return 1", "0"), d.do("SCRIPT", "LOAD", "return 1"), d.do("FLUSHALL"), d.do("ACL", "SETUSER", "app", "+@all"), d.do("CONFIG", "SET", "maxmemory", "1")},
		"-NOPERM…", "-NOPERM…", "-NOPERM…", "-NOPERM…", "-NOPERM…")
}

func TestWhatTheAnalysisSeesIsDeniedBeforeItReachesTheServer(t *testing.T) {
	redis := redisserver.Start(t, users...)
	s := start(t, redis, "enforce", noFlush, "")
	s.applyACL("app")
	s.reload()
	redis.Do("SET", "witness", "1")
	redis.Do("SET", "command", "FLUSHALL")
	c := s.as("app")
	if got := c.do("EVAL", "return redis.call('FLUSHALL')", "0"); !strings.HasPrefix(got, "-DENIED script '") || !strings.HasSuffix(got, "': rule 'no-flush-inside'") {
		t.Errorf("FLUSHALL in plain sight is answered %s", got)
	}
	if n := calls(redis); n != "0" {
		t.Errorf("the server has seen %s calls", n)
	}
	seen := 0
	for _, e := range evasions {
		got := c.do(append([]string{"EVAL", e.body, "0"}, e.args...)...)
		if strings.HasSuffix(got, ": rule 'no-flush-inside'") {
			seen++
		} else if !refusedByServer(got) {
			t.Errorf("%s is answered %s", e.name, got)
		}
	}
	if seen == 0 || seen == len(evasions) {
		t.Errorf("the analysis has seen through %d of %d evasions", seen, len(evasions))
	}
	if got := redis.Do("EXISTS", "witness"); got != int64(1) {
		t.Error("an evasion has emptied the server")
	}
}

func TestWithTheWallEverythingElseWorksAsBefore(t *testing.T) {
	redis := redisserver.Start(t, users...)
	s := start(t, redis, "enforce", noFlush, "")
	s.applyACL("app")
	s.reload()
	s.Eventually("see the wall", func() error { return noWarnings(s) })
	c := s.as("app")
	want(t, c.pipeline("EVALSHA incr 1 n 5", "EVAL return(1) 0", "EVAL return(1) 0", "GET n", "EVALSHA get 1 n", "EVAL return(2) 0", "PING"),
		":5", ":1", ":1", "$1\r\n5", "$1\r\n5", ":2", "+PONG")
	want(t, c.pipeline("MULTI", "EVALSHA incr 1 n 1", "EVAL return(3) 0", "EVAL return(3) 0", "EXEC"), "+OK", "+QUEUED", "+QUEUED", "+QUEUED", "*3\r\n:6\r\n:3\r\n:3")
	sha := c.do("SCRIPT", "LOAD", "return {KEYS[1], ARGV[1]}")
	want(t, []string{c.do("EVALSHA", strings.TrimPrefix(sha, "$40\r\n"), "1", "k", "a")}, "*2\r\n$1\r\nk\r\n$1\r\na")
	want(t, []string{c.do("EVAL", "return {", "0"), c.do("SCRIPT", "LOAD", "return {"), c.do("EVALSHA", "1111111111111111111111111111111111111111", "0")},
		"-ERR Error compiling script…", "-ERR Error compiling script…", "-NOSCRIPT…")
	// A body that could make up a NOSCRIPT of its own is believed when it does.
	want(t, []string{c.do("EVAL", "redis.call('INCR', KEYS[1]) return redis.error_reply(ARGV[1])", "1", "runs", "NOSCRIPT No matching script. Please use EVAL."), c.do("GET", "runs")},
		"-NOSCRIPT No matching script. Please use EVAL.", "$1\r\n1")

	// A server that forgets everything is healed, alone, in a pipeline and inside MULTI.
	for range 3 {
		redis.Do("SCRIPT", "FLUSH")
		want(t, c.pipeline("EVALSHA incr 1 m 1", "DEL m", "EVAL return(1) 0", "EVALSHA get 1 n"), ":1", ":1", ":1", "$1\r\n6")
		redis.Do("SCRIPT", "FLUSH")
		want(t, c.pipeline("MULTI", "EVALSHA get 1 n", "EVAL return(4) 0", "EXEC"), "+OK", "+QUEUED", "+QUEUED", "*2\r\n$1\r\n6\r\n:4")
		redis.Do("SCRIPT", "FLUSH")
		want(t, []string{c.do("EVAL", "redis.call('INCR', KEYS[1]) return redis.error_reply(ARGV[1])", "1", "runs", "NOSCRIPT No matching script. Please use EVAL.")},
			"-NOSCRIPT No matching script. Please use EVAL.")
	}
	want(t, []string{c.do("GET", "runs")}, "$1\r\n4")
}

// noWarnings returns an error while readiness warns of something.
func noWarnings(s *site) error {
	if text := s.body("/readyz"); text != "ok\n" {
		return fmt.Errorf("/readyz says %q", text)
	}
	return nil
}

func TestReadinessSaysWhatTheServerWouldLetThrough(t *testing.T) {
	redis := redisserver.Start(t, users...)
	s := start(t, redis, "enforce", noFlush, "")
	c := s.as("app")
	redis.Do("SET", "witness", "1")
	// Without a wall, whoever evades the analysis gets what she wants.
	want(t, []string{c.do("EVAL", "return redis.call(ARGV[1])", "0", "FLUSHALL"), c.do("GET", "witness")}, "+OK", "$-1")
	const gap = "warning: the server lets user 'app' run CONFIG|SET, FLUSHALL, FLUSHDB, also inside scripts, although rule 'no-flush' denies it; set the ACL with: scriptproxy policy acl -apply\n"
	s.Eventually("warn", func() error {
		if text := s.body("/readyz"); !strings.HasPrefix(text, "ok\n") || !strings.Contains(text, "the server lets user 'app' run ") || !strings.Contains(text, "FLUSHALL") {
			return fmt.Errorf("/readyz says %q", text)
		}
		return nil
	})
	if text := s.body("/readyz"); !strings.Contains(text, strings.ReplaceAll(gap, "CONFIG|SET, ", "")) {
		t.Errorf("/readyz says %q, want in it %q", text, gap)
	}
	if !strings.Contains(s.Log(), "the policy has no wall behind it") {
		t.Error("the log says nothing of it")
	}
	var state struct{ Wall []string }
	if err := json.Unmarshal([]byte(s.body("/api/v1/policy")), &state); err != nil || len(state.Wall) == 0 {
		t.Errorf("the API says %v, %v", state.Wall, err)
	}
	s.applyACL("app")
	if status, text := s.reload(); status != 200 {
		t.Fatal(text)
	}
	s.Eventually("find the wall", func() error { return noWarnings(s) })
	if got := c.do("EVAL", "return redis.call(ARGV[1])", "0", "FLUSHALL"); !refusedByServer(got) {
		t.Errorf("with the wall it is answered %s", got)
	}
}

func TestACallThatTravelsAsTheProxysOwnUserIsWarnedOf(t *testing.T) {
	redis := redisserver.Start(t, users...)
	s := start(t, redis, "enforce", noFlush, "auth: {mode: service, users: [{name: web, password_sha256: "+strings.Repeat("0", 64)+"}]}\n")
	s.Eventually("warn", func() error {
		if text := s.body("/readyz"); !strings.Contains(text, "warning: calls of clients travel as 'loader', the user with which the proxy loads scripts") {
			return fmt.Errorf("/readyz says %q", text)
		}
		return nil
	})
}
