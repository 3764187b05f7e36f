package lua

import (
	"fmt"
	"strings"
)

// Documentation is the page that explains every rule, docs/lint.md.
func Documentation() string {
	var sb strings.Builder
	sb.WriteString(docsHead)
	for i := range allRules {
		r := &allRules[i]
		fmt.Fprintf(&sb, "| [%s](#%s) | %s | %s |\n", r.ID, r.ID, r.Level, r.Summary)
	}
	fmt.Fprintf(&sb, docsLimits, defaultMaxBytes>>20, maxTokens/1000, maxNesting, defaultTimeout.Milliseconds())
	for i := range allRules {
		r := &allRules[i]
		fmt.Fprintf(&sb, "\n## %s\n\n*%s.* Level: %s.\n\n%s\n\n**What to do:** %s\n", r.ID, r.Summary, r.Level, r.Explanation, r.Fix)
		if r.ID != unanalysedRule {
			fmt.Fprintf(&sb, "\nFound:\n\n```lua\n%s```\n\nSound:\n\n```lua\n%s```\n", r.Bad, r.Good)
		}
	}
	return sb.String()
}

const docsHead = `# What the lint says about scripts

` + "`scriptproxy script lint FILE…`" + ` reads Redis Lua scripts without running them. For each it says which commands the script
calls, whether it can write, how many keys and arguments it uses, and what is wrong with it.

A finding has a level:

- **error**: surely a mistake, or refused by Redis.
- **warning**: probably a mistake, or a danger to others on the same server.
- **note**: worth knowing. Sound scripts have notes.

The level below is the highest that a rule gives; where it can tell that a case is harmless, it gives a lower one.

<!-- This page is written by go test ./policy/lua -update from the rules themselves. -->

| rule | level | what it finds |
|---|---|---|
`

const docsLimits = `
The lint follows names, not runs. Locals, upvalues and parameters of functions whose every call is visible are followed; the
order of statements mostly is not. So it may miss a mistake, and a rule that goes by names (locks, balances) may be wrong
about a script that uses the words for something else. It is no wall against a malicious author: only the server's ACL is.

Bodies longer than %d MiB, with more than %d,000 tokens, nested deeper than %d levels, or that take longer than %d ms are
not analysed; they count as writes.
`
