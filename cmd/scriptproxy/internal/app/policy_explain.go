package app

import (
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/policy/lua"
	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/proxy"
)

// Explain says what becomes of a call, and which rule decides. An error is an
// *api.Error: the call can't be understood.
func (b *Book) Explain(q api.PolicyQuery) (*api.PolicyAnswer, error) {
	query := policy.Query{User: q.User, Listener: q.Listener, Keys: -1, ArgBytes: -1, Time: q.Time}
	if q.Time.IsZero() {
		query.Time = time.Now()
	}
	if q.Keys != nil {
		query.Keys = *q.Keys
	}
	if q.ArgBytes != nil {
		query.ArgBytes = *q.ArgBytes
	}
	if err := clientOf(&query, q); err != nil {
		return nil, err
	}
	of, err := b.subjectOf(&query, q)
	if err != nil {
		return nil, err
	}
	if q.Class != "" {
		class, err := policy.ParseClass(q.Class)
		if err != nil {
			return nil, invalid("%s", err)
		}
		query.Class = &class
	}
	if q.Listener != "" && !slices.Contains(b.Catalog.Listeners, q.Listener) {
		return nil, invalid("there is no listener '%s'; there is %s", q.Listener, strings.Join(b.Catalog.Listeners, ", "))
	}
	e := b.Set.Explain(query)
	if e.Action == policy.Deny && e.Rule == policy.NoRule && proxy.Greets(query.Command) {
		e.Action, e.Reason = policy.Allow, "no rule names it, and without it no client could say who it is or that it is there"
	}
	return answerOf(e, of), nil
}

func invalid(format string, args ...any) *api.Error {
	return &api.Error{Status: http.StatusUnprocessableEntity, Code: api.CodeInvalid, Message: fmt.Sprintf(format, args...)}
}

// clientOf fills in where the client is.
func clientOf(query *policy.Query, q api.PolicyQuery) error {
	switch q.Addr {
	case "":
	case "unix":
		query.Unix = true
	default:
		addr, err := netip.ParseAddr(q.Addr)
		if err != nil {
			return invalid("'%s' is no IP address, and not unix", q.Addr)
		}
		query.Addr = addr.Unmap()
	}
	return nil
}

// subjectOf fills in what is called, and names it.
func (b *Book) subjectOf(query *policy.Query, q api.PolicyQuery) (of string, err error) {
	given := 0
	for _, text := range []string{q.Command, q.Script, q.Function, q.Body} {
		if text != "" {
			given++
		}
	}
	if given != 1 {
		return "", invalid("say what is called: one of command, script, function and body")
	}
	switch {
	case q.Command != "":
		name, sub, _ := strings.Cut(strings.Join(strings.Fields(q.Command), " "), " ")
		sub, _, _ = strings.Cut(sub, " ")
		return b.commandOf(query, name, sub)
	case q.Body != "":
		sha := registry.SHA([]byte(q.Body))
		if i, ok := b.runs(sha); ok {
			return b.scriptAt(query, i), nil
		}
		f := factsOf(lua.Analyse([]byte(q.Body), lua.Options{MaxBytes: len(q.Body)}))
		query.Script = policy.Script{SHA: sha, Commands: f.commands, Findings: f.findings}
		class := policy.ClassWrite
		if f.read {
			class = policy.ClassRead
		}
		query.Class = &class
		return "script '" + sha + "', which is not registered", nil
	case q.Function != "":
		if i, ok := b.runs("function " + q.Function); ok {
			return b.scriptAt(query, i), nil
		}
		query.Script = policy.Script{Function: q.Function}
		return "function '" + q.Function + "', which is not registered", nil
	}
	called := q.Script
	if registry.IsSHA(called) {
		called = strings.ToLower(called)
	}
	if i, ok := b.runs(called); ok {
		return b.scriptAt(query, i), nil
	}
	if !registry.IsSHA(called) {
		e := &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Message: fmt.Sprintf("no script '%s' is registered; for one that is not, give its sha or its body", called)}
		e.Close = near(called, slices.Sorted(maps.Keys(b.places)))
		if len(e.Close) > 0 {
			e.Message += "; did you mean " + strings.Join(e.Close, ", ") + "?"
		}
		return "", e
	}
	query.Script = policy.Script{SHA: called}
	return "script '" + called + "', which is not registered", nil
}

// near are the names that begin or end like what was asked for.
func near(asked string, names []string) []string {
	var close []string
	for _, n := range names {
		if !strings.ContainsAny(n, "@ ") && !registry.IsSHA(n) && len(asked) > 1 && (strings.Contains(n, asked) || strings.Contains(asked, n)) {
			close = append(close, n)
		}
	}
	return close[:min(len(close), 5)]
}

func (b *Book) commandOf(query *policy.Query, name, sub string) (string, error) {
	full := policy.CommandName(name, sub)
	if sub != "" && !slices.ContainsFunc(b.Catalog.Commands, func(c policy.Command) bool { return strings.EqualFold(c.Name, full) }) {
		full = policy.CommandName(name, "") // what follows is an argument
	}
	if policy.IsScriptCall(full) {
		return "", invalid("%s is a script call: give script, function or body", strings.ToUpper(full))
	}
	query.Command = full
	return "command '" + full + "'", nil
}

// scriptAt makes the query one about a script of the catalog.
func (b *Book) scriptAt(query *policy.Query, i int) string {
	s := b.Catalog.Scripts[i]
	query.Script, query.Registered = s, true
	query.Class = &b.class[i]
	if s.Function != "" {
		return fmt.Sprintf("function '%s' of '%s' version %s", s.Function, s.Name, s.Version)
	}
	return fmt.Sprintf("script '%s' version %s", s.Name, s.Version)
}

// answerOf puts an explanation into the API's words.
func answerOf(e policy.Explanation, of string) *api.PolicyAnswer {
	name := func(rule int) (string, int) {
		if rule == policy.NoRule {
			return "", 0
		}
		r := e.Rules[rule].Rule
		return r.Name, r.Line
	}
	a := &api.PolicyAnswer{
		Verdict: e.Action.String(), Reason: e.Reason, Certain: e.Certain, Mode: e.Mode.String(), Of: of,
		Attributes: []api.PolicyAttribute{}, Rules: []api.ExplainedRule{}, Text: of + "\n" + e.String(),
	}
	a.Rule, a.Line = name(e.Rule)
	for _, x := range e.Attributes {
		rule, _ := name(x.Rule)
		a.Attributes = append(a.Attributes, api.PolicyAttribute{Name: x.Name, Value: x.Value, Rule: rule})
	}
	for _, x := range e.Rules {
		r := api.ExplainedRule{
			Name: x.Rule.Name, Action: x.Rule.Action.String(), Line: x.Rule.Line, Matches: x.Holds.String(), Reached: x.Reached,
			Conditions: []api.PolicyCondition{},
		}
		for _, c := range x.Conditions {
			r.Conditions = append(r.Conditions, api.PolicyCondition{Field: c.Field, Wants: c.Wants, Has: c.Has, Holds: c.Holds.String()})
		}
		a.Rules = append(a.Rules, r)
	}
	return a
}
