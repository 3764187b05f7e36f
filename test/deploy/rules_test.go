//go:build linux

package deploy

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	prometheusDir = root + "/deploy/prometheus"
	runbookDir    = root + "/docs/runbooks"
	runbookURL    = "https://github.com/scriptproxy/scriptproxy/blob/main/docs/runbooks/"
)

// rule is an alerting or recording rule.
type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

// yamlAs decodes the one document of a YAML file.
func yamlAs[T any](t *testing.T, path string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(must(t, ".", tools(t), "json", path)), &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// rules returns the rules of a file of deploy/prometheus.
func rules(t *testing.T, name string) []rule {
	t.Helper()
	file := yamlAs[struct{ Groups []struct{ Rules []rule } }](t, filepath.Join(prometheusDir, name))
	var all []rule
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		t.Fatalf("%s has no rules", name)
	}
	return all
}

func ruleTests(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(prometheusDir + "/tests/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no rule tests: %v", err)
	}
	return files
}

func TestPromtoolAcceptsTheRulesAndTheirTestsPass(t *testing.T) {
	promtool := installed(t, "promtool")
	must(t, prometheusDir, promtool, "check", "rules", "--lint-fatal", "recording.yml", "alerts.yml")
	args := []string{"test", "rules"}
	for _, file := range ruleTests(t) {
		args = append(args, "tests/"+filepath.Base(file))
	}
	must(t, prometheusDir, promtool, args...)
}

func TestEveryAlertIsTestedFiringAndNotFiring(t *testing.T) {
	firing, silent := map[string]bool{}, map[string]bool{}
	for _, path := range ruleTests(t) {
		file := yamlAs[struct {
			Tests []struct {
				AlertRuleTest []struct {
					AlertName string           `json:"alertname"`
					ExpAlerts []map[string]any `json:"exp_alerts"`
				} `json:"alert_rule_test"`
			}
		}](t, path)
		for _, test := range file.Tests {
			for _, a := range test.AlertRuleTest {
				if len(a.ExpAlerts) > 0 {
					firing[a.AlertName] = true
				} else {
					silent[a.AlertName] = true
				}
			}
		}
	}
	for _, r := range rules(t, "alerts.yml") {
		if !firing[r.Alert] {
			t.Errorf("no test has %s fire", r.Alert)
		}
		if !silent[r.Alert] {
			t.Errorf("no test has %s not fire", r.Alert)
		}
	}
}

func TestEveryAlertHasARunbookAndSaysHowUrgentItIs(t *testing.T) {
	pages, err := filepath.Glob(runbookDir + "/Scriptproxy*.md")
	if err != nil {
		t.Fatal(err)
	}
	index := read(t, runbookDir+"/README.md")
	left := map[string]bool{}
	for _, page := range pages {
		left[strings.TrimSuffix(filepath.Base(page), ".md")] = true
	}
	for _, r := range rules(t, "alerts.yml") {
		if !left[r.Alert] {
			t.Errorf("%s has no page in docs/runbooks", r.Alert)
			continue
		}
		delete(left, r.Alert)
		if want := runbookURL + r.Alert + ".md"; r.Annotations["runbook_url"] != want {
			t.Errorf("the runbook_url of %s is %q, want %q", r.Alert, r.Annotations["runbook_url"], want)
		}
		severity := r.Labels["severity"]
		if severity != "page" && severity != "ticket" {
			t.Errorf("the severity of %s is %q", r.Alert, severity)
		}
		for _, name := range []string{"summary", "description"} {
			if r.Annotations[name] == "" {
				t.Errorf("%s has no %s", r.Alert, name)
			}
		}
		text := read(t, filepath.Join(runbookDir, r.Alert+".md"))
		for _, part := range []string{"# " + r.Alert + "\n", "Severity: " + severity + ".", "## What it means\n", "## What to look at\n", "## What to do\n", "```sh"} {
			if !strings.Contains(text, part) {
				t.Errorf("the runbook of %s lacks %q", r.Alert, part)
			}
		}
		if row := "| [" + r.Alert + "](" + r.Alert + ".md) | " + severity + " |"; !strings.Contains(index, row) {
			t.Errorf("the index of the runbooks lacks %q", row)
		}
	}
	for name := range left {
		t.Errorf("docs/runbooks has a page for %s, which is no alert", name)
	}
}

// metricNames are the families of docs/metrics.md, and what else has the prefix: nothing.
func metricNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, m := range regexp.MustCompile("(?m)^### `([a-z_]+)`$").FindAllStringSubmatch(read(t, root+"/docs/metrics.md"), -1) {
		names = append(names, m[1])
	}
	if len(names) < 20 {
		t.Fatalf("docs/metrics.md was not understood: %v", names)
	}
	return names
}

var prefixed = regexp.MustCompile(`(?:^|[^:\w])(scriptproxy_[a-z_]+)`)

// unknownMetrics returns the metrics in text that docs/metrics.md does not have.
func unknownMetrics(known []string, text string) []string {
	var unknown []string
	for _, m := range prefixed.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(known, family(known, m[1])) {
			unknown = append(unknown, m[1])
		}
	}
	return unknown
}

// family is the metric that a series belongs to: a histogram has several.
func family(known []string, name string) string {
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if base := strings.TrimSuffix(name, suffix); slices.Contains(known, base) {
			return base
		}
	}
	return name
}

func TestRulesAskOnlyForMetricsThatExist(t *testing.T) {
	known := metricNames(t)
	for _, file := range []string{"recording.yml", "alerts.yml"} {
		for _, r := range rules(t, file) {
			if unknown := unknownMetrics(known, r.Expr); len(unknown) > 0 {
				t.Errorf("%s%s asks for %v", r.Alert, r.Record, unknown)
			}
		}
	}
	if got := unknownMetrics(known, "rate(scriptproxy_script_call_total[5m])"); len(got) != 1 {
		t.Errorf("a metric that does not exist is not found")
	}
}

func TestAMistakeInARuleFailsItsTests(t *testing.T) {
	promtool := installed(t, "promtool")
	for name, change := range map[string]struct{ tests, file, old, new string }{
		"a label that does not exist":  {"nodes.yml", "alerts.yml", "max by (namespace, job, node) (scriptproxy_replica_lag_seconds)", "max by (namespace, job, instanze) (scriptproxy_replica_lag_seconds)"},
		"a label value that is wrong":  {"scripts.yml", "recording.yml", `verdict="deny"`, `verdict="denied"`},
		"a metric that does not exist": {"scripts.yml", "recording.yml", "scriptproxy_script_heals_total", "scriptproxy_heals_total"},
		"a threshold that is too high": {"fleet.yml", "alerts.yml", "spread > 0", "spread > 2"},
		"an alert that never ends":     {"scripts.yml", "alerts.yml", "max_over_time(scriptproxy_script_breaker_state[2m])", "max_over_time(scriptproxy_script_breaker_state[2h])"},
	} {
		dir := broken(t, prometheusDir, change.file, change.old, change.new)
		if _, err := output(dir, promtool, "test", "rules", "tests/"+change.tests); err == nil {
			t.Errorf("%s passes the tests of the rules", name)
		}
	}
	dir := broken(t, prometheusDir, "alerts.yml", "sum by (namespace, job, instance) (rate(", "sum by (namespace, job, instance) rate(")
	refused(t, dir, promtool, "check", "rules", "alerts.yml")
}
