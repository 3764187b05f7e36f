package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConfigurationsTakeThePlaceOfScriptproxy(t *testing.T) {
	for list, want := range map[string][]string{
		"plain":                  {direct, scriptproxy, twemproxy},
		"policy,plain":           {direct, scriptproxy, governed, twemproxy},
		"protected":              {direct, protected, twemproxy},
		"plain,protected,policy": {direct, scriptproxy, protected, governed, twemproxy},
		"fast":                   {direct, fast, twemproxy},
	} {
		if got, err := withConfigs([]string{direct, scriptproxy, twemproxy}, list); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", list, got, err)
		}
	}
	if _, err := withConfigs([]string{scriptproxy}, "plain,faster"); err == nil || !strings.Contains(err.Error(), `"faster"`) {
		t.Errorf("an unknown one: %v", err)
	}
}

func TestEveryConfigurationCanBeStarted(t *testing.T) {
	program := filepath.Join(t.TempDir(), "scriptproxy")
	if err := os.WriteFile(program, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range configTargets {
		if _, err := commandLine(c.target, t.TempDir(), 1, 2, 3, 4, options{proxy: program, before: program}); err != nil {
			t.Errorf("%s: %v", c.config, err)
		}
	}
}

func TestPolicyHasAsManyRulesAsTheReportSays(t *testing.T) {
	if n := strings.Count(manyRules(), "- {name: "); n != policyRules {
		t.Errorf("%d rules", n)
	}
}

func TestConfigurationsAreComparedWithThePlainOneInTheSameRound(t *testing.T) {
	in := func(target string, byName bool, perSecond ...float64) row {
		r := row{Target: target, ByName: byName}
		for _, n := range perSecond {
			r.Samples = append(r.Samples, sample{PerSecond: n, P50: 1, P99: 2, ProxyCPU: 1000 / n, ProxyUser: 1})
		}
		return r
	}
	rep := &report{Groups: []groupResult{{Command: "EVALSHA", Title: "EVALSHA, 50 clients, pipeline 1", Rows: []row{
		in(direct, false, 900, 900), in(scriptproxy, false, 100, 200), in(scriptproxy, true, 400, 400), in(protected, false, 90, 180), in(protected, true, 100, 100),
	}}}}
	var out bytes.Buffer
	d := &document{w: &out, style: terminal}
	rep.writeVariants(d)
	for _, want := range []string{"scriptproxy, protected           0.90", "scriptproxy, protected, by name  0.25"} {
		if !strings.Contains(strings.Join(strings.Fields(out.String()), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), direct+" ") || d.err != nil {
		t.Errorf("%v:\n%s", d.err, out.String())
	}
	rep.Groups[0].Rows = rep.Groups[0].Rows[:3]
	out.Reset()
	rep.writeVariants(d)
	if out.Len() != 0 {
		t.Errorf("with the plain one only:\n%s", out.String())
	}
}
