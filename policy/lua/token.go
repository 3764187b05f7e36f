package lua

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

type tokenKind uint8

const (
	tokOp tokenKind = iota
	tokName
	tokKeyword
	tokString
	tokNumber
)

// token is one lexical element of the body. For a string, text is its value; for a number, a form that every reader
// of decimal numbers accepts; for the others, the source text.
type token struct {
	off, end int32 // bytes of the body
	kind     tokenKind
	text     string
}

// syntaxError says where and why a body is not Lua 5.1.
type syntaxError struct {
	off int32
	msg string
}

func (e *syntaxError) Error() string { return e.msg }

var keywords = map[string]bool{
	"and": true, "break": true, "do": true, "else": true, "elseif": true, "end": true, "false": true, "for": true,
	"function": true, "if": true, "in": true, "local": true, "nil": true, "not": true, "or": true, "repeat": true,
	"return": true, "then": true, "true": true, "until": true, "while": true,
}

// lexer splits a body into tokens as the Lua 5.1 of Redis does (llex.c), which differs from gopher-lua's own
// scanner in goto (a plain name), \v and \f as white space, hexadecimal floats and comments that begin with --[=.
type lexer struct {
	src string
	pos int
	b   *budget
}

// tokenize reads src from byte start on.
func tokenize(src string, start int, b *budget) ([]token, *syntaxError) {
	lx := &lexer{src: src, pos: start, b: b}
	toks := make([]token, 0, min(len(src)/4+8, 4096))
	for {
		b.step()
		if err := lx.skipSpace(); err != nil {
			return toks, err
		}
		if lx.pos >= len(src) {
			return toks, nil
		}
		t, err := lx.next()
		if err != nil {
			return toks, err
		}
		if len(toks) == maxTokens {
			panic(exhausted(fmt.Sprintf("the body has more than %d tokens", maxTokens)))
		}
		toks = append(toks, t)
	}
}

func (lx *lexer) fail(off int, format string, args ...any) *syntaxError {
	return &syntaxError{off: int32(off), msg: fmt.Sprintf(format, args...)}
}

func (lx *lexer) at(i int) byte {
	if i < len(lx.src) {
		return lx.src[i]
	}
	return 0
}

// skipSpace passes white space and comments.
func (lx *lexer) skipSpace() *syntaxError {
	for lx.pos < len(lx.src) {
		c := lx.src[lx.pos]
		switch {
		case c == ' ' || c >= '\t' && c <= '\r':
			lx.pos++
		case c == '-' && lx.at(lx.pos+1) == '-':
			start := lx.pos
			lx.pos += 2
			if level, ok := lx.longBracket(); ok {
				if _, err := lx.longString(start, level, "comment"); err != nil {
					return err
				}
				continue
			}
			for lx.pos < len(lx.src) && lx.src[lx.pos] != '\n' && lx.src[lx.pos] != '\r' {
				lx.pos++
			}
		default:
			return nil
		}
	}
	return nil
}

// longBracket tells whether a long bracket [[ or [=*[ opens here, and its level.
func (lx *lexer) longBracket() (level int, ok bool) {
	if lx.at(lx.pos) != '[' {
		return 0, false
	}
	i := lx.pos + 1
	for lx.at(i) == '=' {
		i++
	}
	return i - lx.pos - 1, lx.at(i) == '['
}

// longString reads the long string or comment that opens here and leaves the position after it.
func (lx *lexer) longString(start, level int, what string) (string, *syntaxError) {
	body := lx.pos + level + 2
	closing := "]" + strings.Repeat("=", level) + "]"
	n := strings.Index(lx.src[body:], closing)
	if n < 0 {
		return "", lx.fail(start, "unfinished long %s", what)
	}
	lx.pos = body + n + len(closing)
	text := lx.src[body : body+n]
	text = text[newlineLen(text, 0):]
	if strings.IndexByte(text, '\r') >= 0 {
		text = normaliseNewlines(text)
	}
	return text, nil
}

// newlineLen is the length of the line end at i, 0 when there is none; \r\n and \n\r are one.
func newlineLen(s string, i int) int {
	if i >= len(s) || s[i] != '\n' && s[i] != '\r' {
		return 0
	}
	if i+1 < len(s) && (s[i+1] == '\n' || s[i+1] == '\r') && s[i+1] != s[i] {
		return 2
	}
	return 1
}

func normaliseNewlines(s string) string {
	var sb strings.Builder
	for i := 0; i < len(s); {
		if n := newlineLen(s, i); n > 0 {
			sb.WriteByte('\n')
			i += n
			continue
		}
		sb.WriteByte(s[i])
		i++
	}
	return sb.String()
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNameStart(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }

func isNameByte(c byte) bool { return isNameStart(c) || isDigit(c) }

func (lx *lexer) next() (token, *syntaxError) {
	start := lx.pos
	c := lx.src[start]
	switch {
	case isNameStart(c):
		for lx.pos < len(lx.src) && isNameByte(lx.src[lx.pos]) {
			lx.pos++
		}
		text := lx.src[start:lx.pos]
		kind := tokName
		if keywords[text] {
			kind = tokKeyword
		}
		return lx.token(start, kind, text), nil
	case isDigit(c) || c == '.' && isDigit(lx.at(start+1)):
		return lx.number()
	case c == '"' || c == '\'':
		return lx.quoted(c)
	case c == '[':
		level, ok := lx.longBracket()
		if ok {
			text, err := lx.longString(start, level, "string")
			if err != nil {
				return token{}, err
			}
			return lx.token(start, tokString, text), nil
		}
		if level > 0 {
			return token{}, lx.fail(start, "invalid long string delimiter")
		}
	}
	n := operatorLen(lx.src[start:])
	if n == 0 {
		return token{}, lx.fail(start, "unexpected symbol near %q", lx.src[start:start+1])
	}
	lx.pos += n
	return lx.token(start, tokOp, lx.src[start:lx.pos]), nil
}

func (lx *lexer) token(start int, kind tokenKind, text string) token {
	return token{off: int32(start), end: int32(lx.pos), kind: kind, text: text}
}

// operatorLen is the length of the operator or delimiter at the beginning of s, 0 when there is none.
func operatorLen(s string) int {
	switch {
	case strings.HasPrefix(s, "..."):
		return 3
	case strings.HasPrefix(s, ".."), strings.HasPrefix(s, "=="), strings.HasPrefix(s, "~="),
		strings.HasPrefix(s, "<="), strings.HasPrefix(s, ">="):
		return 2
	case strings.IndexByte("+-*/%^#<>=(){}[];:,.", s[0]) >= 0:
		return 1
	}
	return 0
}

// number reads a numeral as Lua 5.1's read_numeral does, so that 0x1p4 is one number and 1..2 a malformed one.
func (lx *lexer) number() (token, *syntaxError) {
	start := lx.pos
	for isDigit(lx.at(lx.pos)) || lx.at(lx.pos) == '.' {
		lx.pos++
	}
	if lx.at(lx.pos)|0x20 == 'e' {
		lx.pos++
		if c := lx.at(lx.pos); c == '+' || c == '-' {
			lx.pos++
		}
	}
	for isNameByte(lx.at(lx.pos)) {
		lx.pos++
	}
	v, ok := parseNumber(lx.src[start:lx.pos])
	if !ok {
		return token{}, lx.fail(start, "malformed number near %q", clip(lx.src[start:lx.pos]))
	}
	text := "1e999"
	if !math.IsInf(v, 0) {
		text = strconv.FormatFloat(v, 'g', -1, 64)
	}
	return lx.token(start, tokNumber, text), nil
}

// parseNumber converts a numeral as C's strtod does, which Lua 5.1 uses: decimal, or hexadecimal with a binary exponent.
func parseNumber(s string) (float64, bool) {
	if strings.ContainsRune(s, '_') {
		return 0, false
	}
	hex := len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x'
	if hex && !strings.ContainsAny(s, "pP") {
		s += "p0"
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(v, 0) {
		return 0, false
	}
	return v, true
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

func (lx *lexer) quoted(quote byte) (token, *syntaxError) {
	start := lx.pos
	lx.pos++
	plain := lx.pos
	var sb []byte // nil while the value is the source text itself
	for {
		if lx.pos >= len(lx.src) {
			return token{}, lx.fail(start, "unfinished string")
		}
		c := lx.src[lx.pos]
		switch c {
		case quote:
			text := lx.src[plain:lx.pos]
			if sb != nil {
				text = string(sb)
			}
			lx.pos++
			return lx.token(start, tokString, text), nil
		case '\n', '\r':
			return token{}, lx.fail(start, "unfinished string")
		case '\\':
			if sb == nil {
				sb = append(make([]byte, 0, lx.pos-plain+16), lx.src[plain:lx.pos]...)
			}
			var err *syntaxError
			if sb, err = lx.escape(sb); err != nil {
				return token{}, err
			}
		default:
			if sb != nil {
				sb = append(sb, c)
			}
			lx.pos++
		}
	}
}

var simpleEscapes = map[byte]byte{'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}

// escape reads one backslash sequence. Lua 5.1 has no \x and no \z: such letters stand for themselves.
func (lx *lexer) escape(sb []byte) ([]byte, *syntaxError) {
	at := lx.pos
	lx.pos++
	if lx.pos >= len(lx.src) {
		return sb, lx.fail(at, "unfinished string")
	}
	c := lx.src[lx.pos]
	if n := newlineLen(lx.src, lx.pos); n > 0 {
		lx.pos += n
		return append(sb, '\n'), nil
	}
	if isDigit(c) {
		v := 0
		for i := 0; i < 3 && isDigit(lx.at(lx.pos)); i++ {
			v = v*10 + int(lx.src[lx.pos]-'0')
			lx.pos++
		}
		if v > 255 {
			return sb, lx.fail(at, "escape sequence too large")
		}
		return append(sb, byte(v)), nil
	}
	lx.pos++
	if e, ok := simpleEscapes[c]; ok {
		c = e
	}
	return append(sb, c), nil
}
