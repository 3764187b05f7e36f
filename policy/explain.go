package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Query is a call to be explained. What is not given is left open: rules that depend on it are said to.
type Query struct {
	User     string     // empty is not given
	Addr     netip.Addr // the zero Addr is not given
	Unix     bool       // the client comes by a unix socket; Addr is ignored
	Listener string     // empty is not given

	Command    string // a plain command, "config|set"; empty for a script call
	Script     Script // for script calls
	Registered bool

	Class    *Class // nil is not given
	Keys     int    // negative is not given
	ArgBytes int64  // negative is not given
	Time     time.Time
}

// Holds says whether a condition is met.
type Holds uint8

const (
	No   Holds = iota
	Open       // it depends on something that was not given
	Yes
)

var holdsNames = [...]string{"no", "depends", "yes"}

func (h Holds) String() string { return holdsNames[h] }

// Condition is one condition of a rule, and how the call stands to it.
type Condition struct {
	Field string // as in the rule file
	Wants string
	Has   string
	Holds Holds
}

// RuleExplanation is one rule, and how the call stands to it.
type RuleExplanation struct {
	Rule       *Rule
	Holds      Holds
	Conditions []Condition
	Reached    bool // no rule before it decided for certain
}

// Explanation is the verdict on a Query and how it came about.
type Explanation struct {
	Action  Action // in enforce mode; Audit when a rule reports it
	Rule    int    // the rule that decides, or for Audit the one that is reported; NoRule is the default
	Decider int    // the rule that decides; NoRule is the default
	Reason  string
	Certain bool // nothing that was left open can change whether it runs
	Mode    Mode
	Rules   []RuleExplanation

	// Attributes of the call when it runs, each with its rule, in the order of the documentation.
	Attributes []AttributeExplanation
}

// AttributeExplanation is one attribute that a rule sets.
type AttributeExplanation struct {
	Name, Value string
	Rule        int
}

// Explain answers which rule decides a call, and why the others do not. It evaluates every condition one by
// one and says what Decide says in enforce mode; it is for people, not for the hot path.
func (s *Set) Explain(q Query) Explanation {
	q.Command = strings.ToLower(q.Command)
	q.Script = q.Script.folded()
	if !q.Registered {
		q.Script.Name, q.Script.Version, q.Script.Tags = "", "", nil
	}
	e := Explanation{Rule: NoRule, Decider: NoRule, Mode: s.mode, Certain: true}
	e.Action, e.Reason = s.fallback(q.Command != "")
	reached, reported := true, NoRule
	possible := [numActions]bool{}
	var set [numAttributes]bool
	for i, r := range s.rules {
		x := RuleExplanation{Rule: r.source, Reached: reached, Conditions: s.conditions(r, &q)}
		x.Holds = Yes
		for _, c := range x.Conditions {
			x.Holds = min(x.Holds, c.Holds)
		}
		e.Rules = append(e.Rules, x)
		if !reached || x.Holds == No {
			continue
		}
		if x.Holds == Open {
			possible[r.action] = true
			continue
		}
		if r.action == Audit && reported == NoRule {
			reported = i
		}
		e.attributes(r, i, &set)
		if r.decisive() {
			reached = false
			e.Action, e.Decider, e.Rule, e.Reason = r.action, i, i, r.reason
		}
	}
	if e.Action == Deny {
		e.Attributes = nil
		e.Certain = !possible[Allow]
		return e
	}
	e.Certain = !possible[Deny]
	if reported != NoRule {
		e.Action, e.Rule, e.Reason = Audit, reported, s.rules[reported].reason
	}
	return e
}

const numActions = Audit + 1

// fallback returns the default for a script call or plain command, and what to say of it.
func (s *Set) fallback(plain bool) (Action, string) {
	switch {
	case plain && s.spec.DefaultCommands == Deny:
		return Deny, reasonDefaultCommands
	case !plain && s.spec.Default == Deny:
		return Deny, reasonDefaultScripts
	}
	return Allow, "no rule decides it, and the default is allow"
}

// attributes adds what rule i sets, unless a rule before it has.
func (e *Explanation) attributes(r *rule, i int, set *[numAttributes]bool) {
	add := func(a attribute, name, value string) {
		if r.sets(a) && !set[a] {
			set[a] = true
			e.Attributes = append(e.Attributes, AttributeExplanation{name, value, i})
		}
	}
	add(attrRoute, "route", r.route.String())
	add(attrDeadline, "deadline", r.deadline.String())
	add(attrGate, "max_concurrent", itoa(int64(r.gate)))
	for per, rate := range r.rates {
		if rate != nil {
			add(attrScriptRate+per, "rate", rate.text(r.plain))
		}
	}
	if r.priority != nil {
		add(attrPriority, "priority", r.priority.String())
	}
	add(attrVersion, "version", r.version)
}

// conditions returns every condition that the rule states and how the call stands to it.
func (s *Set) conditions(r *rule, q *Query) []Condition {
	var list []Condition
	m := &r.source.Match
	add := func(field string, wants []string, has string, given, holds bool) {
		c := Condition{Field: field, Wants: strings.Join(wants, ", "), Has: has}
		switch {
		case !given:
			c.Holds, c.Has = Open, "not given"
		case holds:
			c.Holds = Yes
		}
		list = append(list, c)
	}
	if r.plain != (q.Command != "") {
		wants, has := "a script call", "the command "+q.Command
		if r.plain {
			wants, has = "a plain command", "a script call"
		}
		return []Condition{{"call", wants, has, No}}
	}
	if r.plain {
		add("commands", m.Commands, q.Command, true, r.matchesCommand(q.Command, s.categoriesOf(q.Command)))
	}
	if len(m.Users) > 0 {
		add("users", m.Users, q.User, q.User != "", r.matchesUser(q.User))
	}
	if len(m.Networks) > 0 {
		addr, has := q.Addr, q.Addr.String()
		if q.Unix {
			addr, has = netip.Addr{}, unixNetwork
		}
		add("networks", m.Networks, has, q.Unix || q.Addr.IsValid(), r.networks.match(addr))
	}
	if len(m.Listeners) > 0 {
		add("listeners", m.Listeners, q.Listener, q.Listener != "", r.matchesListener(q.Listener))
	}
	if !r.plain {
		s.scriptConditions(r, q, add)
	}
	if len(m.Classes) > 0 {
		has, class := "", ClassWrite
		if q.Class != nil {
			has, class = q.Class.String(), *q.Class
		}
		add("classes", m.Classes, has, q.Class != nil, r.classes>>class&1 != 0)
	}
	if r.keys != wholeSpan {
		add("keys", []string{r.keys.String()}, itoa(int64(q.Keys)), q.Keys >= 0, r.keys.contains(int64(q.Keys)))
	}
	if r.arguments != wholeSpan {
		add("arg_bytes", []string{r.arguments.String()}, itoa(q.ArgBytes), q.ArgBytes >= 0, r.arguments.contains(q.ArgBytes))
	}
	if r.hours != nil {
		has := q.Time.In(r.hours.zone).Format("Mon 15:04 MST")
		add("hours", m.Hours, has, !q.Time.IsZero(), r.hours.contains(q.Time))
	}
	return list
}

// scriptConditions adds the conditions on the script itself. Each is evaluated as a rule that has no other.
func (s *Set) scriptConditions(r *rule, q *Query, add func(field string, wants []string, has string, given, holds bool)) {
	m := &r.source.Match
	one := func(field string, wants []string, has string, alone rule) {
		if len(wants) > 0 {
			add(field, wants, orNone(has), true, alone.matchesScript(&q.Script, q.Registered, s.categoriesOf))
		}
	}
	if m.Registered != nil {
		wants := "true"
		if r.registered == onlyUnregistered {
			wants = "false"
		}
		one("registered", []string{wants}, fmt.Sprint(q.Registered), rule{registered: r.registered})
	}
	name, tags := q.Script.Name, strings.Join(q.Script.Tags, ", ")
	if q.Script.Version != "" {
		name += "@" + q.Script.Version
	}
	if !q.Registered {
		name, tags = "none (not registered)", "none (not registered)"
	}
	one("scripts", m.Scripts, name, rule{scripts: r.scripts, registered: onlyRegistered})
	one("functions", m.Functions, q.Script.Function, rule{functions: r.functions})
	one("tags", m.Tags, tags, rule{tags: r.tags, registered: onlyRegistered})
	one("shas", m.SHAs, q.Script.SHA, rule{shas: r.shas})
	one("uses", m.Uses, strings.Join(q.Script.Commands, ", "), rule{uses: r.uses})
	one("findings", m.Findings, findingsText(q.Script.Findings), rule{findings: r.findings, level: r.level, hasLevel: r.hasLevel})
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func findingsText(findings []Finding) string {
	list := make([]string, len(findings))
	for i, f := range findings {
		list[i] = f.ID + " (" + f.Level.String() + ")"
	}
	return strings.Join(slices.Compact(list), ", ")
}

// String gives "at least 2", "at most 5" or "2 to 5".
func (s span) String() string {
	switch {
	case s.lo == 0:
		return "at most " + itoa(s.hi)
	case s.hi == wholeSpan.hi:
		return "at least " + itoa(s.lo)
	}
	return itoa(s.lo) + " to " + itoa(s.hi)
}
