package policy

import "strings"

// glob is a text in which * stands for any text and ? for one byte. Nothing escapes them.
type glob string

// literal reports whether the pattern matches one text only.
func (g glob) literal() bool { return !strings.ContainsAny(string(g), "*?") }

// match reports whether all of text matches, in time proportional to the product of both lengths at worst.
func (g glob) match(text string) bool {
	return g.run(text, func(pattern, b byte) bool { return pattern == '?' || pattern == b })
}

// covers reports whether every text that other matches is matched by g. It never says so wrongly; it may
// miss a case in which several wildcards cover each other in a roundabout way.
func (g glob) covers(other glob) bool {
	return g.run(string(other), func(pattern, b byte) bool {
		return b != '*' && (pattern == '?' || pattern == b)
	})
}

// run matches text against g with one step of backtracking: to the last star.
func (g glob) run(text string, same func(pattern, b byte) bool) bool {
	p, t := 0, 0
	star, mark := -1, 0
	for t < len(text) {
		switch {
		case p < len(g) && g[p] == '*':
			star, mark = p, t
			p++
		case p < len(g) && same(g[p], text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(g) && g[p] == '*' {
		p++
	}
	return p == len(g)
}

// globs is a list of which any entry suffices; an empty one states no condition.
type globs []glob

func toGlobs(texts []string) globs {
	list := make(globs, len(texts))
	for i, t := range texts {
		list[i] = glob(t)
	}
	return list
}

func (l globs) match(text string) bool {
	for _, g := range l {
		if g.match(text) {
			return true
		}
	}
	return false
}

// scriptGlob matches a script by its name or, when the pattern has an @, by name@version.
type scriptGlob struct {
	glob
	versioned bool
}

func toScriptGlobs(texts []string) []scriptGlob {
	list := make([]scriptGlob, len(texts))
	for i, t := range texts {
		list[i] = scriptGlob{glob(t), strings.Contains(t, "@")}
	}
	return list
}

func (g scriptGlob) matchScript(name, version string) bool {
	if g.versioned {
		return g.match(name + "@" + version)
	}
	return g.match(name)
}

func (g scriptGlob) coversScript(other scriptGlob) bool {
	if g.versioned == other.versioned {
		return g.covers(other.glob)
	}
	if g.versioned {
		return false
	}
	name, _, _ := strings.Cut(string(other.glob), "@")
	return g.covers(glob(name))
}

// commandPattern matches commands by name. "config" is the command with all its subcommands, "config|set"
// one of them, "config|" the command without a subcommand, "@dangerous" an ACL category; * and ? are
// wildcards.
type commandPattern struct {
	glob     glob
	category string
	whole    bool // without a |: subcommands belong to it
}

func toCommandPattern(text string) commandPattern {
	text = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(text)), " ", "|")
	if rest, ok := strings.CutPrefix(text, "@"); ok {
		return commandPattern{category: rest}
	}
	bare, _ := strings.CutSuffix(text, "|")
	return commandPattern{glob: glob(bare), whole: !strings.Contains(text, "|")}
}

func toCommandPatterns(texts []string) []commandPattern {
	list := make([]commandPattern, len(texts))
	for i, t := range texts {
		list[i] = toCommandPattern(t)
	}
	return list
}

// String gives the pattern as the catalog writes commands.
func (p commandPattern) String() string {
	if p.category != "" {
		return "@" + p.category
	}
	return string(p.glob)
}

// match reports whether the pattern means the command, whose ACL categories are given.
func (p commandPattern) match(name string, categories []string) bool {
	if p.category != "" {
		for _, c := range categories {
			if c == p.category {
				return true
			}
		}
		return p.category == "all"
	}
	if p.glob.match(name) {
		return true
	}
	if parent, _, sub := strings.Cut(name, "|"); sub && p.whole {
		return p.glob.match(parent)
	}
	return false
}

func (p commandPattern) covers(other commandPattern) bool {
	if p.glob == "*" || p.category == "all" {
		return true
	}
	if p.category != "" || other.category != "" {
		return p.category == other.category
	}
	if p.whole && !other.whole {
		parent, _, _ := strings.Cut(string(other.glob), "|")
		return p.glob.covers(glob(parent))
	}
	return p.whole == other.whole && p.glob.covers(other.glob)
}
