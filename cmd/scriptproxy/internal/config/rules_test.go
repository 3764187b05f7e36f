package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/policy"
)

// rulesCatalog is what the rule files in testdata speak of.
func rulesCatalog() policy.Catalog {
	return policy.Catalog{
		Scripts: []policy.Script{
			{Name: "transfer", Version: "v1", SHA: strings.Repeat("1", 40), Tags: []string{"money"}, Commands: []string{"GET", "SET"}},
			{Name: "transfer", Version: "v2", SHA: strings.Repeat("2", 40), Tags: []string{"money"}, Commands: []string{"GET", "SET"}},
			{Name: "report", Version: "v1", SHA: strings.Repeat("3", 40), Tags: []string{"slow"}, Commands: []string{"KEYS"},
				Findings: []policy.Finding{{ID: "slow-command", Level: policy.Error}}},
		},
		Commands: []policy.Command{
			{Name: "GET"}, {Name: "SET"}, {Name: "KEYS", Categories: []string{"dangerous"}}, {Name: "FLUSHALL", Categories: []string{"dangerous"}},
			{Name: "CONFIG"}, {Name: "CONFIG|SET", Categories: []string{"dangerous"}}, {Name: "EVAL"},
		},
		Listeners: []string{"front", "ops"},
		Findings:  []policy.Finding{{ID: "slow-command", Level: policy.Error}},
	}
}

func TestInvalidRuleFilesAreRefusedWithEveryMistakeAndItsLine(t *testing.T) {
	files, err := filepath.Glob("testdata/rules-invalid-*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("found %d files in testdata: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			spec, err := ParseRules(filepath.Base(file), data)
			if err == nil {
				var set *policy.Set
				if set, err = policy.Compile(spec, rulesCatalog()); err == nil {
					t.Fatalf("%s was accepted: %+v", file, set.Spec())
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".err", err.Error()+"\n")
		})
	}
}

func TestAnUnreadableRuleFileIsSaidToBe(t *testing.T) {
	if _, err := LoadRules("testdata/rules-nosuch.yaml"); err == nil || !strings.Contains(err.Error(), "cannot read the rules: open testdata/rules-nosuch.yaml") {
		t.Errorf("%v", err)
	}
}

// loadExample compiles testdata/rules-example.yaml, which uses every key.
func loadExample(t *testing.T) *policy.Set {
	t.Helper()
	spec, err := LoadRules("testdata/rules-example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	spec.Mode = policy.ModeEnforce
	set, err := policy.Compile(spec, rulesCatalog())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestARuleFileDecides(t *testing.T) {
	set := loadExample(t)
	noon := time.Date(2024, 5, 15, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		user, command string
		script        policy.ScriptRef
		keys          int
		bytes         int64
		at            time.Time
		action        policy.Action
		rule          string
	}{
		{user: "app", command: "FLUSHALL", action: policy.Deny, rule: "no-danger"},
		{user: "ops", command: "FLUSHALL", action: policy.Allow},
		{user: "app", command: "GET", action: policy.Allow},
		{user: "app", script: 0, keys: 2, bytes: 100, action: policy.Allow, rule: "money"},
		{user: "app", script: 0, keys: 3, bytes: 100, action: policy.Deny},
		{user: "app", script: 0, keys: 2, bytes: 4097, action: policy.Deny},
		{user: "app", script: 2, action: policy.Audit, rule: "try-lint"},
		{user: "app", script: policy.Unregistered, action: policy.Deny, rule: "strangers"},
		{user: "app", script: 2, at: time.Date(2024, 5, 18, 12, 0, 0, 0, time.UTC), action: policy.Deny, rule: "weekend"},
	} {
		if c.at.IsZero() {
			c.at = noon
		}
		r := policy.Request{User: c.user, Script: c.script, Keys: c.keys, ArgBytes: c.bytes, Now: set.Moment(c.at)}
		if c.command != "" {
			r.Command = set.Command(c.command, "")
		}
		v := set.Decide(&r)
		rule := ""
		if v.Rule != policy.NoRule {
			rule = set.Rules()[v.Rule].Name
		}
		if v.Action != c.action || rule != c.rule {
			t.Errorf("%+v: %v by %q", c, v.Action, rule)
		}
	}
}

func TestEveryKeyOfARuleReachesThePolicy(t *testing.T) {
	rules := loadExample(t).Rules()
	// Each field that some rule of the example sets is one that is read.
	unset := map[string]bool{}
	for _, typ := range []reflect.Type{reflect.TypeFor[policy.Rule](), reflect.TypeFor[policy.Match]()} {
		for i := range typ.NumField() {
			unset[typ.Field(i).Name] = true
		}
	}
	for _, r := range rules {
		for _, v := range []reflect.Value{reflect.ValueOf(r), reflect.ValueOf(r.Match)} {
			for i := range v.NumField() {
				if !v.Field(i).IsZero() {
					delete(unset, v.Type().Field(i).Name)
				}
			}
		}
	}
	if len(unset) > 0 {
		t.Errorf("the example sets no %v, or its key is not read", unset)
	}
	if r := rules[2]; r.Line != 18 || r.Lines["deadline"] == 0 || r.Lines["tags"] == 0 {
		t.Errorf("lines of rule %s: %d, %v", r.Name, r.Line, r.Lines)
	}
}

func TestRulesAreWrittenAsTheyAreRead(t *testing.T) {
	odd := policy.Spec{Default: policy.Deny, DefaultCommands: policy.Allow, Rules: []policy.Rule{
		{Name: "odd: names # here", Action: policy.Deny, Message: "it's \"quoted\"", Match: policy.Match{
			Users:    []string{"null", "true", "10", "~", "a,b", "[x]", "*", "- y", "!env z", "ü", "0x1F", "1e3", "2024-01-01", ""},
			Networks: []string{"::/0", "unix"}, Commands: []string{"@all", "config|", "%x"}, Hours: []string{"22:00-06:00"}, Zone: "UTC",
		}},
		{Name: "second", Rates: []policy.Rate{{Per: policy.PerScript, Limit: 0.5}, {Per: policy.PerUser, Limit: 10, Burst: 7}}, Version: "1.10"},
	}}
	zero, size, registered := 0, int64(1<<20), false
	odd.Rules[1].Match = policy.Match{MinKeys: &zero, MaxArgBytes: &size, Registered: &registered}
	for name, spec := range map[string]policy.Spec{"example": loadExample(t).Spec(), "odd": odd, "empty": {}} {
		data, err := FormatRules(spec, "first line\nsecond line")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		back, err := ParseRules("written", data)
		if err != nil {
			t.Fatalf("%s is not read back: %v\n%s", name, err, data)
		}
		if !strings.HasPrefix(string(data), "# first line\n# second line\n") {
			t.Errorf("%s: the comment is missing:\n%s", name, data)
		}
		if a, b := plainSpec(spec), plainSpec(back); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: written\n%+v\nread\n%+v\n%s", name, a, b, data)
		}
	}
	data, err := FormatRules(loadExample(t).Spec(), "Written by FormatRules.")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/rules-written.yaml", string(data))
}

// plainSpec leaves out what a rule file does not say.
func plainSpec(spec policy.Spec) policy.Spec {
	spec.Mode, spec.File = 0, ""
	rules := make([]policy.Rule, len(spec.Rules))
	for i, r := range spec.Rules {
		r.Line, r.Lines = 0, nil
		rules[i] = r
	}
	spec.Rules = rules
	return spec
}

func TestRuleFilesWithManyAliasesAreRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("rules:\n- match: {users: &a [x, x, x, x, x, x, x, x, x, x]}\n")
	b.WriteString("- match: {users: &b [*a, *a, *a, *a, *a, *a, *a, *a]}\n")
	if _, err := ParseRules("aliases", []byte(b.String())); err == nil {
		t.Error("lists of lists are accepted")
	}
}

func FuzzRulesAreWrittenAsTheyAreRead(f *testing.F) {
	for _, file := range []string{"testdata/rules-example.yaml", "testdata/rules-written.yaml", "testdata/rules-invalid-rules.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, err := ParseRules("rules", data)
		if err != nil {
			return
		}
		written, err := FormatRules(spec, "")
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseRules("written", written)
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		a, err := FormatRules(back, "")
		if err != nil || string(a) != string(written) {
			t.Fatalf("%v: written\n%s\nread and written again\n%s", err, written, a)
		}
	})
}
