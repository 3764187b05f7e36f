package lua

import (
	"cmp"
	"fmt"
	"slices"
)

// Level says how bad a finding is.
type Level uint8

const (
	Note    Level = iota // worth knowing; sound scripts have such findings
	Warning              // probably a mistake, or a danger to others
	Error                // surely a mistake
)

func (l Level) String() string { return [...]string{"note", "warning", "error"}[min(l, Error)] }

// MarshalText makes a level its name in JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a level's name.
func (l *Level) UnmarshalText(text []byte) error {
	for _, known := range []Level{Note, Warning, Error} {
		if string(text) == known.String() {
			*l = known
			return nil
		}
	}
	return fmt.Errorf("unknown level %q: note, warning and error exist", text)
}

// Finding is one thing that a rule says about one place of a body. Lines and columns count from 1, columns in code
// points; the end is the first column after it.
type Finding struct {
	Rule      string `json:"rule"`
	Level     Level  `json:"level"` // at most the rule's own level
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndLine   int    `json:"endLine"`
	EndColumn int    `json:"endColumn"`
	Message   string `json:"message"` // what is wrong, here
	Fix       string `json:"fix"`     // what to do about it
	Page      string `json:"page"`    // where the rule is explained: a file of the documentation, with an anchor
}

// Count is the number of findings of at least a level.
func (a *Analysis) Count(level Level) int {
	n := 0
	for i := range a.Findings {
		if a.Findings[i].Level >= level {
			n++
		}
	}
	return n
}

func sortFindings(list []Finding) {
	slices.SortStableFunc(list, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Rule, b.Rule))
	})
}
