package acl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/scriptproxy/scriptproxy/policy"
)

// model is what a server's ACL knows of its commands.
type model struct {
	names      []string            // all of them, sorted; subcommands as config|set
	categories map[string][]string // name → categories
	subs       map[string][]string // container → its subcommands, full names, sorted
}

func newModel(commands []policy.Command) *model {
	m := &model{categories: make(map[string][]string, len(commands)), subs: make(map[string][]string)}
	for _, c := range commands {
		name := strings.ToLower(c.Name)
		m.categories[name] = c.Categories
		m.names = append(m.names, name)
		if parent, _, sub := strings.Cut(name, "|"); sub {
			m.subs[parent] = append(m.subs[parent], name)
		}
	}
	slices.Sort(m.names)
	m.names = slices.Compact(m.names)
	for _, subs := range m.subs {
		slices.Sort(subs)
	}
	return m
}

func (m *model) knows(name string) bool {
	_, known := m.categories[name]
	return known
}

// permissions is a set of commands that a user may run.
type permissions map[string]bool

// permitted evaluates the command rules of an ACL as the server does, one after the other. Grants of a single
// first argument (+select|0) count as grants of the command: a wall with a hole is no wall.
func (m *model) permitted(rules string) (permissions, error) {
	p := make(permissions, len(m.names))
	for word := range strings.FieldsSeq(strings.ToLower(rules)) {
		switch word {
		case "allcommands":
			word = "+@all"
		case "nocommands":
			word = "-@all"
		}
		grant := word[0] == '+'
		if !grant && word[0] != '-' {
			return nil, fmt.Errorf("unknown ACL rule '%s'", word)
		}
		what := word[1:]
		if category, ok := strings.CutPrefix(what, "@"); ok {
			m.setCategory(p, category, grant)
			continue
		}
		if parent, _, sub := strings.Cut(what, "|"); sub && !m.knows(what) && len(m.subs[parent]) == 0 {
			what = parent
		}
		m.set(p, what, grant)
	}
	for _, name := range unchecked {
		p[name] = true
	}
	return p, nil
}

func (m *model) setCategory(p permissions, category string, grant bool) {
	for _, name := range m.names {
		if category == "all" || slices.Contains(m.categories[name], category) {
			m.set(p, name, grant)
		}
	}
}

// set grants or takes away a command with all its subcommands.
func (m *model) set(p permissions, name string, grant bool) {
	p[name] = grant
	for _, sub := range m.subs[name] {
		p[sub] = grant
	}
}

// grants writes rules that start from nothing and give exactly these permissions.
func (m *model) grants(p permissions) []string {
	words := []string{"-@all"}
	for _, name := range m.names {
		if strings.Contains(name, "|") {
			continue
		}
		if p[name] {
			words = append(words, "+"+name)
		}
		for _, sub := range m.subs[name] {
			switch {
			case p[name] && !p[sub]:
				words = append(words, "-"+sub)
			case !p[name] && p[sub]:
				words = append(words, "+"+sub)
			}
		}
	}
	return words
}

// denials writes rules that take these commands away and leave all others as they are on the server. A command
// whose subcommands are not all denied cannot be taken away alone: COMMAND stays then, and Check says so.
func (m *model) denials(denied map[string]string) []string {
	var words []string
	has := func(name string) bool { return denied[name] != "" }
	for _, name := range m.names {
		parent, _, sub := strings.Cut(name, "|")
		switch {
		case !has(name):
		case sub && m.whole(parent, has): // taken away with its command
		case sub || m.whole(name, has):
			words = append(words, "-"+name)
		}
	}
	return words
}

// whole reports whether a command and all its subcommands are in the set.
func (m *model) whole(name string, has func(string) bool) bool {
	return has(name) && !slices.ContainsFunc(m.subs[name], func(sub string) bool { return !has(sub) })
}
