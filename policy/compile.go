package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Compile checks spec against catalog and makes it ready to decide. The error is a Problems with everything
// that is wrong, each with its rule and line; the Set is then nil. spec and catalog must not be changed
// afterwards. Compile is for ordinary goroutines: 1,000 rules and 10,000 scripts take some tens of
// milliseconds.
func Compile(spec Spec, catalog Catalog) (*Set, error) {
	catalog = catalog.folded()
	c := newChecker(&spec, &catalog)
	rules := c.rules(spec.Rules)
	for _, d := range []struct {
		name   string
		action Action
	}{{"default", spec.Default}, {"default_commands", spec.DefaultCommands}} {
		if d.action == Audit {
			c.problems = append(c.problems, Problem{File: spec.File, Text: fmt.Sprintf("%s is audit: use allow or deny, and mode: audit to try it out", d.name)})
		}
	}
	if len(c.problems) > 0 {
		slices.SortStableFunc(c.problems, func(a, b Problem) int { return a.Line - b.Line })
		return nil, c.problems
	}
	s := &Set{
		spec: spec, catalog: catalog, rules: rules, mode: spec.Mode,
		commandCategories: c.commands,
		networks:          newNetworkTable(rules),
		keys:              newAxis(rules, func(r *rule) span { return r.keys }),
		arguments:         newAxis(rules, func(r *rule) span { return r.arguments }),
		decisive:          newMask(len(rules)),
		setters:           newMask(len(rules)),
		attributes:        make([][numAttributes]uint64, (len(rules)+63)/64),
		users:             make(map[string]*user),
		sessions:          make(map[sessionKey]*Session),
		limits:            make([]ruleLimits, len(rules)),
	}
	for class := range s.classes {
		s.classes[class] = newMask(len(rules))
	}
	for i, r := range rules {
		for class := range s.classes {
			if r.classes>>class&1 != 0 {
				s.classes[class].set(i)
			}
		}
		if r.decisive() {
			s.decisive.set(i)
		}
		for a := range numAttributes {
			if r.sets(a) {
				s.attributes[i/64][a] |= 1 << (i % 64)
				s.setters.set(i)
				s.used |= 1 << a
			}
		}
	}
	s.compileListeners()
	s.compileScripts()
	s.compileCommands()
	s.compileLimits()
	s.warnings = s.warn()
	return s, nil
}

// attribute numbers what a rule can set beside deciding. Each is taken from the first matching rule.
type attribute = int

const (
	attrReport attribute = iota // the rule's action is audit
	attrRoute
	attrDeadline
	attrGate
	attrScriptRate
	attrUserRate
	attrPriority
	attrVersion
	numAttributes
)

func (r *rule) sets(a attribute) bool {
	switch a {
	case attrReport:
		return r.action == Audit
	case attrRoute:
		return r.route != RouteAny
	case attrDeadline:
		return r.deadline != 0
	case attrGate:
		return r.gate != 0
	case attrScriptRate:
		return r.rates[PerScript] != nil
	case attrUserRate:
		return r.rates[PerUser] != nil
	case attrPriority:
		return r.priority != nil
	case attrVersion:
		return r.version != ""
	}
	return false
}

func (s *Set) compileListeners() {
	s.listeners = make([]mask, len(s.catalog.Listeners)+1)
	for l := range s.listeners {
		name := ""
		if l < len(s.catalog.Listeners) {
			name = s.catalog.Listeners[l]
		}
		s.listeners[l] = s.where(func(r *rule) bool { return r.matchesListener(name) })
	}
}

// where returns the rules for which a condition holds.
func (s *Set) where(holds func(*rule) bool) mask {
	m := newMask(len(s.rules))
	for i, r := range s.rules {
		if holds(r) {
			m.set(i)
		}
	}
	return m
}

// compileScripts gives each script of the catalog, and unregistered scripts of which nothing is known, their
// target.
func (s *Set) compileScripts() {
	s.subjects = make(map[string]int32, len(s.catalog.Scripts)+1)
	unregistered := s.subject("")
	masks := newScriptIndex(&s.catalog, s.categoriesOf).masks(s.rules)
	s.scripts = make([]Target, len(s.catalog.Scripts))
	for i := range s.scripts {
		s.scripts[i] = Target{set: s, mask: masks[i], subject: s.subject(s.catalog.Scripts[i].Name)}
	}
	s.unregistered = unregistered
	s.unknownScript = s.Unregistered(Script{})
}

// compileCommands gives each known command its target.
func (s *Set) compileCommands() {
	s.commands = make(map[string]*Target, len(s.catalog.Commands))
	s.subject(commandSubject)
	for _, c := range s.catalog.Commands {
		s.subject(commandSubject + c.Name)
		s.commands[c.Name] = s.newCommand(c.Name)
	}
	s.knownCommands = len(s.commands)
}

// newCommand computes a command's target. Commands that the catalog does not hold share one subject.
func (s *Set) newCommand(name string) *Target {
	subject, known := s.subjects[commandSubject+name]
	if !known {
		subject = s.subjects[commandSubject]
	}
	categories := s.categoriesOf(name)
	return &Target{
		set:     s,
		mask:    s.where(func(r *rule) bool { return r.matchesCommand(name, categories) }),
		subject: subject,
		command: name,
	}
}

// commandSubject starts the subjects of plain commands; no script's name has a colon and a NUL in it.
const commandSubject = "command\x00:"

// categoriesOf returns a command's ACL categories; a subcommand that is not known has its parent's.
func (s *Set) categoriesOf(name string) []string {
	if categories, known := s.commandCategories[name]; known {
		return categories
	}
	parent, _, _ := strings.Cut(name, "|")
	return s.commandCategories[parent]
}

// subject returns the number under which calls of a script or command are counted by limits.
func (s *Set) subject(name string) int32 {
	n, known := s.subjects[name]
	if !known {
		n = int32(len(s.subjects))
		s.subjects[name] = n
	}
	return n
}

// warn lists what is no error but may be a mistake.
func (s *Set) warn() Problems {
	r := reporter{file: s.spec.File}
	names := make(map[string]bool, len(s.catalog.Scripts))
	for i := range s.catalog.Scripts {
		sc := &s.catalog.Scripts[i]
		names[sc.Name], names[sc.Name+"@"+sc.Version] = true, true
	}
	for _, rule := range s.rules {
		for i, g := range rule.scripts {
			if g.literal() && !names[string(g.glob)] {
				r.rule(rule.source, entry("scripts", i), "no script '%s' is registered; the rule takes effect when it is", g.glob)
			}
		}
	}
	return r.problems
}
