package admin

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
)

// withPolicy is a bench whose policy desk knows one rule, and a script "transfer".
func withPolicy(o *Options) {
	var run *api.Learning
	ended := func() (api.Learning, error) {
		if run == nil {
			return api.Learning{}, &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Message: "there was no run"}
		}
		run.Rules = "rules: []\n"
		return *run, nil
	}
	o.Policy = PolicyDesk{
		State: func() api.Policy {
			return api.Policy{
				Mode: "enforce", Default: "allow", DefaultCommands: "deny", Rules: []api.PolicyRule{{Name: "no-keys", Action: "deny", Line: 3, Denied: 7}, {}},
				Warnings: []string{}, Wall: []string{"user 'app' may run KEYS"}, Learning: run,
			}
		},
		Explain: func(q api.PolicyQuery) (*api.PolicyAnswer, error) {
			if q.Script != "transfer" {
				return nil, &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Message: "no script '" + q.Script + "'"}
			}
			return &api.PolicyAnswer{
				Verdict: "deny", Rule: "no-keys", Line: 3, Reason: "because", Mode: "enforce", Of: "script", Text: "denied",
				Attributes: []api.PolicyAttribute{{Name: "route", Value: "replica", Rule: "r"}},
				Rules: []api.ExplainedRule{{Name: "no-keys", Action: "deny", Matches: "depends", Conditions: []api.PolicyCondition{
					{Field: "users", Wants: "a", Has: "not given", Holds: "depends"},
				}}},
			}, nil
		},
		Learn: func(q api.Learn) (api.Learning, error) {
			run = &api.Learning{Running: true, Started: time.Now(), Until: time.Now().Add(time.Minute), Notes: []string{}}
			return *run, nil
		},
		Learned:      ended,
		StopLearning: ended,
	}
}

func TestThePolicysAnswersAreAsDescribed(t *testing.T) {
	s := newSchemas(t)
	b := newBench(t, withPolicy)
	for _, step := range []struct{ method, path, body, schema string }{
		{"GET", "/api/v1/policy", "", "Policy"},
		{"POST", "/api/v1/policy/explain", `{"user": "a", "script": "transfer", "keys": 0}`, "PolicyAnswer"},
		{"POST", "/api/v1/policy/explain", `{"script": "tranfer"}`, "Error"},
		{"POST", "/api/v1/policy/explain", `{"skript": "transfer"}`, "Error"},
		{"GET", "/api/v1/policy/learn", "", "Error"},
		{"POST", "/api/v1/policy/learn", `{"for": "10m", "networks": false}`, "Learning"},
		{"POST", "/api/v1/policy/learn", `{"for": 10}`, "Error"},
		{"GET", "/api/v1/policy/learn", "", "Learning"},
		{"DELETE", "/api/v1/policy/learn", "", "Learning"},
		{"GET", "/api/v1/policy", "", "Policy"},
	} {
		what := step.method + " " + step.path + " " + step.body
		resp := b.request(step.method, step.path, step.body)
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if (resp.StatusCode == 200) == (step.schema == "Error") {
			t.Errorf("%s: status %d: %s", what, resp.StatusCode, text)
		}
		s.check(what, "/components/schemas/"+step.schema, text)
	}
}

func TestReadinessShowsWarningsToWhoIsReady(t *testing.T) {
	s := newSchemas(t)
	reasons := []string{}
	b := newBench(t, func(o *Options) {
		o.Ready = func() []string { return reasons }
		o.Warnings = func() []string { return []string{"the server lets user 'app' run KEYS"} }
	})
	read := func(want int, header ...string) string {
		resp := b.request("GET", "/readyz", "", header...)
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want {
			t.Fatal(resp.StatusCode, err)
		}
		return string(text)
	}
	if text := read(200); text != "ok\nwarning: the server lets user 'app' run KEYS\n" {
		t.Errorf("readyz says %q", text)
	}
	s.check("readiness", "/components/schemas/Ready", []byte(read(200, "Accept", "application/json")))
	reasons = []string{"draining"}
	if text := read(503); text != "draining\nwarning: the server lets user 'app' run KEYS\n" {
		t.Errorf("readyz says %q", text)
	}
	if text := read(503, "Accept", "application/json"); !strings.Contains(text, `"ready": false`) {
		t.Errorf("readyz says %q", text)
	}
}
