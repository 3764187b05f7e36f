package acl

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/policy"
)

var update = flag.Bool("update", false, "write the golden files")

// smallServer has few commands, so that plans can be read.
var smallServer = []policy.Command{
	{Name: "GET", Categories: []string{"read"}}, {Name: "SET", Categories: []string{"write"}},
	{Name: "KEYS", Categories: []string{"read", "dangerous"}}, {Name: "FLUSHALL", Categories: []string{"write", "dangerous"}},
	{Name: "CONFIG"}, {Name: "CONFIG|GET", Categories: []string{"dangerous"}}, {Name: "CONFIG|SET", Categories: []string{"dangerous"}},
	{Name: "SCRIPT"}, {Name: "SCRIPT|LOAD"}, {Name: "SCRIPT|EXISTS"}, {Name: "SCRIPT|FLUSH"}, {Name: "SCRIPT|KILL"},
	{Name: "EVAL"}, {Name: "EVALSHA"}, {Name: "EVALSHA_RO"}, {Name: "FCALL"}, {Name: "PING"}, {Name: "RESET"}, {Name: "AUTH"}, {Name: "COMMAND"}, {Name: "COMMAND|DOCS"},
}

func deny(name string, m policy.Match) policy.Rule {
	return policy.Rule{Name: name, Action: policy.Deny, Match: m}
}

func allow(name string, m policy.Match) policy.Rule {
	return policy.Rule{Name: name, Action: policy.Allow, Match: m}
}

func TestPlans(t *testing.T) {
	app := []User{{Name: "app", Callers: []string{"app"}}}
	scripts := []policy.Script{
		{Name: "transfer", Version: "v1", Commands: []string{"GET", "SET"}},
		{Name: "report", Version: "v1", Commands: []string{"KEYS"}},
		{Name: "raw", Version: "v1"},
	}
	var b strings.Builder
	for _, c := range []struct {
		title   string
		spec    policy.Spec
		scripts []policy.Script
		options Options
	}{
		{"no rules", policy.Spec{}, nil, Options{Users: app, Loader: "loader"}},
		{"a denied command", policy.Spec{Rules: []policy.Rule{deny("no-flush", policy.Match{Commands: []string{"flushall"}})}}, nil, Options{Users: app}},
		{"a whole container, and one subcommand", policy.Spec{Rules: []policy.Rule{
			deny("no-config", policy.Match{Commands: []string{"config"}}), deny("no-docs", policy.Match{Commands: []string{"command|docs"}}),
		}}, nil, Options{Users: app}},
		{"a container without its subcommands cannot be denied", policy.Spec{Rules: []policy.Rule{deny("bare", policy.Match{Commands: []string{"command|"}})}}, nil, Options{Users: app}},
		{"denied inside of scripts", policy.Spec{Rules: []policy.Rule{deny("no-keys", policy.Match{Uses: []string{"@dangerous"}})}}, nil, Options{Users: app}},
		{"denied inside, behind a rule about strangers", policy.Spec{Rules: []policy.Rule{
			deny("strangers", policy.Match{Registered: new(bool)}), deny("no-keys", policy.Match{Uses: []string{"keys"}}),
		}}, nil, Options{Users: app}},
		{"denied inside, allowed outside", policy.Spec{Rules: []policy.Rule{
			allow("may", policy.Match{Commands: []string{"keys"}}), deny("no-keys", policy.Match{Uses: []string{"keys"}}),
		}}, nil, Options{Users: app}},
		{"denied under conditions", policy.Spec{Rules: []policy.Rule{
			deny("far", policy.Match{Commands: []string{"flushall"}, Networks: []string{"192.0.2.0/24"}}),
			deny("night", policy.Match{Uses: []string{"keys"}, Hours: []string{"22:00-06:00"}}),
		}}, nil, Options{Users: app}},
		{"a script that needs what is denied", policy.Spec{Rules: []policy.Rule{deny("no-keys", policy.Match{Commands: []string{"keys"}})}}, scripts, Options{Users: app}},
		{"operators may lift the wall", policy.Spec{Rules: []policy.Rule{
			allow("ops", policy.Match{Users: []string{"ops"}, Commands: []string{"config|set"}}), deny("no-config", policy.Match{Commands: []string{"config"}}),
		}}, nil, Options{Users: []User{{Name: "ops", Callers: []string{"ops"}}, {Name: "app", Callers: []string{"app"}}}}},
		{"a service account is what all callers need together", policy.Spec{Rules: []policy.Rule{
			deny("app", policy.Match{Users: []string{"app"}, Commands: []string{"keys", "flushall"}}),
			deny("all", policy.Match{Commands: []string{"flushall"}}),
		}}, nil, Options{Users: []User{{Name: "service"}, {Name: "two", Callers: []string{"app", "web"}}}}},
		{"deny by default", policy.Spec{DefaultCommands: policy.Deny, Default: policy.Deny, Rules: []policy.Rule{
			deny("never", policy.Match{Commands: []string{"keys"}}),
			allow("reads", policy.Match{Users: []string{"app"}, Commands: []string{"get", "command|"}}),
			allow("scripts", policy.Match{Users: []string{"app"}, Scripts: []string{"transfer", "report"}}),
		}}, scripts, Options{Users: app}},
		{"deny by default, strangers allowed", policy.Spec{DefaultCommands: policy.Deny}, scripts[2:], Options{Users: app}},
		{"what a server does not check", policy.Spec{Rules: []policy.Rule{deny("no-reset", policy.Match{Commands: []string{"reset"}})}}, nil, Options{Users: app}},
	} {
		catalog := policy.Catalog{Commands: smallServer, Scripts: c.scripts}
		set, err := policy.Compile(c.spec, catalog)
		if err != nil {
			t.Fatalf("%s: %v", c.title, err)
		}
		p := plan(t, set, catalog, c.options)
		fmt.Fprintf(&b, "# %s\n%s\n", c.title, strings.Join(p.Lines(), "\n"))
		for _, n := range p.Notes {
			fmt.Fprintf(&b, "note: %s\n", n)
		}
		b.WriteByte('\n')
		checkPlanHolds(t, c.title, p)
	}
	golden(t, "testdata/plans.golden", b.String())
}

// checkPlanHolds reads the plan's rules back: starting from a user who may do everything, they must leave no gap
// but the one that cannot be closed.
func checkPlanHolds(t *testing.T, title string, p *Plan) {
	t.Helper()
	var states []State
	for _, u := range p.Users {
		states = append(states, State{Name: u.Name, Exists: true, On: true, Commands: "+@all " + strings.Join(u.Rules, " ")})
	}
	gaps, err := p.Check(states)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gaps {
		if title == "a container without its subcommands cannot be denied" && slices.Equal(g.Commands, []string{"command"}) {
			continue
		}
		t.Errorf("%s: %s", title, g.Text)
	}
}

func TestPlansThatMakeNoSenseAreRefused(t *testing.T) {
	catalog := policy.Catalog{Commands: smallServer}
	set, err := policy.Compile(policy.Spec{}, catalog)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		catalog policy.Catalog
		options Options
		want    string
	}{
		{policy.Catalog{}, Options{Users: []User{{Name: "a"}}}, "cannot make an ACL without knowing the server's commands"},
		{catalog, Options{}, "cannot make an ACL for no users"},
		{catalog, Options{Users: []User{{Name: "a"}}, Loader: "a"}, "the user 'a' cannot both load scripts and carry clients' calls: whoever may load any script is bound by none"},
		{catalog, Options{Users: []User{{Name: "a"}, {Name: "a"}}}, "the user 'a' is given twice"},
		{catalog, Options{Users: []User{{Name: "a b"}}}, "'a b' cannot be the name of a user: Redis takes no empty ones, and none with spaces"},
	} {
		if _, err := Generate(set, c.catalog, c.options); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

func TestUsersAreReadFromEveryFormOfTheReply(t *testing.T) {
	want := State{Name: "u", Exists: true, On: true, NoPass: true, Commands: "-@all +get", Selectors: []string{"-@all +set"}}
	flags := []any{"on", "nopass"}
	selector := []any{"commands", "-@all +set", "keys", "~x", "channels", ""}
	for name, reply := range map[string]any{
		"list":       []any{"flags", flags, "passwords", []any{}, "commands", "-@all +get", "keys", "~*", "channels", "&*", "selectors", []any{selector}},
		"map":        map[string]any{"flags": flags, "commands": "-@all +get", "selectors": []any{map[string]any{"commands": "-@all +set"}}},
		"map of any": map[any]any{"flags": flags, "commands": "-@all +get", "selectors": []any{selector}},
	} {
		got, err := ParseGetUser("u", reply)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if s, err := ParseGetUser("u", nil); err != nil || s.Exists {
		t.Errorf("a user that does not exist: %+v, %v", s, err)
	}
	for _, reply := range []any{"text", []any{"flags", flags}, []any{"commands", "", "selectors", []any{"x"}}} {
		if s, err := ParseGetUser("u", reply); err == nil {
			t.Errorf("%v is read as %+v", reply, s)
		}
	}
}

func TestSelectorsAndPartialGrantsAreHoles(t *testing.T) {
	catalog := policy.Catalog{Commands: smallServer}
	set, err := policy.Compile(policy.Spec{Rules: []policy.Rule{deny("no", policy.Match{Commands: []string{"keys"}})}}, catalog)
	if err != nil {
		t.Fatal(err)
	}
	p := plan(t, set, catalog, Options{Users: []User{{Name: "u"}}})
	rules := "-@all " + strings.Join(p.Users[0].Rules, " ")
	for _, c := range []struct {
		state State
		want  []string
	}{
		{State{Commands: rules}, nil},
		{State{Commands: rules, Selectors: []string{"-@all +keys"}}, []string{"keys"}},
		{State{Commands: rules + " +keys|a*"}, []string{"keys"}},
		{State{Commands: rules + " +@dangerous"}, []string{"config|set", "keys"}},
		{State{Commands: "-@all +eval"}, []string{"eval", "evalsha", "evalsha_ro", "fcall", "script|exists"}},
	} {
		c.state.Name, c.state.Exists, c.state.On = "u", true, true
		gaps, err := p.Check([]State{c.state})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range gaps {
			for _, name := range g.Commands {
				if name != "flushall" {
					got = append(got, name)
				}
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %v, want %v", c.state, got, c.want)
		}
	}
	if _, err := p.Check([]State{{Name: "u", Exists: true, Commands: "get"}}); err == nil {
		t.Error("a rule that is none is accepted")
	}
}

func TestNamesAreQuotedForTheCommandLine(t *testing.T) {
	for word, want := range map[string]string{"app": "app", "~*": "~*", `a"b`: `"a\"b"`, `a\b`: `"a\\b"`, "": `""`, "it's": `"it's"`, "a\nb": `"a\nb"`} {
		if got := quote(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it); got:\n%s", file, got)
	}
}
