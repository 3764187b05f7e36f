package app

import (
	"fmt"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/operate"
	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/policy/lua"
	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/library"
	"github.com/scriptproxy/scriptproxy/proxy"
)

// catalog turns registry snapshots into tables for the data plane. A version
// that stays keeps its proxy.Script, and with it what is known of where it
// is loaded.
type catalog struct {
	nodes   int
	metrics *metrics.Metrics
	known   map[versionKey]*proxy.Script
	cfg     map[string]config.Script
	protect protections
}

type versionKey struct{ name, id, sha string }

func newCatalog(nodes int, m *metrics.Metrics, c config.Scripts) *catalog {
	k := &catalog{nodes: nodes, metrics: m, known: make(map[versionKey]*proxy.Script)}
	k.settings(c)
	return k
}

func (k *catalog) settings(c config.Scripts) {
	k.protect.set(c)
	k.cfg = make(map[string]config.Script, len(c.List))
	for _, s := range c.List {
		k.cfg[s.Name] = s
	}
}

// compile makes the table of a snapshot, and the list of active versions.
func (k *catalog) compile(snap *registry.Snapshot) (*proxy.ScriptTable, []metrics.ActiveVersion) {
	names := make(map[string]*proxy.Entry)
	shas := make(map[string]*proxy.Entry)
	fns := make(map[string]*proxy.Function)
	var all []*proxy.Script
	var active []metrics.ActiveVersion
	known := make(map[versionKey]*proxy.Script)
	for _, s := range snap.Scripts {
		entries := make(map[string]*proxy.Entry, len(s.Versions))
		for _, v := range s.Versions {
			ps := k.of(s.Name, v)
			known[versionKey{s.Name, v.ID, v.SHA}] = ps
			e := &proxy.Entry{Script: ps}
			if v.Retired {
				e = &proxy.Entry{Refusal: refusal(s, v)}
			} else if s.Kind == registry.KindScript {
				all = append(all, ps)
			}
			entries[v.ID] = e
		}
		current := entries[s.Active]
		if current != nil {
			if c := s.Canary; c != nil && entries[c.Version] != nil && entries[c.Version].Script != nil && current.Script != nil {
				current = &proxy.Entry{Script: current.Script, Canary: entries[c.Version].Script, Picks: c.Picks, ByClient: c.Sticky == registry.StickyClient}
			}
			v := s.ActiveVersion()
			active = append(active, metrics.ActiveVersion{Script: s.Name, Version: v.ID, SHA: v.SHA})
		}
		if s.Kind == registry.KindFunction {
			addFunctions(fns, s, entries, current)
			continue
		}
		for id, e := range entries {
			names[s.Name+"@"+id] = e
		}
		if current == nil {
			continue
		}
		names[s.Name] = current
		for _, v := range s.Versions {
			_, owner, shared := snap.BySHA(v.SHA)
			switch {
			case owner != v:
			case v.Retired || v.Pinned || shared:
				shas[v.SHA] = entries[v.ID]
			default:
				shas[v.SHA] = current
			}
		}
	}
	k.known = known
	return proxy.NewScriptTable(names, shas, all).WithFunctions(fns), active
}

// addFunctions adds what FCALL of a library's functions leads to. The active
// version has the plain names on the server; name@version calls its copy.
func addFunctions(fns map[string]*proxy.Function, s *registry.Script, entries map[string]*proxy.Entry, current *proxy.Entry) {
	for _, v := range s.Versions {
		for _, f := range v.Functions {
			fns[f+"@"+v.ID] = &proxy.Function{Entry: *entries[v.ID], Target: library.Name(f, v.ID)}
		}
	}
	if current == nil {
		return
	}
	for _, f := range s.ActiveVersion().Functions {
		if fns[f] != nil {
			continue // another library's; the server refuses two
		}
		fn := &proxy.Function{Entry: *current}
		if current.Canary != nil {
			fn.CanaryTarget = library.Name(f, s.Canary.Version)
		}
		fns[f] = fn
	}
}

// of is the script of a version, made when it is new.
func (k *catalog) of(name string, v *registry.Version) *proxy.Script {
	key := versionKey{name, v.ID, v.SHA}
	s := k.known[key]
	if s == nil {
		s = proxy.NewScript(name, v.ID, v.Body, classOf(v), k.metrics.Script(name, v.ID), k.nodes)
		k.known[key] = s
	}
	s.SetSlowAfter(k.cfg[name].SlowAfter)
	k.protect.apply(name, s)
	return s
}

func refusal(s *registry.Script, v *registry.Version) string {
	switch {
	case v.RetiredAnswer == registry.AnswerDenied:
		return fmt.Sprintf("-DENIED %s '%s' version %s is retired\r\n", s.Kind, s.Name, v.ID)
	case s.Kind == registry.KindFunction:
		return "-ERR Function not found\r\n"
	}
	return "-NOSCRIPT No matching script. Please use EVAL.\r\n"
}

func classOf(v *registry.Version) proxy.ScriptClass {
	if v.Class == registry.ClassRead {
		return proxy.ClassRead
	}
	return proxy.ClassWrite
}

// declared is what the configuration tells the registry.
func declared(c *config.Config) []registry.Declared {
	var out []registry.Declared
	for _, s := range c.Scripts.List {
		d := registry.Declared{Name: s.Name, Kind: operate.KindOf(s.Versions[0].Body), Tags: s.Tags, Active: s.Active}
		for _, v := range s.Versions {
			dv := registry.DeclaredVersion{ID: v.ID, Body: []byte(v.Body), Pinned: v.Pinned}
			switch s.Class {
			case config.ClassRead:
				dv.Class = registry.ClassRead
			case config.ClassWrite:
				dv.Class = registry.ClassWrite
			}
			d.Versions = append(d.Versions, dv)
		}
		out = append(out, d)
	}
	return out
}

// commandInfo tells the analysis what a command does.
func (a *App) commandInfo(name, sub string) lua.CommandInfo {
	table := a.server.Generation().Commands
	cmd := table.Resolve([]byte(name), []byte(sub))
	if cmd == nil {
		return lua.CommandInfo{}
	}
	return lua.CommandInfo{Known: true, Write: !cmd.ReplicaOK()}
}

func (a *App) analyse(kind registry.Kind, body []byte) (registry.Analysis, error) {
	got := lua.Analyse(body, lua.Options{Commands: a.commandInfo})
	out := registry.Analysis{
		Class: registry.ClassWrite, Flags: got.Flags,
		Contract: registry.Contract{
			MinKeys: got.Contract.MinKeys, MinArgs: got.Contract.MinArgs,
			VariableKeys: got.Contract.VariableKeys, VariableArgs: got.Contract.VariableArgs,
		},
		Library: got.Library,
	}
	if kind == registry.KindFunction {
		lib, err := library.Parse(body)
		if err != nil {
			return registry.Analysis{}, err
		}
		out.Functions = lib.Functions
	}
	if got.Class == lua.Read || got.NoWrites {
		out.Class = registry.ClassRead
	}
	for _, f := range got.Findings {
		out.Findings = append(out.Findings, registry.Finding{Rule: f.Rule, Level: f.Level.String(), Line: f.Line, Message: f.Message})
	}
	return out, nil
}

// classify finds out about a body that a client sent, on a goroutine of its
// own; until then the script counts as writing.
func (a *App) classify(s *proxy.Script) {
	go func() {
		a.shapes.add(s)
		lint := a.government.lint.Load()
		got := lua.Analyse(s.Body, lua.Options{Commands: a.commandInfo, ClassOnly: !lint})
		facts := factsOf(got)
		if facts.read {
			s.SetClass(proxy.ClassRead)
		}
		s.SetFacts(&proxy.Facts{Commands: facts.commands, Findings: facts.findings, Linted: lint})
	}()
}
