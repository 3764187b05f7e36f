//go:build linux

package proxy

import (
	"strings"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// Policy is a compiled policy as the data plane asks it: what a rule can
// know of a command or a script beforehand is looked up here, once. It
// belongs to one Generation, whose commands and scripts it was made for, and
// never changes; only its counters do.
type Policy struct {
	set      *policy.Set
	commands []*ruled // by command ID; nil where there is nothing to ask
	// unknown tells that also commands which the table lacks are asked about.
	unknown   bool
	refs      map[*Script]policy.ScriptRef
	functions map[string]functionRefs // by the name called
	versions  map[scriptVersion]*Entry
	rules     []metrics.RuleID   // by rule number; the last one is the default's
	counters  []*policy.Counters // by loop
	before    map[string]policy.RuleCount
	learner   *Learner

	// What has to be found out about a call, because some rule asks for it.
	sizes, commandKeys, facts, findings, shas, functionNames bool
}

// ruled is a command that the policy is asked about.
type ruled struct {
	target   *policy.Target
	name     string // lower case: "config|set"
	class    policy.Class
	greeting bool // see Greets
	// lacked commands are none that the table knows, so that no rule can name
	// them. A module's, with a dot in its name, the server may have all the
	// same.
	lacked bool
}

type scriptVersion struct{ name, version string }

// functionRefs are what the policy's catalog holds of a function's versions.
type functionRefs struct{ active, canary policy.ScriptRef }

// DefaultRule is the label of the policy's defaults in the metrics.
const DefaultRule = "default"

// PolicyOptions are what a Policy is made of.
type PolicyOptions struct {
	Set *policy.Set
	// Catalog is what Set was compiled with. Its listeners are in the order
	// of the numbers that Serve was called with.
	Catalog  policy.Catalog
	Commands *command.Table
	Scripts  *ScriptTable
	// Learner, when not nil, records every call.
	Learner *Learner
	// Before is the policy that this one takes the place of: rules of the
	// same name go on counting. It may be nil.
	Before *Policy
}

// NewPolicy makes a policy ready, or returns nil where there is nothing to
// ask: the mode is off, and nobody learns.
func (s *Server) NewPolicy(o PolicyOptions) *Policy {
	if o.Set.Mode() == policy.ModeOff && o.Learner == nil {
		return nil
	}
	p := &Policy{
		set: o.Set, learner: o.Learner,
		refs: make(map[*Script]policy.ScriptRef), functions: make(map[string]functionRefs),
		versions: make(map[scriptVersion]*Entry), before: o.Before.totals(),
	}
	p.needs()
	p.ruleCommands(o.Commands)
	p.ruleScripts(&o.Catalog, o.Scripts)
	for _, r := range o.Set.Rules() {
		p.rules = append(p.rules, s.metrics.Rule(r.Name))
	}
	p.rules = append(p.rules, s.metrics.Rule(DefaultRule))
	for range s.workers {
		p.counters = append(p.counters, policy.NewCounters(o.Set))
	}
	return p
}

// needs notes what the rules ask for.
func (p *Policy) needs() {
	p.sizes, p.facts = p.learner != nil, p.learner != nil
	for _, r := range p.set.Rules() {
		m := &r.Match
		keys := m.MinKeys != nil || m.MaxKeys != nil
		p.sizes = p.sizes || m.MinArgBytes != nil || m.MaxArgBytes != nil
		p.commandKeys = p.commandKeys || keys && len(m.Commands) > 0
		p.facts = p.facts || len(m.Uses) > 0 || len(m.Findings) > 0 || len(m.Classes) > 0 && len(m.Commands) == 0
		p.findings = p.findings || len(m.Findings) > 0
		p.shas = p.shas || len(m.SHAs) > 0
		p.functionNames = p.functionNames || len(m.Functions) > 0
		p.unknown = p.unknown || len(m.Commands) > 0
	}
	p.unknown = p.unknown && p.set.Mode() != policy.ModeOff || p.learner != nil ||
		p.set.Mode() != policy.ModeOff && p.set.Spec().DefaultCommands == policy.Deny
}

func (p *Policy) ruleCommands(table *command.Table) {
	p.commands = make([]*ruled, table.Len())
	add := func(c *command.Command) bool {
		name := strings.ToLower(c.Name)
		if policy.IsScriptCall(name) {
			return false // asked about as a script call
		}
		target := p.set.Command(name, "")
		if p.learner == nil && !p.set.Asks(target) {
			return false
		}
		p.commands[c.ID] = newRuled(target, name, c)
		return true
	}
	for c := range table.All() {
		if strings.Contains(c.Name, "|") {
			continue // with its container
		}
		add(c)
		for _, sub := range c.Subs() {
			if add(sub) && p.commands[c.ID] == nil {
				p.commands[c.ID] = newRuled(p.set.Command(c.Name, ""), strings.ToLower(c.Name), c)
			}
		}
	}
}

func newRuled(target *policy.Target, name string, c *command.Command) *ruled {
	return &ruled{target: target, name: name, class: policyClass(c.Class), greeting: Greets(name)}
}

// policyClass is a command's class in the policy's words.
func policyClass(c command.Class) policy.Class {
	switch c {
	case command.ClassRead:
		return policy.ClassRead
	case command.ClassAdmin:
		return policy.ClassAdmin
	case command.ClassScript:
		return policy.ClassScript
	}
	return policy.ClassWrite
}

// ruleScripts finds each script of the table in the catalog. One that is not
// there counts as not registered.
func (p *Policy) ruleScripts(catalog *policy.Catalog, table *ScriptTable) {
	type key struct{ name, version, function string }
	known := make(map[key]policy.ScriptRef, len(catalog.Scripts))
	for i := range catalog.Scripts {
		s := &catalog.Scripts[i]
		known[key{s.Name, s.Version, s.Function}] = policy.ScriptRef(i)
	}
	find := func(s *Script, function string) policy.ScriptRef {
		if s != nil {
			if ref, ok := known[key{s.Name, s.Version, function}]; ok {
				return ref
			}
		}
		return policy.Unregistered
	}
	for name, e := range table.byName {
		for _, s := range []*Script{e.Script, e.Canary} {
			if ref := find(s, ""); ref != policy.Unregistered {
				p.refs[s] = ref
			}
		}
		if base, version, ok := strings.Cut(name, "@"); ok {
			p.versions[scriptVersion{base, version}] = e
		}
	}
	for called, fn := range table.fns {
		name, _, _ := strings.Cut(called, "@")
		p.functions[called] = functionRefs{find(fn.Script, name), find(fn.Canary, name)}
	}
}

// asks reports whether the policy has to be asked about a command. Script
// calls are none: they are asked about as such.
func (p *Policy) asks(c *command.Command) bool {
	if c == nil {
		return p.unknown
	}
	return p.commands[c.ID] != nil
}

// command returns what the policy knows of a request, or nil where it has
// nothing to say.
func (p *Policy) command(c *command.Command, r *resp.Request) *ruled {
	if c == nil {
		name := strings.ToLower(ruledName(r.Arg(0)))
		return &ruled{target: p.set.Command(name, ""), name: name, lacked: !strings.Contains(name, ".")}
	}
	if c.IsContainer() && r.Len() > 1 {
		sub := c.Sub(r.Arg(1))
		if sub == nil {
			// A newer server's: patterns such as config|* hold for it too.
			name := policy.CommandName(c.Name, ruledName(r.Arg(1)))
			what := newRuled(p.set.Command(name, ""), name, c)
			what.lacked = true
			return what
		}
		c = sub
	}
	return p.commands[c.ID]
}

// maxRuledName bounds, in bytes, the name of a command that the table lacks;
// no server has one nearly as long.
const maxRuledName = 64

func ruledName(arg []byte) string { return string(arg[:min(len(arg), maxRuledName)]) }

// totals are the counts of all rules by name, those before this policy
// included; the default's under "".
func (p *Policy) totals() map[string]policy.RuleCount {
	if p == nil {
		return nil
	}
	var sums []policy.RuleCount
	for _, c := range p.counters {
		sums = c.Add(sums)
	}
	totals := make(map[string]policy.RuleCount, len(sums))
	for _, n := range sums {
		old := p.before[n.Rule]
		n.Allowed += old.Allowed
		n.Denied += old.Denied
		n.Audited += old.Audited
		n.Applied += old.Applied
		n.Limited += old.Limited
		totals[n.Rule] = n
	}
	return totals
}

// Counts says what each rule did, in the order of the rules, and at the end
// what the defaults did. Any goroutine may call it; p may be nil.
func (p *Policy) Counts() []policy.RuleCount {
	if p == nil {
		return nil
	}
	totals := p.totals()
	var list []policy.RuleCount
	for _, r := range p.set.Rules() {
		list = append(list, totals[r.Name])
	}
	return append(list, totals[""])
}

// enforces reports that what runs has been let in by the policy.
func (p *Policy) enforces() bool { return p != nil && p.set.Mode() == policy.ModeEnforce }

// Set is what was compiled; nil for a nil Policy.
func (p *Policy) Set() *policy.Set {
	if p == nil {
		return nil
	}
	return p.set
}

// Greets reports whether a command is let through where no rule speaks of it,
// whatever the default: without those no client could say who it is, and no
// health check would pass. The name may be in any case.
func Greets(name string) bool {
	switch strings.ToLower(name) {
	case "auth", "hello", "ping", "quit", "reset":
		return true
	}
	return false
}
