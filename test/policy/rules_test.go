//go:build linux

package policy

import (
	"crypto/sha1" // what Redis names scripts by
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// mixed has a rule of most kinds.
const mixed = `
default: deny
default_commands: allow
rules:
  - name: no-config
    match: {commands: ["config|*", keys]}
    action: deny
    message: ask the platform team
  - name: own-scripts-only
    match: {registered: false}
    action: deny
  - name: no-many-keys
    match: {scripts: [incr], min_keys: 3}
    action: deny
  - name: not-so-much
    match: {scripts: [incr], min_arg_bytes: 100B}
    action: deny
  - name: batch-reads
    match: {users: [batch], classes: [read]}
    action: allow
  - name: app
    match: {users: ["a*"], networks: [127.0.0.0/8], listeners: [main], scripts: [incr, get]}
    action: allow
`

// decided are calls with the rule that decides them; empty is the default.
var decided = []struct {
	user    string
	call    []string
	denied  string   // what the reply says, "" when it runs
	rule    string   // that explain names
	explain []string // flags for policy explain
}{
	{"app", []string{"EVALSHA", "incr", "1", "n", "1"}, "", "app", []string{"-script", "incr", "-keys", "1", "-arg-bytes", "2"}},
	{"app", []string{"EVALSHA", "incr", "3", "n", "m", "o", "1"}, "rule 'no-many-keys'", "no-many-keys", []string{"-script", "incr", "-keys", "3", "-arg-bytes", "4"}},
	{"app", []string{"EVALSHA", "incr@v1", "1", "n", strings.Repeat("0", 120)}, "rule 'not-so-much'", "not-so-much", []string{"-script", "incr@v1", "-keys", "1", "-arg-bytes", "121"}},
	{"app", []string{"EVALSHA", "get", "1", "n"}, "", "app", []string{"-script", "get", "-keys", "1", "-arg-bytes", "1"}},
	{"app", []string{"EVALSHA", "spin", "0", "1"}, "no rule allows it, and the default is deny", "", []string{"-script", "spin", "-keys", "0", "-arg-bytes", "1"}},
	{"app", []string{"EVAL", "return 1", "0"}, "rule 'own-scripts-only'", "own-scripts-only", []string{"-file", "one.lua", "-keys", "0", "-arg-bytes", "0"}},
	{"app", []string{"CONFIG", "GET", "port"}, "rule 'no-config': ask the platform team", "no-config", []string{"-command", "config get"}},
	{"app", []string{"KEYS", "*"}, "rule 'no-config': ask the platform team", "no-config", []string{"-command", "keys"}},
	{"app", []string{"GET", "n"}, "", "", []string{"-command", "get"}},
	{"batch", []string{"EVALSHA", "incr", "1", "n", "1"}, "no rule allows it, and the default is deny", "", []string{"-script", "incr", "-keys", "1", "-arg-bytes", "2"}},
	{"batch", []string{"EVALSHA", "get", "1", "n"}, "", "batch-reads", []string{"-script", "get", "-keys", "1", "-arg-bytes", "1"}},
	{"batch", []string{"FCALL", "nosuch", "0"}, "rule 'own-scripts-only'", "own-scripts-only", []string{"-function", "nosuch", "-keys", "0", "-arg-bytes", "0"}},
}

func TestExplainNamesTheRuleThatDecidesEachCall(t *testing.T) {
	s := start(t, redisserver.Start(t, users...), "enforce", mixed, "")
	s.write("one.lua", "return 1")
	clients := map[string]*client{"app": s.as("app"), "batch": s.as("batch")}
	for _, d := range decided {
		got := clients[d.user].do(d.call...)
		if denied := strings.HasPrefix(got, "-DENIED "); denied != (d.denied != "") || denied && !strings.HasSuffix(got, ": "+d.denied) {
			t.Errorf("%v of %s is answered %s, want %q", d.call, d.user, got, d.denied)
		}
		flags := append([]string{"policy", "explain", "-json", "-user", d.user, "-addr", "127.0.0.1", "-listener", "main"}, d.explain...)
		for _, where := range [][]string{nil, {"-config", "config.yaml"}} { // the proxy, the file
			out, status := s.cli(append(flags, where...)...)
			var answer struct {
				Verdict, Rule string
				Certain       bool
			}
			if err := json.Unmarshal([]byte(out), &answer); err != nil || status != 0 {
				t.Fatalf("%v: %v: %s", d.explain, err, out)
			}
			verdict := "allow"
			if d.denied != "" {
				verdict = "deny"
			}
			if answer.Verdict != verdict || answer.Rule != d.rule || !answer.Certain {
				t.Errorf("%v of %s %v: explain says %+v, want %s by rule %q", d.call, d.user, where, answer, verdict, d.rule)
			}
		}
	}
}

func TestEveryRuleIsCounted(t *testing.T) {
	s := start(t, redisserver.Start(t, users...), "enforce", mixed, "")
	clients := map[string]*client{"app": s.as("app"), "batch": s.as("batch")}
	for range 2 {
		for _, d := range decided {
			clients[d.user].do(d.call...)
		}
	}
	for series, n := range map[string]float64{
		`scriptproxy_policy_decisions_total{rule="no-config",verdict="deny"}`:                             4,
		`scriptproxy_policy_decisions_total{rule="own-scripts-only",verdict="deny"}`:                      4,
		`scriptproxy_policy_decisions_total{rule="app",verdict="allow"}`:                                  4,
		`scriptproxy_policy_decisions_total{rule="batch-reads",verdict="allow"}`:                          2,
		`scriptproxy_policy_decisions_total{rule="default",verdict="deny"}`:                               4,
		`scriptproxy_script_calls_total{outcome="denied",route="local",script="incr",version="v1"}`:       6,
		`scriptproxy_script_calls_total{outcome="denied",route="local",script="unregistered",version=""}`: 4,
		`scriptproxy_script_calls_total{outcome="ok",route="primary",script="incr",version="v1"}`:         2,
		`scriptproxy_errors_total{kind="denied"}`:                                                         16,
	} {
		s.Eventually("count "+series, func() error {
			if got := s.metric(series); got != n {
				return fmt.Errorf("it is %v, want %v", got, n)
			}
			return nil
		})
	}
	var state struct {
		Rules []struct {
			Name            string
			Allowed, Denied int
		}
	}
	if err := json.Unmarshal([]byte(s.body("/api/v1/policy")), &state); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(state.Rules)
	if want := "[{no-config 0 4} {own-scripts-only 0 4} {no-many-keys 0 2} {not-so-much 0 2} {batch-reads 2 0} {app 4 0} { 0 4}]"; got != want {
		t.Errorf("the API counts %s, want %s", got, want)
	}
	// A reload of the same rules goes on counting.
	if status, text := s.reload(); status != 200 {
		t.Fatal(text)
	}
	clients["app"].do("KEYS", "*")
	if text := s.body("/api/v1/policy"); !strings.Contains(text, `"denied": 5`) {
		t.Errorf("after a reload the API says %s", text)
	}
}

func TestABadReloadChangesNothingAndSaysWhere(t *testing.T) {
	s := start(t, redisserver.Start(t, users...), "enforce", mixed, "")
	c := s.as("app")
	same := func() {
		t.Helper()
		want(t, c.pipeline("KEYS none", "EVALSHA incr 1 n 0", "EVALSHA spin 0 1", "GET none"), "-DENIED command 'keys'…", ":0", "-DENIED script 'spin'…", "$-1")
	}
	same()
	for broken, says := range map[string]string{
		mixed + "  - {name: x, match: {comands: [get]}, action: deny}\n":                         "rules.yaml:24: rules[6].match.comands: unknown key; did you mean",
		mixed + "  - {name: x, match: {networks: [300.0.0.0/8]}, action: deny}\n":                "rules.yaml:24: rule 'x': bad network '300.0.0.0/8'",
		mixed + "  - {name: x, match: {commands: [nosuch]}, action: deny}\n":                     "rules.yaml:24: rule 'x': unknown command NOSUCH",
		mixed + "  - {name: x, match: {scripts: [incr]}, version: v9, action: allow}\n":          "rules.yaml:24: rule 'x': script 'incr' has no version v9: there is 'v1' and 'v2'",
		mixed + "  - {name: x, match: {commands: [keys]}, action: deny, route: replica}\n":       "rules.yaml:24: rule 'x': it ",
		mixed + "  - {name: x, match: {min_keys: 3, max_keys: 2}, action: deny}\n":               "rules.yaml:24: rule 'x': it can never match: min_keys 3 is above max_keys 2",
		mixed + "  - {name: x, match: {users: [abc], commands: [keys]}, action: allow}\n":        "rules.yaml:24: rule 'x': it can never match: rule 'no-config' in line 5 already decides",
		mixed + "  - {name: x, match: {commands: [get]}, action: deny, max_clients: 1}\n":        `rules.yaml:24: rules[6].max_clients: unknown key",`,
		mixed + "  - {name: x, match: {commands: [get], deadline: 1s}, action: deny}\n":          `rules.yaml:24: rules[6].match.deadline: unknown key; did you mean \"rules[].deadline\"?`,
		mixed + "  - {name: x, match: {commands: [get]}, action: deny, message: a}\nmode: off\n": "rules.yaml:25: mode: does not belong here",
		"rules: [": "rules.yaml:1:",
	} {
		s.write("rules.yaml", broken)
		status, text := s.reload()
		if status != 400 || !strings.Contains(text, says) {
			t.Errorf("a reload with %q is answered %d %s, want %q", broken[max(0, len(broken)-90):], status, text, says)
		}
		same()
	}
	if got := s.metric("scriptproxy_config_last_reload_successful"); got != 0 {
		t.Errorf("the metric of the last reload is %v", got)
	}
	s.write("rules.yaml", "rules:\n  - {name: no-get, match: {commands: [get]}, action: deny}\n")
	if status, text := s.reload(); status != 200 {
		t.Fatal(text)
	}
	want(t, c.pipeline("KEYS none", "EVALSHA spin 0 1", "GET none"), "*0", ":1", "-DENIED command 'get': rule 'no-get'")
	s.write("config.yaml", strings.Replace(s.read("config.yaml"), `mode: "enforce"`, `mode: "off"`, 1))
	if status, text := s.reload(); status != 200 {
		t.Fatal(text)
	}
	want(t, c.pipeline("GET none"), "$-1")
}

func TestDenialsKeepTheirPlaceInPipelinesAndSpoilTransactions(t *testing.T) {
	s := start(t, redisserver.Start(t, users...), "enforce", mixed, "")
	c := s.as("app")
	var commands, wanted []string
	for i := 1; i <= 300; i++ {
		commands = append(commands, "EVALSHA incr 1 n 1", "KEYS *", "INCR m", "EVALSHA incr 3 n m o 1", "EVAL return(1) 0")
		wanted = append(wanted, fmt.Sprintf(":%d", i), "-DENIED command 'keys'…", fmt.Sprintf(":%d", i), "-DENIED script 'incr' version v1: rule 'no-many-keys'", "-DENIED script '…")
	}
	want(t, c.pipeline(commands...), wanted...)
	want(t, c.pipeline("MULTI", "SET a 1", "EVAL return(1) 0", "EXEC", "GET a", "MULTI", "EVALSHA incr 1 n 1", "EXEC"),
		"+OK", "+QUEUED", "-DENIED script '…", "-EXECABORT Transaction discarded because of previous errors.", "$-1", "+OK", "+QUEUED", "*1\r\n:301")
	want(t, c.pipeline("WATCH a", "MULTI", "KEYS *", "DISCARD", "PING"), "+OK", "+OK", "-DENIED command 'keys'…", "+OK", "+PONG")
}

func TestFunctionsAreKnownByTheirNamesAndTheirLibrary(t *testing.T) {
	server := redisserver.Start(t, users...)
	server.Do("FUNCTION", "LOAD", "#!lua name=other\nredis.register_function('stranger', function(keys, args) return 1 end)")
	s := start(t, server, "enforce", `
default: deny
rules:
  - {name: no-refunds, match: {functions: ["ref*"]}, action: deny}
  - {name: shop, match: {users: [app], scripts: [shop]}, action: allow}
  - {name: strangers, match: {users: [batch], functions: [stranger], registered: false}, action: allow}
`, "")
	app, batch := s.as("app"), s.as("batch")
	s.Eventually("load the library", func() error {
		return errorUnless(app.do("FCALL", "discount", "0", "8") == ":4", "discount does not run")
	})
	want(t, app.pipeline("FCALL discount@v1 0 8", "FCALL refund 0 8", "FCALL stranger 0", "FCALL nosuch 0"),
		":4", "-DENIED function 'refund' version v1: rule 'no-refunds'", "-DENIED function 'stranger': no rule allows it…", "-DENIED function 'nosuch'…")
	want(t, batch.pipeline("FCALL stranger 0", "FCALL discount 0 8"), ":1", "-DENIED function 'discount' version v1: no rule allows it…")
	out, _ := s.cli("policy", "explain", "-user", "app", "-function", "discount")
	if !strings.Contains(out, "function 'discount' of 'shop' version v1\nallowed: rule 'shop' (line 5)\n") {
		t.Errorf("explain says %s", out)
	}
}

func TestAScriptThatNobodyHasShownIsAskedForAndThenJudged(t *testing.T) {
	s := start(t, redisserver.Start(t, users...), "enforce", `
default: deny
rules:
  - {name: own-reads, match: {users: [app], registered: false, classes: [read]}, action: allow}
`, "")
	app, batch := s.as("app"), s.as("batch")
	const read, write = "return redis.call('GET',KEYS[1])", "return redis.call('SET',KEYS[1],1)"
	sha := fmt.Sprintf("%x", sha1.Sum([]byte(read)))
	want(t, []string{app.do("EVALSHA", sha, "1", "n"), app.do("EVAL", read, "1", "n"), app.do("EVALSHA", sha, "1", "n"), app.do("EVAL", write, "1", "n")},
		"-NOSCRIPT No matching script. Please use EVAL.", "$-1", "$-1", "-DENIED script '…")
	want(t, []string{batch.do("EVALSHA", strings.Repeat("1", 40), "0"), batch.do("EVALSHA", sha, "1", "n"), batch.do("EVAL", read, "1", "n")},
		"-DENIED script '1111…", "-DENIED script '…", "-DENIED script '…")
}

func TestAuditLetsEverythingRunAndSaysWhatItWouldDeny(t *testing.T) {
	s := start(t, redisserver.Start(t, users...), "audit", mixed, "")
	c := s.as("app")
	want(t, c.pipeline("KEYS none", "EVALSHA spin 0 5", "EVAL return(1) 0", "EVALSHA incr 1 n 1"), "*0", ":5", ":1", ":1")
	s.Eventually("count", func() error {
		for series, n := range map[string]float64{
			`scriptproxy_policy_decisions_total{rule="no-config",verdict="audit"}`:        1,
			`scriptproxy_policy_decisions_total{rule="own-scripts-only",verdict="audit"}`: 1,
			`scriptproxy_policy_decisions_total{rule="default",verdict="audit"}`:          1,
			`scriptproxy_policy_decisions_total{rule="app",verdict="allow"}`:              1,
		} {
			if got := s.metric(series); got != n {
				return fmt.Errorf("%s is %v, want %v", series, got, n)
			}
		}
		return nil
	})
	s.Eventually("log", func() error {
		if log := s.Log(); strings.Count(log, "the policy would deny a call") != 3 {
			return fmt.Errorf("the log says %d times what would be denied", strings.Count(log, "the policy would deny a call"))
		}
		return nil
	})
	// A noisy rule is logged once in a while, and says how often it was not.
	for range 50 {
		c.do("KEYS", "none")
	}
	if n := strings.Count(s.Log(), `"rule":"no-config"`); n > 3 {
		t.Errorf("the log has %d lines about one rule", n)
	}
	if text := s.body("/readyz"); text != "ok\n" {
		t.Errorf("where nothing is denied, readiness warns: %q", text)
	}
}
