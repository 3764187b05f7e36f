package app

import (
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/operate"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/policy/lua"
	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/library"
	"github.com/scriptproxy/scriptproxy/proxy/command"
)

// Book is a compiled policy, with what it was compiled from.
type Book struct {
	Set     *policy.Set
	Catalog policy.Catalog

	places map[string]int // "name", "name@version", sha, "function f": index in Catalog.Scripts
	class  []policy.Class // of each script of the catalog
	own    []bool         // calls by its sha run this version, whatever is active
}

// NewBook compiles the rules that a configuration names against the scripts
// that it declares. It is for looking at them without a running proxy: what was
// activated or loaded at run time it does not know.
func NewBook(cfg *config.Config) (*Book, error) {
	spec, err := readRules(cfg)
	if err != nil {
		return nil, err
	}
	return compileBook(spec, declaredEntries(cfg), command.Embedded(), cfg.Listen, new(factBook))
}

// readRules reads the rule file of a configuration. Without one nothing is
// denied.
func readRules(cfg *config.Config) (policy.Spec, error) {
	if cfg.Policy.RulesFile == "" {
		return policy.Spec{}, nil
	}
	spec, err := config.LoadRules(cfg.Policy.RulesFile)
	if err != nil {
		return spec, err
	}
	spec.Mode, err = policy.ParseMode(string(cfg.Policy.Mode))
	return spec, err
}

// entry is one version of a script as rules can know it.
type entry struct {
	name, version, sha string
	tags               []string
	body               []byte
	class              policy.Class
	declared           lua.Class
	functions          []string // of a library; nil for a script
	active, own        bool     // own: calls by its sha run this version, whatever is active
}

// snapshotEntries are the versions of a registry.
func snapshotEntries(snap *registry.Snapshot) []entry {
	var list []entry
	for _, s := range snap.Scripts {
		for _, v := range s.Versions {
			e := entry{
				name: s.Name, version: v.ID, sha: v.SHA, tags: s.Tags, body: v.Body, functions: v.Functions,
				active: v.ID == s.Active, own: v.Pinned || v.Retired,
			}
			if v.Class == registry.ClassRead {
				e.class = policy.ClassRead
			}
			if v.ClassSet {
				e.declared = declaredClass(v.Class)
			}
			list = append(list, e)
		}
	}
	return list
}

func declaredClass(c registry.Class) lua.Class {
	switch c {
	case registry.ClassRead:
		return lua.Read
	case registry.ClassWrite:
		return lua.Write
	}
	return lua.Auto
}

// declaredEntries are the versions that a configuration declares.
func declaredEntries(cfg *config.Config) []entry {
	var list []entry
	for _, s := range cfg.Scripts.List {
		declared := map[config.Class]lua.Class{config.ClassRead: lua.Read, config.ClassWrite: lua.Write}[s.Class]
		for _, v := range s.Versions {
			e := entry{
				name: s.Name, version: v.ID, sha: v.SHA, tags: s.Tags, body: []byte(v.Body), declared: declared,
				active: v.ID == s.Active, own: v.Pinned,
			}
			if operate.KindOf(v.Body) == registry.KindFunction {
				if lib, err := library.Parse(e.body); err == nil {
					e.functions = lib.Functions
				}
			}
			list = append(list, e)
		}
	}
	return list
}

// joined adds to list what more has beyond it.
func joined(list, more []entry) []entry {
	known := make(map[versionKey]bool, len(list))
	for _, e := range list {
		known[versionKey{e.name, e.version, e.sha}] = true
	}
	for _, e := range more {
		if !known[versionKey{e.name, e.version, e.sha}] {
			list = append(list, e)
		}
	}
	return list
}

// compileBook compiles rules for scripts and commands.
func compileBook(spec policy.Spec, entries []entry, table *command.Table, listeners []config.Listener, known *factBook) (*Book, error) {
	b := &Book{places: make(map[string]int)}
	facts := known.of(entries)
	for i, e := range entries {
		f := facts[i]
		class := e.class
		switch {
		case e.declared == lua.Read:
			class = policy.ClassRead
		case e.declared == lua.Auto && f.read:
			class = policy.ClassRead
		}
		s := policy.Script{
			Name: e.name, Version: e.version, SHA: e.sha, Tags: e.tags, Commands: f.commands, Findings: f.findings,
		}
		if len(e.functions) == 0 {
			b.add(s, e, class)
		}
		for _, fn := range e.functions {
			s.Function, s.SHA = fn, ""
			b.add(s, e, class)
		}
	}
	for c := range table.All() {
		b.Catalog.Commands = append(b.Catalog.Commands, policy.Command{Name: c.Name, Categories: c.Categories})
	}
	for _, l := range listeners {
		b.Catalog.Listeners = append(b.Catalog.Listeners, l.Name)
	}
	for _, r := range lua.Rules() {
		b.Catalog.Findings = append(b.Catalog.Findings, policy.Finding{ID: r.ID, Level: policy.Level(r.Level)})
	}
	var err error
	b.Set, err = policy.Compile(spec, b.Catalog)
	return b, err
}

// add takes a script into the catalog, and notes by what it is called.
func (b *Book) add(s policy.Script, e entry, class policy.Class) {
	i := len(b.Catalog.Scripts)
	b.Catalog.Scripts = append(b.Catalog.Scripts, s)
	b.class, b.own = append(b.class, class), append(b.own, e.own)
	if s.Function != "" {
		b.places["function "+s.Function+"@"+e.version] = i
		if e.active {
			b.places["function "+s.Function] = i
		}
		return
	}
	b.places[e.name+"@"+e.version] = i
	if e.active {
		b.places[e.name] = i
	}
	if _, taken := b.places[e.sha]; !taken {
		b.places[e.sha] = i
	}
}

// runs finds the index of what runs for a name, name@version, sha, or
// "function f"; false when nothing of that name is registered.
func (b *Book) runs(called string) (int, bool) {
	i, ok := b.places[called]
	if ok && registry.IsSHA(called) && !b.own[i] {
		if active, has := b.places[b.Catalog.Scripts[i].Name]; has {
			return active, true
		}
	}
	return i, ok
}

// ownTime bounds the analysis of a registered script. It is longer than what
// strangers send gets, so that a busy machine does not decide what rules know.
const ownTime = 2 * time.Second

// scriptFacts are what the analysis of one body found.
type scriptFacts struct {
	commands []string
	findings []policy.Finding
	read     bool
}

type factKey struct {
	sha      string
	declared lua.Class
}

// factBook remembers what was found, so that each body is analysed once. Any
// goroutine may use it.
type factBook struct {
	mu    sync.Mutex
	known map[factKey]*scriptFacts
}

// of returns what is known of each entry, and finds out what is not. It takes
// about 0.1 ms for a kilobyte that is new, on all processors.
func (b *factBook) of(entries []entry) []*scriptFacts {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := make(map[factKey]*scriptFacts, len(entries))
	var missing []entry
	for _, e := range entries {
		key := factKey{e.sha, e.declared}
		if known[key] != nil {
			continue
		}
		if f := b.known[key]; f != nil {
			known[key] = f
			continue
		}
		known[key] = new(scriptFacts)
		missing = append(missing, e)
	}
	var wg sync.WaitGroup
	next := make(chan entry)
	for range min(runtime.GOMAXPROCS(0), len(missing)) {
		wg.Go(func() {
			for e := range next {
				*known[factKey{e.sha, e.declared}] = *factsOf(lua.Analyse(e.body, lua.Options{
					DeclaredClass: e.declared, Name: e.name, MaxBytes: len(e.body), Timeout: ownTime,
				}))
			}
		})
	}
	for _, e := range missing {
		next <- e
	}
	close(next)
	wg.Wait()
	b.known = known // what no entry needs any more is forgotten
	facts := make([]*scriptFacts, len(entries))
	for i, e := range entries {
		facts[i] = known[factKey{e.sha, e.declared}]
	}
	return facts
}

func factsOf(a *lua.Analysis) *scriptFacts {
	f := &scriptFacts{read: a.Class == lua.Read || a.NoWrites}
	if a.Analysed {
		f.commands = make([]string, 0, len(a.Commands))
		for _, c := range a.Commands {
			f.commands = append(f.commands, strings.ToLower(c))
		}
	}
	for _, x := range a.Findings {
		f.findings = append(f.findings, policy.Finding{ID: x.Rule, Level: policy.Level(x.Level)})
	}
	return f
}
