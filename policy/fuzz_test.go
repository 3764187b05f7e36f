package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// randomSet compiles a random policy. Rules that Compile refuses, rightly, are taken out until it is
// content; what is left is what an operator could have written.
func randomSet(t testing.TB, r *rand.Rand, catalog Catalog) *Set {
	t.Helper()
	spec := Spec{Mode: Mode(r.IntN(8) % 3), Default: pickAction(r), DefaultCommands: pickAction(r)}
	if spec.Mode == ModeOff && r.IntN(8) > 0 {
		spec.Mode = ModeEnforce
	}
	for i := range r.IntN(150) {
		spec.Rules = append(spec.Rules, randomRule(r, fmt.Sprintf("r%d", i)))
	}
	for {
		s, err := Compile(spec, catalog)
		if err == nil {
			return s
		}
		var problems Problems
		if !errors.As(err, &problems) {
			t.Fatalf("not a list of problems: %v", err)
		}
		bad := map[string]bool{}
		for _, p := range problems {
			bad[p.Rule] = true
			if strings.Contains(p.Text, "already decides") {
				checkShadowed(t, r, spec, &catalog, p)
			}
		}
		before := len(spec.Rules)
		spec.Rules = slices.DeleteFunc(slices.Clone(spec.Rules), func(r Rule) bool { return bad[r.Name] })
		if len(spec.Rules) == before {
			t.Fatalf("problems name no rule: %v", err)
		}
	}
}

// checkShadowed holds "it can never match" against random calls: to no call may the rule make a difference.
func checkShadowed(t testing.TB, r *rand.Rand, spec Spec, catalog *Catalog, p Problem) {
	t.Helper()
	n := slices.IndexFunc(spec.Rules, func(r Rule) bool { return r.Name == p.Rule })
	spec.Mode = ModeEnforce
	for range 20 {
		q := randomQuery(r, catalog)
		_, rule, attributes := reference(&spec, catalog, &q)
		for _, by := range attributes {
			if by == n {
				rule = n
			}
		}
		if rule == n {
			t.Fatalf("%v: yet it decides %+v", p, q)
		}
	}
}

func pickAction(r *rand.Rand) Action { return Action(r.IntN(3)) }

// attributesOf gives a verdict's attributes as reference does.
func attributesOf(v Verdict) map[string]int {
	names := map[attribute]string{attrRoute: "route", attrDeadline: "deadline", attrGate: "max_concurrent",
		attrScriptRate: "rate per script", attrUserRate: "rate per user", attrPriority: "priority", attrVersion: "version"}
	found := map[string]int{}
	for a, name := range names {
		if n := v.from[a]; n != 0 {
			found[name] = int(n) - 1
		}
	}
	return found
}

func sameAttributes(a, b map[string]int) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || w != v {
			return false
		}
	}
	return true
}

func checkRandomPolicy(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	catalog := testCatalog()
	s := randomSet(t, r, catalog)
	spec := s.Spec()
	for range 60 {
		q := randomQuery(r, &catalog)
		v := s.Decide(requestFor(s, q))
		action, rule, attributes := reference(&spec, &catalog, &q)
		if v.Action != action || int(v.Rule) != rule || !sameAttributes(attributesOf(v), attributes) {
			t.Fatalf("seed %d: the policy says %v by rule %d with %v, the reference %v by rule %d with %v\n%+v\n%s",
				seed, v.Action, v.Rule, attributesOf(v), action, rule, attributes, q, s.Explain(q))
		}
		checkExplanation(t, s, &spec, &catalog, q)
	}
}

// checkExplanation holds Explain against the reference in enforce mode, and a query with less given against
// itself: what it says is certain must not change with what was left out.
func checkExplanation(t *testing.T, s *Set, spec *Spec, catalog *Catalog, q Query) {
	t.Helper()
	enforced := *spec
	enforced.Mode = ModeEnforce
	action, rule, attributes := reference(&enforced, catalog, &q)
	e := s.Explain(q)
	got := map[string]int{}
	for _, a := range e.Attributes {
		name := a.Name
		if name == "rate" {
			name += " per " + a.Value[strings.LastIndexByte(a.Value, ' ')+1:]
			name = strings.ReplaceAll(name, "per command", "per script")
		}
		got[name] = a.Rule
	}
	if !e.Certain || e.Action != action || e.Rule != rule || !sameAttributes(got, attributes) {
		t.Fatalf("Explain says %v by rule %d with %v (certain: %v), the reference %v by rule %d with %v\n%+v\n%s",
			e.Action, e.Rule, got, e.Certain, action, rule, attributes, q, e)
	}
	less := q
	less.Class, less.Keys, less.ArgBytes, less.Unix = nil, -1, -1, false
	less.Addr, less.Listener = netip.Addr{}, ""
	less.Time = time.Time{}
	if x := s.Explain(less); x.Certain && (x.Action == Deny) != (action == Deny) {
		t.Fatalf("without details Explain is certain of %v, with them it is %v\n%+v\n%s", x.Action, action, q, x)
	}
}

func TestDecideAndExplainAgreeWithAPlainReading(t *testing.T) {
	for seed := range uint64(100) {
		checkRandomPolicy(t, seed)
	}
}

func FuzzDecide(f *testing.F) {
	for seed := range uint64(10) {
		f.Add(seed)
	}
	f.Fuzz(checkRandomPolicy)
}

// FuzzCompile feeds texts to every field that Compile reads: it must answer with a Set or with Problems, and
// a Set must decide.
func FuzzCompile(f *testing.F) {
	for _, seed := range []string{
		"app|10.0.0.0/8|transfer|Mon-Fri 09:00-17:00|CONFIG SET|error|read",
		"*|::ffff:10.0.0.0/104|*@v1|22:00-06:00|@all|slow-command|write",
		"||||||", "a*b*c|1.2.3.4/33|?|25:00-1:00|config||nope|script",
		"\x00|unix|a'b|Sat,Sun|*|warning|admin",
	} {
		f.Add(seed, int64(1), int64(2), uint8(1))
	}
	f.Fuzz(func(t *testing.T, text string, lo, hi int64, flags uint8) {
		parts := strings.Split(text, "|")
		at := func(i int) []string {
			if i < len(parts) && flags>>(i%8)&1 == 0 {
				return strings.Split(parts[i], ";")
			}
			return nil
		}
		rule := Rule{Name: text, Action: Action(flags % 4), Match: Match{
			Users: at(0), Networks: at(1), Scripts: at(2), Hours: at(3), Commands: at(4), Findings: at(5), Classes: at(6),
			Uses: at(7), Tags: at(8), SHAs: at(9), Functions: at(10), Listeners: at(11),
			MinArgBytes: &lo, MaxArgBytes: &hi,
		}, Rates: []Rate{{Per: Per(flags % 2), Limit: float64(hi)}}}
		if len(parts) > 12 {
			rule.Match.Zone, rule.Message = parts[12], parts[11]
		}
		free := Rule{Name: "free", Action: Deny, Match: Match{Users: at(0), Commands: at(4)}}
		for _, rules := range [][]Rule{{rule}, {free}, {rule, free}, {free, rule}} {
			s, err := Compile(Spec{Mode: ModeEnforce, Rules: rules}, testCatalog())
			if (s == nil) == (err == nil) {
				t.Fatalf("Set %v with error %v", s, err)
			}
			if err != nil {
				var problems Problems
				if !errors.As(err, &problems) || len(problems) == 0 || err.Error() == "" {
					t.Fatalf("not a list of problems: %v", err)
				}
				continue
			}
			for _, q := range []Query{{Addr: netip.MustParseAddr("127.0.0.1")}, {Unix: true}} {
				q.User, q.Command, q.Class, q.Keys, q.ArgBytes = "app", "get", new(Class), 1, lo
				v, e := s.Decide(requestFor(s, q)), s.Explain(q)
				if e.Certain && v.Action != e.Action {
					t.Fatalf("Decide says %v, Explain %v of %+v", v.Action, e.Action, s.Spec())
				}
			}
		}
	})
}
