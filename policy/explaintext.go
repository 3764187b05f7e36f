package policy

import (
	"fmt"
	"strings"
)

// String gives the explanation as lines for a terminal: the verdict, what it carries, and a line for each
// rule with the first condition that does not hold.
func (e Explanation) String() string {
	var b strings.Builder
	e.verdict(&b)
	for _, a := range e.Attributes {
		fmt.Fprintf(&b, "%s %s, by rule '%s'\n", a.Name, a.Value, e.Rules[a.Rule].Rule.Name)
	}
	width := 0
	for _, x := range e.Rules {
		width = max(width, len(x.Rule.Name))
	}
	for i, x := range e.Rules {
		mark := ' '
		if i == e.Decider {
			mark = '>'
		}
		fmt.Fprintf(&b, "%c %3d  %-*s  %-8s  %s", mark, i+1, width, x.Rule.Name, x.Rule.Action, x.why())
		if !x.Reached {
			b.WriteString(" (not reached)")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (e Explanation) verdict(b *strings.Builder) {
	word := map[Action]string{Allow: "allowed", Deny: "denied", Audit: "allowed, and reported"}[e.Action]
	if !e.Certain {
		word = "probably " + word
	}
	switch {
	case e.Mode == ModeOff:
		word += " (the mode is off: nothing is looked at)"
	case e.Mode == ModeAudit && e.Action == Deny:
		word += " (the mode is audit: it runs, and is reported)"
	}
	fmt.Fprintf(b, "%s: %s", word, e.Reason)
	if e.Rule != NoRule && e.Rules[e.Rule].Rule.Line > 0 {
		fmt.Fprintf(b, " (line %d)", e.Rules[e.Rule].Rule.Line)
	}
	b.WriteByte('\n')
	if !e.Certain {
		b.WriteString("it depends on what was not given: see the rules marked depends\n")
	}
}

// why gives the condition that settles whether the rule matches.
func (x RuleExplanation) why() string {
	if x.Holds == Yes {
		if len(x.Conditions) == 0 {
			return "matches: it has no conditions"
		}
		parts := make([]string, len(x.Conditions))
		for i, c := range x.Conditions {
			parts[i] = c.Field + " " + c.Has
		}
		return "matches: " + strings.Join(parts, "; ")
	}
	for _, c := range x.Conditions {
		if c.Holds != x.Holds {
			continue
		}
		if c.Holds == Open {
			return fmt.Sprintf("depends on %s: wants %s", c.Field, c.Wants)
		}
		return fmt.Sprintf("does not match: %s is %s, wants %s", c.Field, c.Has, c.Wants)
	}
	return ""
}
