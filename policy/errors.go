package policy

import (
	"fmt"
	"strings"
)

// Problem is one thing wrong with a Spec, or worth a warning.
type Problem struct {
	File string // empty when the Spec named none
	Line int    // 0 when the Spec named none
	Rule string // empty when the problem is not a rule's
	Text string
}

// Error gives "rules.yaml:12: rule 'no-flush': …"; parts that are not known are left out.
func (p Problem) Error() string {
	var b strings.Builder
	switch {
	case p.File != "" && p.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	case p.File != "":
		b.WriteString(p.File + ": ")
	case p.Line > 0:
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	if p.Rule != "" {
		fmt.Fprintf(&b, "rule '%s': ", p.Rule)
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is the error of Compile: everything that is wrong, in the order of the lines.
type Problems []Problem

// Error gives one problem a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

// reporter collects a Spec's problems.
type reporter struct {
	file     string
	problems Problems
}

// rule adds a problem of a rule, at the line of its field where that is known, else of the list that the
// field is an entry of, else of the rule.
func (r *reporter) rule(rule *Rule, field, format string, args ...any) {
	line, ok := rule.Lines[field]
	if list, _, entry := strings.Cut(field, "["); !ok && entry {
		line, ok = rule.Lines[list]
	}
	if !ok {
		line = rule.Line
	}
	name := rule.Name
	r.problems = append(r.problems, Problem{r.file, line, name, fmt.Sprintf(format, args...)})
}
