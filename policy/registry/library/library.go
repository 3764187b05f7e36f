// Package library makes copies of function libraries that can be loaded beside the original.
//
// Redis holds one library of a name, and a function of a name only once. FCALL f@v2, while
// another version is active, therefore needs a copy of version v2 in which the library and its
// functions have names of their own: SideBySide makes it, and Name tells the names.
package library

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Library is what a body declares.
type Library struct {
	Name      string
	Functions []string // in the order of the text
}

// Name returns the name of a library or function in the copy of a version: name, two
// underscores, and the version's id with every byte other than a letter or digit written as an
// underscore and two hex digits. Redis allows nothing else in names. Different pairs have different names:
// an encoded id holds no two underscores in a row.
func Name(name, version string) string {
	var b strings.Builder
	b.WriteString(name)
	b.WriteString("__")
	for i := range len(version) {
		if c := version[i]; c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// Parse finds the names that a body declares, in its first line and in calls of
// register_function with literal names. A name that is computed is an error which says where.
func Parse(body []byte) (Library, error) {
	_, lib, err := names(body)
	return lib, err
}

// SideBySide returns the copy of a version's body, in which every name is replaced by Name, and
// what the copy declares. The rest of the text, its line numbers too, stays as it is.
func SideBySide(body []byte, version string) ([]byte, Library, error) {
	spans, _, err := names(body)
	if err != nil {
		return nil, Library{}, err
	}
	var out bytes.Buffer
	end := 0
	for _, s := range spans {
		out.Write(body[end:s.from])
		out.WriteString(Name(string(body[s.from:s.to]), version))
		end = s.to
	}
	out.Write(body[end:])
	copied, err := Parse(out.Bytes())
	return out.Bytes(), copied, err
}

// span is where a name stands in the body.
type span struct{ from, to int }

var firstLine = regexp.MustCompile(`(?i)^#!lua(?:[ \t]+[^ \t]+)*?[ \t]+name=["']?([A-Za-z0-9_]+)["']?(?:[ \t].*)?\r?$`)

// names returns the places of all names, the library's first, in the order of the text.
func names(body []byte) ([]span, Library, error) {
	line, _, found := bytes.Cut(body, []byte("\n"))
	at := firstLine.FindSubmatchIndex(line)
	if !found || at == nil {
		return nil, Library{}, fmt.Errorf("line 1 of a function library must be #!lua name=<letters, digits, _>, and is %.60q", line)
	}
	lib := Library{Name: string(body[at[2]:at[3]])}
	spans := []span{{at[2], at[3]}}
	tokens, err := scan(body, len(line))
	if err != nil {
		return nil, Library{}, err
	}
	for i := range tokens {
		s, err := registration(body, tokens, i)
		if err != nil {
			return nil, Library{}, err
		}
		if s == (span{}) {
			continue
		}
		name := string(body[s.from:s.to])
		if slices.Contains(lib.Functions, name) {
			return nil, Library{}, fmt.Errorf("line %d: function %q is registered a second time", lineOf(body, s.from), name)
		}
		lib.Functions = append(lib.Functions, name)
		spans = append(spans, s)
	}
	if len(lib.Functions) == 0 {
		return nil, Library{}, fmt.Errorf("library %s registers no function", lib.Name)
	}
	return spans, lib, nil
}

// registration returns the place of the function's name when token i is register_function, and
// an error when it can't be told which names the body registers.
func registration(body []byte, tokens []token, i int) (span, error) {
	next := func(n int) token {
		if i+n < len(tokens) {
			return tokens[i+n]
		}
		return token{}
	}
	t := tokens[i]
	if t.kind == word && (t.text == "redis" || t.text == "server") && next(1).text == "[" && (next(2).kind != text || next(3).text != "]") {
		return span{}, fmt.Errorf("line %d: %s[…] with a computed index could be register_function; name the member", lineOf(body, t.from), t.text)
	}
	if t.text != "register_function" || t.kind == symbol {
		return span{}, nil
	}
	if t.kind == text {
		if next(1).text != "]" {
			return span{}, nil // a message, say
		}
		i++
	}
	switch {
	case next(1).kind == symbol && next(1).text == "{":
		return named(body, tokens, i+1)
	case next(1).text == "(" && next(2).kind == symbol && next(2).text == "{":
		return named(body, tokens, i+2)
	case next(1).text == "(" && next(2).kind == text && next(3).text == ",":
		return literal(body, next(2))
	}
	return span{}, fmt.Errorf("line %d: the name given to register_function is computed, or the function is not called here; call it with a literal name", lineOf(body, t.from))
}

// named finds function_name in the table that opens at token i.
func named(body []byte, tokens []token, i int) (span, error) {
	depth := 0
	for j := i; j < len(tokens); j++ {
		switch t := tokens[j]; {
		case t.kind == symbol && (t.text == "{" || t.text == "(" || t.text == "["):
			depth++
		case t.kind == symbol && (t.text == "}" || t.text == ")" || t.text == "]"):
			if depth--; depth == 0 {
				return span{}, fmt.Errorf("line %d: register_function is called with a table that has no function_name", lineOf(body, tokens[i].from))
			}
		case t.text == "function_name" && (t.kind == word && depth == 1 || t.kind == text && depth == 2):
			value := j + 2
			if t.kind == text {
				value++
			}
			if value+1 >= len(tokens) || tokens[value-1].text != "=" {
				continue
			}
			if end := tokens[value+1].text; tokens[value].kind == text && (end == "," || end == ";" || end == "}") {
				return literal(body, tokens[value])
			}
			return span{}, fmt.Errorf("line %d: function_name is computed; give a literal name", lineOf(body, t.from))
		}
	}
	return span{}, fmt.Errorf("line %d: the table given to register_function does not end", lineOf(body, tokens[i].from))
}

var functionName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// literal checks a string token which is a function's name.
func literal(body []byte, t token) (span, error) {
	if !functionName.MatchString(t.text) {
		return span{}, fmt.Errorf("line %d: %.60q is no name for a function: use letters, digits and _", lineOf(body, t.from), t.text)
	}
	return span{t.from, t.to}, nil
}

func lineOf(body []byte, at int) int { return 1 + bytes.Count(body[:at], []byte("\n")) }
