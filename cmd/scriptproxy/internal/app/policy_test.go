package app

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/policy/acl"
	"github.com/scriptproxy/scriptproxy/policy/lua"
	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/proxy/command"
)

// version describes a version of a script whose body says which it is.
func version(name, id string, change func(*entry)) entry {
	e := entry{name: name, version: id, body: []byte("return '" + name + id + "'")}
	if change != nil {
		change(&e)
	}
	e.sha = registry.SHA(e.body)
	return e
}

func active(e *entry) { e.active = true }

func book(t *testing.T, spec policy.Spec, entries ...entry) *Book {
	t.Helper()
	b, err := compileBook(spec, entries, command.Embedded(), []config.Listener{{Name: "main"}}, new(factBook))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestACallLeadsToWhatRunsForIt(t *testing.T) {
	library := "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
	b := book(t, policy.Spec{},
		version("a", "v1", nil), version("a", "v2", active), version("a", "v3", func(e *entry) { e.own = true }),
		version("lib", "l1", func(e *entry) { e.body, e.functions, e.active = []byte(library), []string{"f", "g"}, true }),
	)
	for called, want := range map[string]string{
		"a": "a@v2", "a@v1": "a@v1", "a@v3": "a@v3",
		registry.SHA([]byte("return 'av1'")): "a@v2",
		registry.SHA([]byte("return 'av2'")): "a@v2",
		registry.SHA([]byte("return 'av3'")): "a@v3",
		"function f":                         "lib@l1 f",
		"function g@l1":                      "lib@l1 g",
	} {
		i, ok := b.runs(called)
		if !ok {
			t.Errorf("nothing runs for %s", called)
			continue
		}
		s := b.Catalog.Scripts[i]
		if got := strings.TrimSpace(s.Name + "@" + s.Version + " " + s.Function); got != want {
			t.Errorf("%s runs %s, want %s", called, got, want)
		}
	}
	for _, called := range []string{"b", "a@v9", "function h", "lib", registry.SHA([]byte(library))} {
		if i, ok := b.runs(called); ok {
			t.Errorf("%s runs %+v", called, b.Catalog.Scripts[i])
		}
	}
}

func TestRulesKnowWhatTheAnalysisFinds(t *testing.T) {
	b := book(t, policy.Spec{},
		version("flush", "v1", func(e *entry) { e.body = []byte("return redis.call('FLUSHALL')"); e.active = true }),
		version("get", "v1", func(e *entry) { e.body = []byte("return redis.call('GET', KEYS[1])"); e.active = true }),
		version("said", "v1", func(e *entry) { e.body = []byte("return redis.call('GET', KEYS[1]) "); e.declared = lua.Write }),
	)
	if got := b.Catalog.Scripts[0].Commands; !reflect.DeepEqual(got, []string{"flushall"}) {
		t.Errorf("flush uses %v", got)
	}
	if f := b.Catalog.Scripts[0].Findings; len(f) != 1 || f[0] != (policy.Finding{ID: "dangerous-command", Level: policy.Error}) {
		t.Errorf("the findings of flush are %+v", f)
	}
	if got := []policy.Class{policy.ClassWrite, policy.ClassRead, policy.ClassWrite}; !reflect.DeepEqual(b.class, got) {
		t.Errorf("the classes are %v, want %v", b.class, got)
	}
}

func TestEachBodyIsAnalysedOnce(t *testing.T) {
	known := new(factBook)
	one, two := version("a", "v1", active), version("a", "v2", nil)
	first := known.of([]entry{one})
	again := known.of([]entry{two, one})
	if again[1] != first[0] || again[0] == first[0] {
		t.Error("a body that was known is analysed again")
	}
	known.of([]entry{two})
	if len(known.known) != 1 {
		t.Errorf("%d bodies are remembered, and one is needed", len(known.known))
	}
}

func TestExplainLetsGreetingsPassTheDefault(t *testing.T) {
	b := book(t, policy.Spec{Mode: policy.ModeEnforce, DefaultCommands: policy.Deny, Rules: []policy.Rule{
		{Name: "no-ping", Match: policy.Match{Commands: []string{"ping"}, Users: []string{"mute"}}, Action: policy.Deny},
	}})
	for _, c := range []struct{ user, command, verdict, rule string }{
		{"app", "PING", "allow", ""}, {"app", "auth", "allow", ""}, {"app", "get", "deny", ""}, {"mute", "ping", "deny", "no-ping"},
	} {
		a, err := b.Explain(api.PolicyQuery{User: c.user, Command: c.command})
		if err != nil || a.Verdict != c.verdict || a.Rule != c.rule {
			t.Errorf("%s of %s: %+v, %v", c.command, c.user, a, err)
		}
	}
}

func TestExplainRefusesWhatItCannotUnderstand(t *testing.T) {
	b := book(t, policy.Spec{}, version("transfer", "v1", active))
	for says, q := range map[string]api.PolicyQuery{
		"say what is called":                {User: "a"},
		"did you mean transfer?":            {Script: "trans"},
		"'x' is no IP address":              {Script: "transfer", Addr: "x"},
		"there is no listener 'x'":          {Script: "transfer", Listener: "x"},
		"unknown class 'x'":                 {Script: "transfer", Class: "x"},
		"EVALSHA is a script call":          {Command: "evalsha"},
		"one of command, script, function ": {Command: "get", Script: "transfer"},
	} {
		_, err := b.Explain(q)
		if e := new(api.Error); !errors.As(err, &e) || !strings.Contains(e.Message, says) {
			t.Errorf("%+v: %v, want %q", q, err, says)
		}
	}
}

func TestTheACLIsForTheUsersThatCallsTravelAs(t *testing.T) {
	rules := []policy.Rule{
		{Match: policy.Match{Users: []string{"app", "batch-*", "loader"}}}, {Match: policy.Match{Users: []string{"web"}}},
	}
	passthrough := config.Default()
	passthrough.Upstream.Username = "loader"
	users, shared := dataUsers(passthrough, rules, []string{"seen"})
	want := []acl.User{{Name: "app", Callers: []string{"app"}}, {Name: "seen", Callers: []string{"seen"}}, {Name: "web", Callers: []string{"web"}}}
	if !reflect.DeepEqual(users, want) || shared {
		t.Errorf("passthrough: %+v, shared %v", users, shared)
	}
	if _, shared := dataUsers(passthrough, nil, []string{"loader"}); !shared {
		t.Error("a client that comes as the proxy's own user is not noticed")
	}
	service := config.Default()
	service.Auth.Mode = config.AuthService
	service.Auth.Users = []config.User{{Name: "a", UpstreamUsername: "data"}, {Name: "b", UpstreamUsername: "data"}}
	users, shared = dataUsers(service, rules, nil)
	if want := []acl.User{{Name: "data", Callers: []string{"a", "b"}}}; !reflect.DeepEqual(users, want) || shared {
		t.Errorf("service: %+v, shared %v", users, shared)
	}
	service.Auth.Users = append(service.Auth.Users, config.User{Name: "c"})
	if _, shared = dataUsers(service, rules, nil); !shared {
		t.Error("a user without an upstream_username travels as the proxy's own user, and that is not noticed")
	}
}

func TestWarningsNameTheServersThatTheyAreAbout(t *testing.T) {
	var w wall
	w.set("a:1", nodeWall{gaps: []string{"everywhere", "only here"}, apart: []string{"app"}})
	if !w.set("b:1", nodeWall{gaps: []string{"everywhere"}, apart: []string{"app", "web"}}) {
		t.Error("users that may not load are no change")
	}
	if w.set("b:1", nodeWall{gaps: []string{"everywhere"}, apart: []string{"app", "web"}}) {
		t.Error("the same users again are a change")
	}
	if got, want := w.warnings(), []string{"everywhere", "only here (a:1)"}; !reflect.DeepEqual(got, want) {
		t.Errorf("the warnings are %q, want %q", got, want)
	}
	if got, want := w.mayNotLoad(), map[string]bool{"app": true, "web": true}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v may not load, want %v", got, want)
	}
}
