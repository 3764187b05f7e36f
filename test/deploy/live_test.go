//go:build linux

package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestQueriesReturnDataUnderLoad has a real Prometheus scrape two proxies which run, heal, kill, refuse and activate scripts, and asks it every query of
// the dashboards and of the rules.
func TestQueriesReturnDataUnderLoad(t *testing.T) {
	f := startFleet(t)
	p := startPrometheus(t, f)
	ctx, stop := context.WithCancel(context.Background())
	wait := f.load(ctx)
	defer func() { stop(); wait() }()

	f.operate(t, "canary", "-yes", "transfer", "v2", "20")
	time.Sleep(14 * time.Second) // longer than the interval of the annotations
	f.operate(t, "promote", "-yes", "transfer")
	time.Sleep(12 * time.Second) // longer than the interval of the rates
	p.until = time.Now()
	stop()
	wait()

	report := &report{fleet: f}
	for _, name := range []string{"overview", "scripts", "nodes", "fleet"} {
		d := dashboards(t, dashboardDir)[name]
		report.begin(d)
		for _, panel := range d.Panels {
			for _, target := range panel.Targets {
				found, err := p.ask(interpolate(target.Expr, d))
				if err != nil {
					t.Errorf("%s: panel %q: %v", name, panel.Title, err)
				}
				report.query(panel.Title, target.Expr, found)
			}
		}
		for _, a := range d.Annotations.List {
			if a.BuiltIn == 1 {
				continue
			}
			found, err := p.ask(interpolate(a.Target.Expr, d))
			if err != nil {
				t.Errorf("%s: annotation %q: %v", name, a.Name, err)
			}
			report.query("annotation: "+a.Name, a.Target.Expr, found)
		}
		for _, v := range d.Templating.List {
			if err := p.offers(d, v); err != nil {
				t.Errorf("%s: variable %s: %v", name, v.Name, err)
			}
		}
	}

	report.beginRules()
	for _, r := range rules(t, "recording.yml") {
		found, err := p.ask(r.Record)
		if err != nil {
			t.Errorf("recording rule: %v", err)
		}
		report.query(r.Record, r.Expr, found)
	}
	report.beginAlerts()
	for _, r := range rules(t, "alerts.yml") {
		for selector := range strings.Lines(must(t, ".", tools(t), "selectors", r.Expr)) {
			found, err := p.ask(strings.TrimSpace(selector))
			if err != nil {
				t.Errorf("alert %s: %v", r.Alert, err)
			}
			report.query(r.Alert, strings.TrimSpace(selector), found)
		}
	}
	if err := p.rulesAreWell(); err != nil {
		t.Error(err)
	}
	report.finish(t)

	for what, expr := range map[string]string{
		"a label that does not exist":  `sum(scriptproxy_links{kinds="shared"})`,
		"a value that does not exist":  `sum(scriptproxy_links{kind="share"})`,
		"a metric that does not exist": `sum(scriptproxy_link)`,
		"labels that do not match":     `scriptproxy_upstream_up / scriptproxy_sessions`,
	} {
		if _, err := p.ask(expr); !errors.Is(err, errNoData) {
			t.Errorf("%s: %s: got %v, want no data", what, expr, err)
		}
	}
	if _, err := p.ask(`sum by (node (scriptproxy_links)`); err == nil || errors.Is(err, errNoData) {
		t.Errorf("a query that is none: %v", err)
	}
}

var labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)

// offers returns nil when a variable has values to choose from. Only Kubernetes gives namespaces.
func (p *prometheus) offers(d dashboard, v variable) error {
	if v.Type == "datasource" || v.Name == "namespace" {
		return nil
	}
	m := labelValues.FindStringSubmatch(v.Definition)
	var query struct{ Query string }
	if err := json.Unmarshal(v.Query, &query); err != nil || m == nil || query.Query != v.Definition {
		return errors.New("it is no label_values(selector, label)")
	}
	var values []string
	err := p.get("/api/v1/label/"+m[2]+"/values", url.Values{"match[]": {interpolate(m[1], d)}}, &values)
	if err == nil && len(values) == 0 {
		err = errNoData
	}
	return err
}

// rulesAreWell returns nil when Prometheus evaluates every rule of both files without an error.
func (p *prometheus) rulesAreWell() error {
	var answer struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := p.get("/api/v1/rules", nil, &answer); err != nil {
		return err
	}
	var names []string
	var problems []error
	for _, group := range answer.Groups {
		for _, r := range group.Rules {
			names = append(names, r.Name)
			if r.Health != "ok" || r.LastError != "" {
				problems = append(problems, errors.New("rule "+r.Name+" is "+r.Health+": "+r.LastError))
			}
		}
	}
	if !slices.Contains(names, "ScriptproxyNoPrimary") {
		problems = append(problems, errors.New("Prometheus has not loaded the alerts"))
	}
	return errors.Join(problems...)
}
