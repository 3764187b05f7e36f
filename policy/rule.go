package policy

import (
	"slices"
	"time"
)

// rule is a checked Rule in the form in which it is evaluated.
type rule struct {
	name string
	line int

	users      globs
	networks   networks
	listeners  []string
	scripts    []scriptGlob
	functions  globs
	tags       []string
	shas       []string
	registered registration
	classes    uint8 // a bit for each Class
	uses       []commandPattern
	findings   []string // ids
	level      Level    // findings of this level and worse, when hasLevel
	hasLevel   bool
	plain      bool // about plain commands, not script calls
	commands   []commandPattern
	keys       span
	arguments  span
	hours      *schedule // nil is always

	action   Action
	reason   string // what the client is told, or the log
	route    Route
	deadline time.Duration
	gate     int
	rates    [2]*Rate // by Per
	priority *Priority
	version  string

	source *Rule
}

// registration is a rule's condition on whether the script is registered.
type registration uint8

const (
	anyRegistration registration = iota
	onlyRegistered
	onlyUnregistered
)

const allClasses = 1<<numClasses - 1

// decisive reports whether the rule ends the search when it matches.
func (r *rule) decisive() bool { return r.action == Allow || r.action == Deny }

func (r *rule) matchesUser(name string) bool { return len(r.users) == 0 || r.users.match(name) }

func (r *rule) matchesListener(name string) bool {
	return len(r.listeners) == 0 || slices.Contains(r.listeners, name)
}

// matchesScript reports whether the conditions on the script itself hold. category gives the ACL categories
// of a command.
func (r *rule) matchesScript(s *Script, registered bool, categories func(string) []string) bool {
	switch {
	case r.plain,
		r.registered == onlyRegistered && !registered,
		r.registered == onlyUnregistered && registered,
		len(r.scripts) > 0 && !slices.ContainsFunc(r.scripts, func(g scriptGlob) bool { return g.matchScript(s.Name, s.Version) }),
		len(r.functions) > 0 && (s.Function == "" || !r.functions.match(s.Function)),
		len(r.tags) > 0 && !slices.ContainsFunc(s.Tags, func(t string) bool { return slices.Contains(r.tags, t) }),
		len(r.shas) > 0 && !slices.Contains(r.shas, s.SHA),
		len(r.uses) > 0 && !slices.ContainsFunc(s.Commands, func(c string) bool { return r.usesCommand(c, categories(c)) }),
		r.onFindings() && !slices.ContainsFunc(s.Findings, r.hasFinding):
		return false
	}
	return true
}

func (r *rule) usesCommand(name string, categories []string) bool {
	return slices.ContainsFunc(r.uses, func(p commandPattern) bool { return p.match(name, categories) })
}

func (r *rule) onFindings() bool { return len(r.findings) > 0 || r.hasLevel }

func (r *rule) hasFinding(f Finding) bool {
	return r.hasLevel && f.Level >= r.level || slices.Contains(r.findings, f.ID)
}

// matchesCommand reports whether the rule is about a plain command.
func (r *rule) matchesCommand(name string, categories []string) bool {
	return r.plain && slices.ContainsFunc(r.commands, func(p commandPattern) bool { return p.match(name, categories) })
}

// covers reports whether every call that other matches is matched by r too, as far as the conditions tell
// by themselves. It never says so wrongly.
func (r *rule) covers(other *rule) bool {
	return r.plain == other.plain &&
		r.classes&other.classes == other.classes &&
		r.keys.covers(other.keys) && r.arguments.covers(other.arguments) &&
		(r.registered == anyRegistration || r.registered == other.registered) &&
		listCovers(r.users, other.users, glob.covers) &&
		r.networks.covers(other.networks) &&
		listCovers(r.listeners, other.listeners, same) &&
		listCovers(r.scripts, other.scripts, scriptGlob.coversScript) &&
		listCovers(r.functions, other.functions, glob.covers) &&
		listCovers(r.tags, other.tags, same) &&
		listCovers(r.shas, other.shas, same) &&
		listCovers(r.uses, other.uses, commandPattern.covers) &&
		listCovers(r.commands, other.commands, commandPattern.covers) &&
		r.coversFindings(other) &&
		(r.hours == nil || other.hours != nil && r.hours.covers(other.hours))
}

func (r *rule) coversFindings(other *rule) bool {
	switch {
	case !r.onFindings():
		return true
	case !other.onFindings(), other.hasLevel && !(r.hasLevel && r.level <= other.level):
		return false
	case r.hasLevel && r.level == Note: // every finding
		return true
	}
	return !slices.ContainsFunc(other.findings, func(id string) bool { return !slices.Contains(r.findings, id) })
}

func same(a, b string) bool { return a == b }

// listCovers reports whether each entry of inner is covered by one of outer; an empty list holds everything.
func listCovers[T any, L ~[]T](outer, inner L, covers func(T, T) bool) bool {
	if len(outer) == 0 {
		return true
	}
	if len(inner) == 0 {
		return false
	}
	for _, in := range inner {
		if !slices.ContainsFunc(outer, func(o T) bool { return covers(o, in) }) {
			return false
		}
	}
	return true
}
