package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// style is how a report is written.
type style int

const (
	terminal style = iota
	markdown
)

// table is text in columns: the first textColumns are aligned to the left, the others to the right.
type table struct {
	headings    []string
	textColumns int
	rows        [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write writes the table: in columns for a terminal, and as Markdown that is in columns too.
func (t *table) write(w io.Writer, s style) error {
	widths := make([]int, len(t.headings))
	for _, cells := range append([][]string{t.headings}, t.rows...) {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	lines := []string{t.line(t.headings, widths, s)}
	if s == markdown {
		rule := "|"
		for i, width := range widths {
			if i < t.textColumns {
				rule += strings.Repeat("-", width+2) + "|"
			} else {
				rule += strings.Repeat("-", width+1) + ":|"
			}
		}
		lines = append(lines, rule)
	}
	for _, cells := range t.rows {
		lines = append(lines, t.line(cells, widths, s))
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

func (t *table) line(cells []string, widths []int, s style) string {
	padded := make([]string, len(cells))
	for i, cell := range cells {
		blanks := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i < t.textColumns {
			padded[i] = cell + blanks
		} else {
			padded[i] = blanks + cell
		}
	}
	if s == markdown {
		return "| " + strings.Join(padded, " | ") + " |"
	}
	return strings.TrimRight(strings.Join(padded, "  "), " ")
}

// thousands writes a number with commas between groups of three digits, "–" when it is not a number.
func thousands(v float64, precision int) string {
	if math.IsNaN(v) {
		return "–"
	}
	text := strconv.FormatFloat(v, 'f', precision, 64)
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	whole, fraction, hasFraction := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if hasFraction {
		return sign + whole + "." + fraction
	}
	return sign + whole
}

// ratio writes a ratio with two digits, "–" when there is none.
func ratio(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.2f", v)
}
