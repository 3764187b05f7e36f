package lua

import "strings"

// Shape returns a body with a question mark for each string and number, without comments and with white space made
// even, and how many literals that were. Two bodies of one shape differ only in values, which callers should pass in KEYS
// and ARGV. The names of commands, the first arguments of call and pcall, stay. Of a body that can't be split into tokens
// the shape is empty.
func Shape(body []byte) (shape string, literals int) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exhausted); !ok {
				panic(r)
			}
			shape, literals = "", 0
		}
	}()
	src := string(body)
	b := newBudget(Options{})
	if len(src) > b.maxBytes {
		return "", 0
	}
	toks, err := tokenize(src, readShebang(body).length, b)
	if err != nil {
		return "", 0
	}
	var out strings.Builder
	for i, t := range toks {
		if i > 0 && t.off > toks[i-1].end {
			out.WriteByte(' ')
		}
		if (t.kind == tokString || t.kind == tokNumber) && !commandName(toks, i) {
			out.WriteByte('?')
			literals++
			continue
		}
		out.WriteString(src[t.off:t.end])
	}
	return out.String(), literals
}

// commandName tells whether the string at i follows call( or pcall(.
func commandName(toks []token, i int) bool {
	if toks[i].kind != tokString || i < 2 || toks[i-1].text != "(" || toks[i-1].kind != tokOp {
		return false
	}
	callee := toks[i-2]
	return callee.kind == tokName && (callee.text == "call" || callee.text == "pcall")
}
