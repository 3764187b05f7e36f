package library

import (
	"bytes"
	"fmt"
)

type kind uint8

const (
	symbol kind = iota // one byte of punctuation; ".." is two
	word               // a name, keyword or number
	text               // a string literal; text, from and to are of what is between its quotes
)

type token struct {
	kind     kind
	text     string
	from, to int
}

// scan splits Lua 5.1 source into tokens, from the byte at on. It is exact about where strings and
// comments begin and end, and lenient about all else: Redis parses the body itself.
func scan(body []byte, at int) ([]token, error) {
	var out []token
	for at < len(body) {
		c := body[at]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f':
			at++
		case c == '-' && at+1 < len(body) && body[at+1] == '-':
			end, err := comment(body, at)
			if err != nil {
				return nil, err
			}
			at = end
		case c == '"' || c == '\'':
			end, err := quoted(body, at)
			if err != nil {
				return nil, err
			}
			out = append(out, token{text, string(body[at+1 : end-1]), at + 1, end - 1})
			at = end
		case c == '[' && longOpen(body, at) > 0:
			width := longOpen(body, at)
			end, err := long(body, at)
			if err != nil {
				return nil, err
			}
			out = append(out, token{text, string(body[at+width : end-width]), at + width, end - width})
			at = end
		case isWord(c):
			end := at
			for end < len(body) && isWord(body[end]) {
				end++
			}
			out = append(out, token{word, string(body[at:end]), at, end})
			at = end
		default:
			out = append(out, token{symbol, string(body[at : at+1]), at, at + 1})
			at++
		}
	}
	return out, nil
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// comment returns where the comment that begins at at ends.
func comment(body []byte, at int) (int, error) {
	if at+2 < len(body) && longOpen(body, at+2) > 0 {
		return long(body, at+2)
	}
	if i := bytes.IndexByte(body[at:], '\n'); i >= 0 {
		return at + i, nil
	}
	return len(body), nil
}

// quoted returns the end of the string whose quote is at at, behind its closing quote.
func quoted(body []byte, at int) (int, error) {
	for i := at + 1; i < len(body); i++ {
		switch body[i] {
		case body[at]:
			return i + 1, nil
		case '\\':
			i++
		case '\n':
			return 0, fmt.Errorf("line %d: the string does not end on its line", lineOf(body, at))
		}
	}
	return 0, fmt.Errorf("line %d: the string does not end", lineOf(body, at))
}

// longOpen returns the length of the long bracket ([[, [=[, …) that opens at at, or 0.
func longOpen(body []byte, at int) int {
	if body[at] != '[' {
		return 0
	}
	i := at + 1
	for i < len(body) && body[i] == '=' {
		i++
	}
	if i < len(body) && body[i] == '[' {
		return i + 1 - at
	}
	return 0
}

// long returns the end of the long string or comment whose bracket opens at at.
func long(body []byte, at int) (int, error) {
	width := longOpen(body, at)
	closing := append([]byte{']'}, bytes.Repeat([]byte{'='}, width-2)...)
	closing = append(closing, ']')
	if i := bytes.Index(body[at+width:], closing); i >= 0 {
		return at + width + i + width, nil
	}
	return 0, fmt.Errorf("line %d: the long bracket does not end", lineOf(body, at))
}
