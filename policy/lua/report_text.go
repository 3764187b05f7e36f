package lua

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Report is what was found in one file, for the formats that hold several.
type Report struct {
	File     string // its path, as the user gave it
	Analysis *Analysis
}

// excerptWidth is how much of a long line is shown.
const excerptWidth = 100

// WriteText writes the findings of one file for people: a line for each, the source with the place marked, and what
// to do. Control characters of the source are shown as dots. It writes nothing when there is no finding.
func WriteText(w io.Writer, file string, src []byte, a *Analysis) error {
	bw := bufio.NewWriter(w)
	lines := splitLines(string(src))
	for i := range a.Findings {
		f := &a.Findings[i]
		fmt.Fprintf(bw, "%s:%d:%d: %s: %s [%s]\n", printable(file), f.Line, f.Column, f.Level, printable(f.Message), f.Rule)
		if f.Line <= len(lines) && (f.EndColumn > f.Column || f.EndLine > f.Line) {
			writeExcerpt(bw, lines[f.Line-1], f)
		}
		fmt.Fprintf(bw, "       = fix: %s\n       = see: %s\n", f.Fix, f.Page)
	}
	return bw.Flush()
}

func splitLines(s string) []string {
	var out []string
	start := 0
	for i := 0; i < len(s); {
		if n := newlineLen(s, i); n > 0 {
			out = append(out, s[start:i])
			i += n
			start = i
			continue
		}
		i++
	}
	return append(out, s[start:])
}

// writeExcerpt writes the line and marks the finding under it.
func writeExcerpt(w io.Writer, line string, f *Finding) {
	from := f.Column - 1
	to := f.EndColumn - 1
	runes := codePoints(line)
	if f.EndLine > f.Line || to > len(runes) {
		to = len(runes)
	}
	to = max(to, from+1)
	left, right := "", ""
	if len(runes) > excerptWidth {
		start := max(0, min(from-20, len(runes)-excerptWidth))
		end := min(len(runes), start+excerptWidth)
		if start > 0 {
			left = "…"
		}
		if end < len(runes) {
			right = "…"
		}
		runes = runes[start:end]
		from, to = from-start, min(to-start, len(runes))
	}
	var shown, marks strings.Builder
	marks.WriteString(strings.Repeat(" ", utf8.RuneCountInString(left)))
	for i, r := range runes {
		mark := ' '
		switch {
		case i == from:
			mark = '^'
		case i > from && i < to:
			mark = '~'
		case r == '\t':
			mark = '\t'
		}
		if r != '\t' && !unicode.IsPrint(r) {
			r = '·'
		}
		shown.WriteRune(r)
		marks.WriteRune(mark)
	}
	fmt.Fprintf(w, "%6d | %s%s%s\n", f.Line, left, shown.String(), right)
	fmt.Fprintf(w, "       | %s\n", strings.TrimRight(marks.String(), " \t"))
}

// codePoints splits a line as positions count: each byte that does not continue a code point begins one.
func codePoints(s string) []rune {
	out := make([]rune, 0, len(s))
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		s = s[n:]
		for n == 1 && len(s) > 0 && s[0]&0xC0 == 0x80 {
			s = s[1:]
		}
		out = append(out, r)
	}
	return out
}

// printable replaces what a terminal would act on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '·'
		}
		return r
	}, s)
}
