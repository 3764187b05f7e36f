package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a configuration.
type Problem struct {
	// File is the name of the configuration file, empty when there is none.
	File string
	// Line is the line in File, 0 when it is not known.
	Line int
	// Path is the key, such as "upstream.primary" or "scripts.list[0].active".
	// Empty means the whole file.
	Path string
	// Text says what is wrong and what to do.
	Text string
}

// String returns the problem as one line: file:line: path: text.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is every mistake of a configuration, ordered by line. It is the error
// that Load, Parse and Validate return.
type Problems []Problem

// Error returns the problems, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// err returns the problems as an error, nil when there are none.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	sortByLine(p)
	return p
}

// Warning is something in a configuration that is allowed and probably not
// meant.
type Warning Problem

// String returns the warning as one line: file:line: path: text.
func (w Warning) String() string { return Problem(w).String() }

func sortByLine[P Problem | Warning](list []P) {
	slices.SortStableFunc(list, func(a, b P) int { return cmp.Compare(Problem(a).Line, Problem(b).Line) })
}

// report collects what is found in one configuration.
type report struct {
	file     string
	built    bool           // whether a program made the Config, not a file
	lines    map[string]int // path → line where it is given
	problems Problems
	warnings []Warning
}

func (r *report) problem(path, format string, args ...any) {
	r.problems = append(r.problems, Problem{r.file, r.line(path), path, fmt.Sprintf(format, args...)})
}

func (r *report) warn(path, format string, args ...any) {
	r.warnings = append(r.warnings, Warning{r.file, r.line(path), path, fmt.Sprintf(format, args...)})
}

// given reports whether the file has that path.
func (r *report) given(path string) bool {
	_, ok := r.lines[path]
	return ok
}

// line returns the line of path, or of the nearest part of it that the file has.
func (r *report) line(path string) int {
	for {
		if line, ok := r.lines[path]; ok {
			return line
		}
		end := strings.LastIndexAny(path, ".[")
		if end < 0 {
			return r.lines[""]
		}
		path = path[:end]
	}
}
