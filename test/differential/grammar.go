package differential

import (
	"fmt"
	"strings"
)

// The grammar of commands. A template is a command's words, where
//
//	<x>            is replaced by a value of kind x, see values.go
//	[ … ]          is there or not
//	( … | … )      is one of several
//	{ … }          comes one to four times
//	#{ … }         is preceded by how many times it comes
//
// and everything else stands for itself. Brackets stand apart.

// node is one part of a template.
type node struct {
	op    byte // 0 a word, '<' a value, '[', '(', '{', '#'
	text  string
	parts [][]node // one for each alternative
}

// parseTemplate panics on a template that is none: all of them are written in this package.
func parseTemplate(template string) []node {
	words := strings.Fields(template)
	seq, rest := parseNodes(words, "")
	if len(rest) > 0 {
		panic(fmt.Sprintf("template %q: unexpected %s", template, rest[0]))
	}
	return seq
}

var closing = map[string]string{"[": "]", "(": ")", "{": "}", "#{": "}"}

func parseNodes(words []string, until string) ([]node, []string) {
	var seq []node
	for len(words) > 0 {
		w := words[0]
		if w == until || until == ")" && w == "|" {
			return seq, words
		}
		words = words[1:]
		end, opens := closing[w]
		if !opens {
			n := node{text: w}
			if len(w) > 2 && w[0] == '<' && w[len(w)-1] == '>' {
				n = node{op: '<', text: w[1 : len(w)-1]}
			}
			seq = append(seq, n)
			continue
		}
		n := node{op: w[0]}
		for {
			var part []node
			part, words = parseNodes(words, end)
			n.parts = append(n.parts, part)
			if len(words) == 0 {
				panic("template: " + w + " is not closed")
			}
			mark := words[0]
			words = words[1:]
			if mark == end {
				break
			}
		}
		seq = append(seq, n)
	}
	return seq, words
}

// expand appends the words of a template with choices made.
func (g *generator) expand(seq []node, to []string) []string {
	for _, n := range seq {
		switch n.op {
		case 0:
			to = append(to, n.text)
		case '<':
			to = append(to, g.value(n.text))
		case '[':
			if g.r.IntN(2) == 0 {
				to = g.expand(n.parts[0], to)
			}
		case '(':
			to = g.expand(n.parts[g.r.IntN(len(n.parts))], to)
		case '{', '#':
			times := 1 + g.r.IntN(2)
			if g.r.IntN(4) == 0 {
				times += g.r.IntN(3)
			}
			if n.op == '#' {
				to = append(to, fmt.Sprint(times))
			}
			for range times {
				to = g.expand(n.parts[0], to)
			}
		}
	}
	return to
}
