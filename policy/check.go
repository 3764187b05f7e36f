package policy

import (
	"slices"
	"strings"
)

// MaxRules bounds a policy. Deciding costs a word per 64 rules; thousands of rules are slow to read before
// they are slow to run.
const MaxRules = 1<<16 - 2

// checker turns Rules into rules and reports everything that is wrong on the way.
type checker struct {
	reporter
	catalog    *Catalog
	commands   map[string][]string // known commands with their categories
	categories map[string]bool
	levels     map[string]Level // known findings
	owners     map[string]int   // sha → index of its script in the catalog
	names      map[string][]int // script name → its versions in the catalog
}

func newChecker(spec *Spec, catalog *Catalog) *checker {
	c := &checker{
		reporter:   reporter{file: spec.File},
		catalog:    catalog,
		commands:   make(map[string][]string, len(catalog.Commands)),
		categories: map[string]bool{"all": true},
		levels:     make(map[string]Level, len(catalog.Findings)),
		owners:     make(map[string]int, len(catalog.Scripts)),
		names:      make(map[string][]int, len(catalog.Scripts)),
	}
	for _, command := range catalog.Commands {
		c.commands[command.Name] = command.Categories
		for _, category := range command.Categories {
			c.categories[category] = true
		}
	}
	for _, f := range catalog.Findings {
		c.levels[f.ID] = f.Level
	}
	for i, s := range catalog.Scripts {
		if s.SHA != "" {
			c.owners[s.SHA] = i
		}
		c.names[s.Name] = append(c.names[s.Name], i)
	}
	return c
}

// rules checks each rule by itself and then all of them against each other.
func (c *checker) rules(rules []Rule) []*rule {
	if len(rules) > MaxRules {
		c.problems = append(c.problems, Problem{File: c.file, Text: "more than 65534 rules"})
		return nil
	}
	checked := make([]*rule, len(rules))
	lines := make(map[string]int, len(rules))
	for i := range rules {
		r := &rules[i]
		switch first, taken := lines[r.Name]; {
		case r.Name == "":
			c.rule(r, "name", "a rule has no name: errors, counters and denied clients refer to it")
		case strings.ContainsFunc(r.Name, func(r rune) bool { return r < ' ' || r == '\'' || r == 0x7f }):
			c.rule(r, "name", "the name has quotes or control characters")
		case taken && first > 0:
			c.rule(r, "name", "there is another rule of this name in line %d", first)
		case taken:
			c.rule(r, "name", "there is another rule of this name")
		}
		if _, taken := lines[r.Name]; !taken {
			lines[r.Name] = r.Line
		}
		before := len(c.problems)
		checked[i] = c.match(r)
		c.effect(r, checked[i])
		if len(c.problems) > before {
			checked[i] = nil // nothing can be concluded from a rule that is wrong
		}
	}
	c.shadows(checked)
	return checked
}

// shadows reports rules that can never be reached, because one before them decides everything they match.
func (c *checker) shadows(rules []*rule) {
	for i, later := range rules {
		if later == nil {
			continue
		}
		for _, earlier := range rules[:i] {
			if earlier != nil && earlier.decisive() && earlier.covers(later) {
				where := ""
				if earlier.line > 0 {
					where = " in line " + itoa(int64(earlier.line))
				}
				c.rule(later.source, "", "it can never match: rule '%s'%s already decides every call that it describes; put it before that rule or remove it", earlier.name, where)
				break
			}
		}
	}
}

// match checks a rule's conditions.
func (c *checker) match(r *Rule) *rule {
	m := &r.Match
	out := &rule{
		name: r.Name, line: r.Line, source: r,
		listeners: m.Listeners, tags: m.Tags, shas: lower(m.SHAs),
		scripts: toScriptGlobs(m.Scripts), functions: toGlobs(m.Functions),
		uses: toCommandPatterns(m.Uses), commands: toCommandPatterns(m.Commands),
		plain: len(m.Commands) > 0, classes: allClasses,
	}
	if !slices.Contains(m.Users, "*") {
		out.users = toGlobs(m.Users)
	}
	c.entries(r)
	for i, text := range m.Networks {
		if text == unixNetwork {
			out.networks.unix = true
		} else if p, err := parseNetwork(text); err != nil {
			c.rule(r, entry("networks", i), "%v", err)
		} else {
			out.networks.prefixes = append(out.networks.prefixes, p)
		}
	}
	for i, name := range m.Listeners {
		if len(c.catalog.Listeners) > 0 && !slices.Contains(c.catalog.Listeners, name) {
			c.rule(r, entry("listeners", i), "unknown listener '%s': there is %s", name, quoted(c.catalog.Listeners))
		}
	}
	for i, text := range m.Classes {
		class, err := ParseClass(text)
		if err != nil {
			c.rule(r, entry("classes", i), "%v", err)
			continue
		}
		if i == 0 {
			out.classes = 0
		}
		out.classes |= 1 << class
	}
	for i, sha := range out.shas {
		if len(sha) != 40 || strings.Trim(sha, "0123456789abcdef") != "" {
			c.rule(r, entry("shas", i), "bad sha '%s': it must be 40 hexadecimal digits", sha)
		}
	}
	c.patterns(r, "uses", out.uses)
	c.patterns(r, "commands", out.commands)
	c.findings(r, out)
	c.spans(r, out)
	c.hours(r, out)
	c.scripts(r, out)
	return out
}

// entries reports empty entries of lists: they match nothing, and stand for a mistake.
func (c *checker) entries(r *Rule) {
	m := &r.Match
	for _, l := range []struct {
		field string
		list  []string
	}{
		{"users", m.Users}, {"networks", m.Networks}, {"listeners", m.Listeners}, {"scripts", m.Scripts},
		{"functions", m.Functions}, {"tags", m.Tags}, {"shas", m.SHAs}, {"classes", m.Classes}, {"uses", m.Uses},
		{"findings", m.Findings}, {"commands", m.Commands}, {"hours", m.Hours},
	} {
		if i := slices.Index(l.list, ""); i >= 0 {
			c.rule(r, entry(l.field, i), "%s has an empty entry", l.field)
		}
	}
}

// patterns checks commands and categories against those that are known. Commands of modules have a dot in
// their names and may be unknown.
func (c *checker) patterns(r *Rule, field string, list []commandPattern) {
	for i, p := range list {
		name := string(p.glob)
		parent, _, sub := strings.Cut(name, "|")
		_, known := c.commands[name]
		_, container := c.commands[parent]
		switch {
		case p.category != "":
			if !c.categories[p.category] {
				c.rule(r, entry(field, i), "unknown command category '%s'", p)
			}
		case known || name == "" || len(c.catalog.Commands) == 0:
		case !p.glob.literal() || strings.Contains(parent, "."):
		case sub && container:
			c.rule(r, entry(field, i), "the command %s has no subcommand %s", strings.ToUpper(parent), strings.ToUpper(name[len(parent)+1:]))
		default:
			c.rule(r, entry(field, i), "unknown command %s", strings.ToUpper(name))
		}
		if field == "commands" && slices.Contains(scriptCalls, name) {
			c.rule(r, entry(field, i), "%s is a script call, which rules with commands are not about: leave out commands, and use scripts, functions, shas or registered", strings.ToUpper(name))
		}
	}
}

// scriptCalls are the commands that call a script; they are asked for as script calls, never as commands.
var scriptCalls = []string{"eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro"}

// IsScriptCall reports whether the command, in lower case, is one that rules know as a script call and not
// as a plain command.
func IsScriptCall(name string) bool { return slices.Contains(scriptCalls, name) }

func (c *checker) findings(r *Rule, out *rule) {
	for i, text := range r.Match.Findings {
		if level, ok := parseLevel(text); ok {
			if !out.hasLevel || level < out.level {
				out.hasLevel, out.level = true, level
			}
			continue
		}
		if _, known := c.levels[text]; !known && len(c.levels) > 0 && text != "" {
			c.rule(r, entry("findings", i), "unknown lint rule '%s'%s; a level (error, warning, note) can be given too", text, didYouMean(text, c.catalog.Findings))
		}
		out.findings = append(out.findings, text)
	}
}

func (c *checker) spans(r *Rule, out *rule) {
	m := &r.Match
	out.keys, out.arguments = wholeSpan, wholeSpan
	if m.MinKeys != nil {
		out.keys.lo = int64(*m.MinKeys)
	}
	if m.MaxKeys != nil {
		out.keys.hi = int64(*m.MaxKeys)
	}
	if m.MinArgBytes != nil {
		out.arguments.lo = *m.MinArgBytes
	}
	if m.MaxArgBytes != nil {
		out.arguments.hi = *m.MaxArgBytes
	}
	for _, s := range []struct {
		span   span
		lo, hi string
	}{{out.keys, "min_keys", "max_keys"}, {out.arguments, "min_arg_bytes", "max_arg_bytes"}} {
		switch {
		case s.span.lo < 0:
			c.rule(r, s.lo, "%s is negative", s.lo)
		case s.span.hi < 0:
			c.rule(r, s.hi, "%s is negative", s.hi)
		case s.span.lo > s.span.hi:
			c.rule(r, s.lo, "it can never match: %s %d is above %s %d", s.lo, s.span.lo, s.hi, s.span.hi)
		}
	}
}

func (c *checker) hours(r *Rule, out *rule) {
	m := &r.Match
	zone, err := parseZone(m.Zone)
	if err != nil {
		c.rule(r, "zone", "%v", err)
		return
	}
	if len(m.Hours) == 0 {
		if m.Zone != "" {
			c.rule(r, "zone", "zone without hours")
		}
		return
	}
	out.hours = &schedule{zone: zone}
	for i, text := range m.Hours {
		if text == "" {
			continue
		}
		if err := out.hours.add(text); err != nil {
			c.rule(r, entry("hours", i), "%v", err)
		}
	}
}

// scripts checks that the conditions on the script do not exclude each other.
func (c *checker) scripts(r *Rule, out *rule) {
	m := &r.Match
	byName := len(m.Scripts) > 0 || len(m.Tags) > 0
	switch {
	case m.Registered == nil && byName, m.Registered != nil && *m.Registered:
		out.registered = onlyRegistered
	case m.Registered != nil:
		out.registered = onlyUnregistered
		if byName {
			c.rule(r, "registered", "it can never match: only registered scripts have names and tags, and registered is false")
		}
	}
	if out.plain {
		for _, f := range []struct {
			field string
			set   bool
		}{
			{"scripts", len(m.Scripts) > 0}, {"functions", len(m.Functions) > 0}, {"tags", len(m.Tags) > 0}, {"shas", len(m.SHAs) > 0},
			{"registered", m.Registered != nil}, {"uses", len(m.Uses) > 0}, {"findings", len(m.Findings) > 0},
		} {
			if f.set {
				c.rule(r, f.field, "it can never match: commands is about plain commands, and %s about scripts; make two rules of it", f.field)
			}
		}
		return
	}
	if len(out.shas) == 0 {
		return
	}
	for _, sha := range out.shas {
		i, known := c.owners[sha]
		if !known {
			if byName && len(c.catalog.Scripts) > 0 {
				continue // it may be registered later
			}
			return
		}
		s := &c.catalog.Scripts[i]
		if len(out.scripts) == 0 || slices.ContainsFunc(out.scripts, func(g scriptGlob) bool { return g.matchScript(s.Name, s.Version) }) {
			return
		}
	}
	if i, known := c.owners[out.shas[0]]; known && len(out.scripts) > 0 {
		s := &c.catalog.Scripts[i]
		c.rule(r, "shas", "it can never match: the sha %s is that of script '%s' version %s, which scripts does not name", out.shas[0], s.Name, s.Version)
	}
}
