package registry

import (
	"fmt"
	"strings"
)

// Diff returns the difference between two versions' bodies in unified format, empty when there
// is none. An empty a stands for the active version, and an empty b for the newest.
func (r *Registry) Diff(name, a, b string) (string, error) {
	s := r.Snapshot()
	script, err := existing(s, s.Script(name), name)
	if err != nil {
		return "", err
	}
	if a == "" {
		if a = script.Active; a == "" {
			return "", invalid(name, "no version is active; name the two versions to compare")
		}
	}
	if b == "" {
		b = script.Versions[len(script.Versions)-1].ID
	}
	from, err := versionOf(script, a)
	if err != nil {
		return "", err
	}
	to, err := versionOf(script, b)
	if err != nil {
		return "", err
	}
	return unified(name+"@"+a, name+"@"+b, string(from.Body), string(to.Body)), nil
}

type edit struct {
	op   byte // ' ', '-' or '+'
	line string
}

const contextLines = 3

func unified(nameA, nameB, a, b string) string {
	if a == b {
		return ""
	}
	edits := diffLines(lines(a), lines(b))
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", nameA, nameB)
	lineA, lineB := 1, 1 // of edits[i]
	for i := 0; i < len(edits); {
		if edits[i].op == ' ' {
			i, lineA, lineB = i+1, lineA+1, lineB+1
			continue
		}
		begin, end := max(0, i-contextLines), hunkEnd(edits, i)
		var hunk strings.Builder
		countA, countB := 0, 0
		for _, e := range edits[begin:end] {
			hunk.WriteByte(e.op)
			hunk.WriteString(e.line)
			if !strings.HasSuffix(e.line, "\n") {
				hunk.WriteString("\n\\ No newline at end of file\n")
			}
			if e.op != '+' {
				countA++
			}
			if e.op != '-' {
				countB++
			}
		}
		startA, startB := lineA-(i-begin), lineB-(i-begin)
		fmt.Fprintf(&out, "@@ -%s +%s @@\n%s", span(startA, countA), span(startB, countB), hunk.String())
		lineA, lineB, i = startA+countA, startB+countB, end
	}
	return out.String()
}

// hunkEnd returns where the hunk that begins with the change at i ends: after the context that
// follows its last change.
func hunkEnd(edits []edit, i int) int {
	last := i
	for j := i; j < len(edits) && j-last <= 2*contextLines; j++ {
		if edits[j].op != ' ' {
			last = j
		}
	}
	return min(last+1+contextLines, len(edits))
}

func span(start, count int) string {
	if count == 0 {
		start--
	}
	if count == 1 {
		return fmt.Sprint(start)
	}
	return fmt.Sprintf("%d,%d", start, count)
}

// lines splits after each newline.
func lines(s string) []string {
	out := strings.SplitAfter(s, "\n")
	if out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// diffLines finds the shortest edit from a to b (Myers, "An O(ND) difference algorithm"), or, when
// they have little in common, replaces all that differs.
func diffLines(a, b []string) []edit {
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var edits []edit
	for _, line := range a[:head] {
		edits = append(edits, edit{' ', line})
	}
	edits = append(edits, myers(a[head:len(a)-tail], b[head:len(b)-tail])...)
	for _, line := range a[len(a)-tail:] {
		edits = append(edits, edit{' ', line})
	}
	return edits
}

// maxEdits bounds the memory of myers, which grows with the square of the number of edits.
const maxEdits = 1500

func myers(a, b []string) []edit {
	limit := min(len(a)+len(b), maxEdits)
	// furthest[limit+k] is how far in a the diagonal k has come.
	furthest := make([]int, 2*limit+2)
	var trace [][]int
	for d := 0; d <= limit; d++ {
		trace = append(trace, append([]int(nil), furthest[limit-d:limit+d+1]...))
		for k := -d; k <= d; k += 2 {
			var x int
			if k == -d || k != d && furthest[limit+k-1] < furthest[limit+k+1] {
				x = furthest[limit+k+1]
			} else {
				x = furthest[limit+k-1] + 1
			}
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			furthest[limit+k] = x
			if x >= len(a) && x-k >= len(b) {
				return backtrack(a, b, trace)
			}
		}
	}
	edits := make([]edit, 0, len(a)+len(b))
	for _, line := range a {
		edits = append(edits, edit{'-', line})
	}
	for _, line := range b {
		edits = append(edits, edit{'+', line})
	}
	return edits
}

// backtrack walks from the end to the beginning; trace[d] holds the diagonals -d…d as they were
// before step d.
func backtrack(a, b []string, trace [][]int) []edit {
	var reversed []edit
	x, y := len(a), len(b)
	for d := len(trace) - 1; d > 0; d-- {
		k, before := x-y, trace[d]
		at := func(k int) int { return before[d+k] }
		fromK := k - 1
		if k == -d || k != d && at(k-1) < at(k+1) {
			fromK = k + 1
		}
		fromX := at(fromK)
		fromY := fromX - fromK
		for x > fromX && y > fromY && x > 0 && y > 0 && a[x-1] == b[y-1] {
			x, y = x-1, y-1
			reversed = append(reversed, edit{' ', a[x]})
		}
		if fromK == k+1 {
			y--
			reversed = append(reversed, edit{'+', b[y]})
		} else {
			x--
			reversed = append(reversed, edit{'-', a[x]})
		}
	}
	for x > 0 {
		x--
		reversed = append(reversed, edit{' ', a[x]})
	}
	edits := make([]edit, 0, len(reversed))
	for i := len(reversed) - 1; i >= 0; i-- {
		edits = append(edits, reversed[i])
	}
	return edits
}
