package policy

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestOutcomes(t *testing.T) {
	s := compile(t, `
 ops allow users=ops commands=config
 danger deny commands=@dangerous users=app,batch
 night deny commands=set hours=22:00-06:00
 wipe allow scripts=wipe
 flush deny uses=flushall
 app deny users=app registered=false
 far deny networks=192.0.2.0/24`)
	for _, c := range []struct {
		user, command, use string
		script             ScriptRef
		want               Outcomes
	}{
		{user: "app", command: "flushall", want: Outcomes{Deny: true, DeniedBy: 1, AllowedBy: NoRule}},
		{user: "ops", command: "config|set", want: Outcomes{Allow: true, AllowedBy: 0, DeniedBy: NoRule}},
		{user: "", command: "config|set", want: Outcomes{Allow: true, Deny: true, AllowedBy: 0, DeniedBy: 1}},
		{user: "x", command: "set", want: Outcomes{Allow: true, Deny: true, AllowedBy: NoRule, DeniedBy: 2}},
		{user: "x", command: "get", want: Outcomes{Allow: true, AllowedBy: NoRule, DeniedBy: NoRule}},
		{user: "x", script: 3, want: Outcomes{Allow: true, AllowedBy: 3, DeniedBy: NoRule}},
		{user: "app", script: Unregistered, want: Outcomes{Deny: true, AllowedBy: NoRule, DeniedBy: 5}},
		{user: "x", script: 0, want: Outcomes{Allow: true, Deny: true, AllowedBy: NoRule, DeniedBy: 6}},
		{user: "x", use: "FLUSHALL", want: Outcomes{Allow: true, Deny: true, AllowedBy: 3, DeniedBy: 4}},
		{user: "", use: "get", want: Outcomes{Allow: true, AllowedBy: 3, DeniedBy: NoRule}},
	} {
		target := s.Script(c.script)
		if c.command != "" {
			target = s.Command(c.command, "")
		}
		got := s.Outcomes(c.user, target)
		if c.use != "" {
			got = s.OutcomesOfUse(c.user, c.use)
		}
		if got != c.want {
			t.Errorf("%+v: got %+v", c, got)
		}
	}
}

// Whatever happens to random calls must be among the outcomes.
func TestOutcomesHoldWhateverElseACallIs(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3))
		catalog := testCatalog()
		s := randomSet(t, r, catalog)
		spec := s.Spec()
		spec.Mode = ModeEnforce
		for range 100 {
			q := randomQuery(r, &catalog)
			action, _, _ := reference(&spec, &catalog, &q)
			request := requestFor(s, q)
			target, _, _ := s.target(request)
			outcomes := []Outcomes{s.Outcomes(q.User, target), s.Outcomes("", target)}
			if q.Command == "" && action != Deny {
				for _, c := range q.Script.Commands {
					outcomes = append(outcomes, s.OutcomesOfUse(q.User, c), s.OutcomesOfUse("", c))
				}
			}
			if i := slices.IndexFunc(outcomes, func(o Outcomes) bool { return action == Deny && !o.Deny || action != Deny && !o.Allow }); i >= 0 {
				t.Fatalf("seed %d: %v is not among the outcomes %d: %+v of %+v", seed, action, i, outcomes[i], q)
			}
		}
	}
}
