package policy

import (
	"slices"
	"strconv"
	"strings"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// entry names an entry of a list, as Rule.Lines does.
func entry(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

// lower returns the texts in lower case; it shares the list when all of them are.
func lower(texts []string) []string {
	if !slices.ContainsFunc(texts, func(t string) bool { return strings.ToLower(t) != t }) {
		return texts
	}
	list := make([]string, len(texts))
	for i, t := range texts {
		list[i] = strings.ToLower(t)
	}
	return list
}

// quoted lists names for a reader: 'a', 'b' and 'c'.
func quoted(names []string) string {
	var b strings.Builder
	for i, n := range names {
		switch {
		case i > 0 && i == len(names)-1:
			b.WriteString(" and ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString("'" + n + "'")
	}
	return b.String()
}

// didYouMean returns a hint with the known finding that is nearest to text, or nothing when none is near.
func didYouMean(text string, known []Finding) string {
	best, at := 3, ""
	for _, f := range known {
		if d := distance(text, f.ID); d < best {
			best, at = d, f.ID
		}
	}
	if at == "" {
		return ""
	}
	return " (did you mean '" + at + "'?)"
}

// distance counts the insertions, deletions and replacements of bytes that turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
