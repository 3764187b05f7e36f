package metrics

import (
	"fmt"
	"strings"
	"testing"
)

func TestRegisteringTwiceGivesTheSameID(t *testing.T) {
	m := New(Options{})
	if a, b := m.Script("s", "v1"), m.Script("s", "v1"); a != b || a == 0 {
		t.Errorf("Script: %d and %d", a, b)
	}
	if m.Script("s", "v1") == m.Script("s", "v2") {
		t.Error("two versions have one id")
	}
	if a, b := m.Node("n"), m.Node("n"); a != b || a == 0 {
		t.Errorf("Node: %d and %d", a, b)
	}
	if a, b := m.Rule("r"), m.Rule("r"); a != b || a == 0 {
		t.Errorf("Rule: %d and %d", a, b)
	}
	if id := m.Script("unregistered", ""); id != 0 {
		t.Errorf("a script named as the catch-all has id %d, want 0", id)
	}
}

func TestAHundredThousandNamesMakeABoundedNumberOfSeries(t *testing.T) {
	const names, limit = 100_000, 500
	m, ls := loops(t, Options{MaxScripts: limit}, 1)
	var ids []ScriptID
	var active []ActiveVersion
	for i := range names {
		sha := fmt.Sprintf("%040x", i)
		ids = append(ids, m.Script(sha, "v1"))
		active = append(active, ActiveVersion{sha, "v1", sha})
		m.Links(m.Node(sha), LinkShared, 1)
		m.Kill(ids[i], KillKilled)
		m.Breaker(ids[i], BreakerOpen)
	}
	m.SetActiveVersions(active)
	m.OnCollectRunning(func(emit func(node, script string, seconds float64)) {
		for i := range names {
			emit("n", active[i].Script, 1)
		}
	})
	ls[0].do(func(s *Shard) {
		for i, id := range ids {
			s.ScriptCall(id, RoutePrimary, OutcomeOK, 0, false)
			s.Heal(m.Node(active[i].SHA))
			s.Policy(m.Rule(active[i].SHA), VerdictAllow)
		}
	})
	got := values(t, m.Registry())
	expect(t, got, "script_calls_total{outcome=ok,route=primary,script=other,version=}", names-limit)
	expect(t, got, "script_heals_total{node=other}", names-maxNodes)
	expect(t, got, "policy_decisions_total{rule=other,verdict=allow}", names-maxRules)
	expect(t, got, "script_kills_total{result=killed,script=other}", names-limit)
	for name, most := range map[string]int{
		"script_calls_total":            limit + 1,
		"script_duration_seconds_count": limit + 1,
		"slow_scripts_total":            limit + 1,
		"script_active_version_info":    limit,
		"script_breaker_state":          limit + 1,
		"script_kills_total":            (limit + 1) * int(numKillResults),
		"script_heals_total":            maxNodes + 1,
		"links":                         (maxNodes + 1) * int(numLinkKinds),
		"policy_decisions_total":        (maxRules + 1) * int(numVerdicts),
		"script_running_seconds":        maxRunning,
	} {
		n := 0
		for key := range got {
			if strings.HasPrefix(key, name+"{") {
				n++
			}
		}
		if n == 0 || n > most {
			t.Errorf("%s has %d series, want 1 to %d", name, n, most)
		}
	}
}
