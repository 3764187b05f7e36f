package app

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/admin"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/proxy"
)

// government is the policy of a running proxy. What says nothing else is
// guarded by App.mu.
type government struct {
	facts factBook    // has its own lock
	lint  atomic.Bool // whether some rule asks for findings

	spec    policy.Spec // of the configuration in force
	book    *Book       // in force; nil where nothing is asked
	policy  *proxy.Policy
	problem string // why book is not of the scripts as they are now
	said    string // the warnings that were logged last

	learning *learning // the latest run; nil before the first

	wall wall // has its own lock
}

// checkRules reads the rules of a configuration that is to be taken over, and
// checks them against the scripts that there are and those that it declares.
func (a *App) checkRules(cfg *config.Config) (policy.Spec, error) {
	spec, err := readRules(cfg)
	if err != nil || spec.Mode == policy.ModeOff {
		return spec, err
	}
	a.mu.Lock()
	table, listeners := a.commands, a.listenerNames(cfg)
	a.mu.Unlock()
	entries := joined(snapshotEntries(a.registry.Snapshot()), declaredEntries(cfg))
	_, err = compileBook(spec, entries, table, listeners, new(factBook))
	return spec, err
}

// listenerNames are the listeners in the order in which they are numbered:
// as they were started, which a reload does not change.
func (a *App) listenerNames(cfg *config.Config) []config.Listener {
	if a.listeners != nil {
		return a.listeners
	}
	return cfg.Listen
}

// govern gives a generation the policy for its scripts. When the rules do not
// fit the scripts any more, those that were in force stay: scripts that came
// since are not registered to them. a.mu must be held.
func (a *App) govern(g *proxy.Generation, snap *registry.Snapshot) {
	gov := &a.government
	g.Settings.LoadApart = gov.wall.mayNotLoad()
	learner := gov.learning.learner()
	if gov.spec.Mode == policy.ModeOff && learner == nil {
		gov.book, gov.policy, gov.problem = nil, nil, ""
		return
	}
	gov.lint.Store(gov.spec.Mode != policy.ModeOff && slices.ContainsFunc(gov.spec.Rules, func(r policy.Rule) bool { return len(r.Match.Findings) > 0 }))
	spec := gov.spec
	if spec.Mode == policy.ModeOff {
		spec = policy.Spec{} // somebody learns; the rules are not asked
	}
	book, err := compileBook(spec, snapshotEntries(snap), g.Commands, a.listenerNames(a.cfg), &gov.facts)
	switch {
	case err == nil:
		if gov.book != nil {
			book.Set.Inherit(gov.book.Set)
		}
		gov.book, gov.problem = book, ""
		a.sayWarnings()
	case gov.book == nil:
		gov.problem = err.Error() // Start fails with it
	case gov.problem != err.Error():
		gov.problem = err.Error()
		a.log.Error("the rules do not fit the scripts any more; those in force stay", "error", err)
	}
	if gov.book == nil {
		return
	}
	gov.policy = a.server.NewPolicy(proxy.PolicyOptions{
		Set: gov.book.Set, Catalog: gov.book.Catalog, Commands: g.Commands, Scripts: g.Scripts, Learner: learner, Before: gov.policy,
	})
	g.Policy = gov.policy
	if gov.spec.Mode == policy.ModeEnforce {
		smallest := &g.Settings.Watchdog.Smallest
		for _, r := range gov.spec.Rules {
			if d := r.Deadline; d > 0 && (*smallest == 0 || d < *smallest) {
				*smallest = d
			}
		}
	}
}

// governs tells why the rules can't be put in force at all.
func (a *App) governs() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if gov := &a.government; gov.problem != "" && gov.book == nil {
		return errors.New(gov.problem)
	}
	return nil
}

// warnings are what may be wrong with the rules in force. a.mu must be held.
func (g *government) warnings() []string {
	if g.book == nil {
		return nil
	}
	var list []string
	for _, w := range g.book.Set.Warnings() {
		list = append(list, w.Error())
	}
	return list
}

// sayWarnings logs the warnings when they are others than before.
func (a *App) sayWarnings() {
	list := a.government.warnings()
	said := strings.Join(list, "\n")
	if said == a.government.said {
		return
	}
	a.government.said = said
	for _, w := range list {
		a.log.Warn(w)
	}
}

// policyDesk is what the API asks.
func (a *App) policyDesk() admin.PolicyDesk {
	return admin.PolicyDesk{
		State: a.policyState, Explain: a.explain, Learn: a.startLearning, Learned: a.learned, StopLearning: a.stopLearning,
	}
}

// policyState answers GET /api/v1/policy.
func (a *App) policyState() api.Policy {
	a.mu.Lock()
	gov := &a.government
	out := api.Policy{
		Mode: gov.spec.Mode.String(), RulesFile: a.cfg.Policy.RulesFile, Default: actionText(gov.spec.Default), DefaultCommands: actionText(gov.spec.DefaultCommands),
		Rules: []api.PolicyRule{}, Warnings: append([]string{}, gov.warnings()...), Problem: gov.problem,
	}
	counted, run := gov.policy, gov.learning
	a.mu.Unlock()
	var rules []policy.Rule
	if counted != nil {
		rules = counted.Set().Rules()
	}
	for i, n := range counted.Counts() {
		r := api.PolicyRule{Allowed: n.Allowed, Denied: n.Denied, Audited: n.Audited, Applied: n.Applied, Limited: n.Limited}
		if i < len(rules) {
			r.Name, r.Action, r.Line = rules[i].Name, rules[i].Action.String(), rules[i].Line
		}
		out.Rules = append(out.Rules, r)
	}
	out.Wall = append([]string{}, a.government.wall.warnings()...)
	if run != nil {
		state := run.state(false)
		out.Learning = &state
	}
	return out
}

func actionText(a policy.Action) string {
	if a == policy.Deny {
		return "deny"
	}
	return "allow"
}

// explain answers POST /api/v1/policy/explain, also where the mode is off.
func (a *App) explain(q api.PolicyQuery) (*api.PolicyAnswer, error) {
	a.mu.Lock()
	book, spec, table, listeners := a.government.book, a.government.spec, a.commands, a.listenerNames(a.cfg)
	a.mu.Unlock()
	if book == nil {
		if len(spec.Rules) == 0 {
			return nil, &api.Error{Status: http.StatusConflict, Code: api.CodeInvalid, Message: "there are no rules: policy.rules_file is not set"}
		}
		var err error
		if book, err = compileBook(spec, snapshotEntries(a.registry.Snapshot()), table, listeners, new(factBook)); err != nil {
			return nil, invalid("%s", err)
		}
	}
	return book.Explain(q)
}

// warnings are what an operator should know of a proxy that is ready: what
// the servers would let through, and rules that are not in force.
func (a *App) warnings() []string {
	a.mu.Lock()
	problem := a.government.problem
	a.mu.Unlock()
	list := append(a.partlyOut(), a.government.wall.warnings()...)
	list = append(list, a.sentinels.warnings()...)
	if problem != "" {
		list = append(list, fmt.Sprintf("the rules in force are not for the scripts as they are now: %s", strings.ReplaceAll(problem, "\n", "; ")))
	}
	return list
}
