package lua

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// unit is a parsed body. gopher-lua's tree knows only lines; it is given the tokens one on each line, in a spelling
// that it accepts, so that a node's line is the number of its first token, and that token knows its place in the
// body. This repairs what gopher-lua refuses and Redis runs, without moving anything.
type unit struct {
	src   string
	toks  []token
	lines []int32 // offset of each line of src
	first []int32 // line given to gopher-lua → index in toks of the first token on it
	match []int32 // index of a bracket's partner, -1 for other tokens
	stmts []ast.Stmt

	points []int32           // code points before each blockSize bytes; see codePoints
	names  map[string]string // the name given to gopher-lua → the name in the body, where they differ
}

// parseBody splits and parses src[start:]. The unit is returned with an error too, to give positions.
func parseBody(body []byte, start int, b *budget) (*unit, error) {
	u := &unit{src: string(body)}
	u.findLines()
	toks, serr := tokenize(u.src, start, b)
	u.toks = toks
	if serr != nil {
		return u, serr
	}
	if serr := u.matchBrackets(); serr != nil {
		return u, serr
	}
	canon := u.canonical()
	r := &deadlineReader{r: strings.NewReader(canon), deadline: b.deadline}
	stmts, err := parse.Parse(r, "")
	if r.late {
		panic(b.late())
	}
	if err != nil {
		return u, u.translate(err)
	}
	u.stmts = stmts
	return u, nil
}

// deadlineReader ends the input when the time is up: the parser then stops at the next token.
type deadlineReader struct {
	r        io.Reader
	deadline time.Time
	late     bool
}

func (d *deadlineReader) Read(p []byte) (int, error) {
	if time.Now().After(d.deadline) {
		d.late = true
		return 0, io.EOF
	}
	return d.r.Read(p)
}

func (u *unit) findLines() {
	u.lines = append(make([]int32, 0, 64), 0)
	for i := 0; i < len(u.src); {
		if n := newlineLen(u.src, i); n > 0 {
			i += n
			u.lines = append(u.lines, int32(i))
			continue
		}
		i++
	}
}

var closers = map[string]string{")": "(", "]": "[", "}": "{"}

// matchBrackets pairs the brackets and refuses what nests deeper than Lua allows, before the parser sees it.
func (u *unit) matchBrackets() *syntaxError {
	u.match = make([]int32, len(u.toks))
	var open []int32
	blocks, chain := 0, 0
	for i := range u.toks {
		t := &u.toks[i]
		u.match[i] = -1
		switch t.kind {
		case tokKeyword:
			switch t.text {
			case "function", "do", "then", "repeat":
				blocks++
			case "end", "until", "elseif":
				blocks--
			}
			if t.text == "not" {
				chain++
			} else if t.text != "and" && t.text != "or" {
				chain = 0
			}
		case tokOp:
			switch t.text {
			case "(", "[", "{":
				open = append(open, int32(i))
			case ")", "]", "}":
				n := len(open) - 1
				if n < 0 || u.toks[open[n]].text != closers[t.text] {
					return &syntaxError{off: t.off, msg: fmt.Sprintf("unexpected %q", t.text)}
				}
				u.match[i], u.match[open[n]] = open[n], int32(i)
				open = open[:n]
			case ",", "=":
				chain = 0
			case ";":
				chain = 0
				if u.emptyStatement(i) {
					return &syntaxError{off: t.off, msg: `unexpected symbol near ";" (Lua 5.1 has no empty statement)`}
				}
			case "..", "^", "-", "#":
				chain++
			}
		}
		if len(open)+max(blocks, 0) > maxNesting {
			panic(exhausted(fmt.Sprintf("the code nests more than %d levels deep", maxNesting)))
		}
		if chain > maxChain {
			panic(exhausted(fmt.Sprintf("an expression chains more than %d operators", maxChain)))
		}
	}
	if len(open) > 0 {
		t := u.toks[open[len(open)-1]]
		return &syntaxError{off: t.off, msg: fmt.Sprintf("%q is never closed", t.text)}
	}
	return nil
}

// emptyStatement tells whether a semicolon ends nothing, which gopher-lua allows and Lua 5.1 does not.
func (u *unit) emptyStatement(i int) bool {
	if i == 0 {
		return true
	}
	switch p := u.toks[i-1]; p.kind {
	case tokKeyword:
		return p.text == "do" || p.text == "then" || p.text == "else" || p.text == "repeat"
	case tokOp:
		return p.text == ";"
	}
	return false
}

// canonical writes the tokens one on each line. A parenthesis stays on the line of one that closed before it:
// gopher-lua takes a line end between them for a new statement.
func (u *unit) canonical() string {
	gotoName := "goto_"
	for u.uses(gotoName) {
		gotoName += "_"
	}
	u.names = map[string]string{gotoName: "goto"}
	var sb strings.Builder
	sb.Grow(len(u.src) + len(u.src)/2 + 16)
	u.first = make([]int32, 1, len(u.toks)+2) // lines count from 1
	for i := range u.toks {
		t := &u.toks[i]
		if i > 0 && t.text == "(" && t.kind == tokOp && u.toks[i-1].kind == tokOp && u.toks[i-1].text == ")" {
			sb.WriteByte(' ')
		} else {
			if i > 0 {
				sb.WriteByte('\n')
			}
			u.first = append(u.first, int32(i))
		}
		switch {
		case t.kind == tokString:
			quoteTo(&sb, t.text)
		case t.kind == tokName && t.text == "goto":
			sb.WriteString(gotoName)
		default:
			sb.WriteString(t.text)
		}
	}
	return sb.String()
}

func (u *unit) uses(name string) bool {
	for i := range u.toks {
		if u.toks[i].kind == tokName && u.toks[i].text == name {
			return true
		}
	}
	return false
}

// quoteTo writes s as a string literal of one line.
func quoteTo(sb *strings.Builder, s string) {
	sb.WriteByte('"')
	plain := 0
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			sb.WriteString(s[plain:i])
			sb.WriteByte('\\')
			sb.WriteByte('0' + c/100)
			sb.WriteByte('0' + c/10%10)
			sb.WriteByte('0' + c%10)
			plain = i + 1
		}
	}
	sb.WriteString(s[plain:])
	sb.WriteByte('"')
}

// translate turns the parser's error into one about the body.
func (u *unit) translate(err error) error {
	var perr *parse.Error
	if !errors.As(err, &perr) || len(u.toks) == 0 {
		return &syntaxError{msg: err.Error()}
	}
	last := u.toks[len(u.toks)-1]
	if perr.Pos.Line <= 0 || perr.Pos.Line >= len(u.first) {
		return &syntaxError{off: last.end, msg: "syntax error: unexpected end of the script"}
	}
	t := u.toks[u.first[perr.Pos.Line]]
	msg := fmt.Sprintf("syntax error near %q", clip(u.src[t.off:t.end]))
	if t.text == ":" || t.text == "goto" || u.near(int(u.first[perr.Pos.Line]), "goto") {
		msg += " (labels and goto are not in the Lua 5.1 of Redis)"
	}
	return &syntaxError{off: t.off, msg: msg}
}

// near tells whether the token before i is the given text.
func (u *unit) near(i int, text string) bool { return i > 0 && u.toks[i-1].text == text }

// tok is the index of a node's first token.
func (u *unit) tok(n ast.PositionHolder) int32 {
	if l := n.Line(); l > 0 && l < len(u.first) {
		return u.first[l]
	}
	return 0
}

// lastTok is the index of a node's last token where the parser keeps it (blocks and functions), else of its first.
func (u *unit) lastTok(n ast.PositionHolder) int32 {
	if l := n.LastLine(); l > 0 && l < len(u.first) {
		return u.first[l]
	}
	return u.tok(n)
}

// is tells whether token i exists and is the operator or keyword text.
func (u *unit) is(i int32, text string) bool {
	return i >= 0 && int(i) < len(u.toks) && u.toks[i].text == text && u.toks[i].kind != tokString
}

// position is the line and column, from 1, of an offset; columns count code points.
func (u *unit) position(off int32) (line, column int) {
	n := sort.Search(len(u.lines), func(i int) bool { return u.lines[i] > off })
	return n, u.codePoints(int(off)) - u.codePoints(int(u.lines[n-1])) + 1
}

// blockSize is how far apart the offsets are for which the code points are counted once.
const blockSize = 1024

// codePoints is the number of code points before an offset: of bytes that are not the later ones of a code point.
func (u *unit) codePoints(off int) int {
	if u.points == nil {
		u.points = make([]int32, 1, len(u.src)/blockSize+2)
		for i := 0; i+blockSize <= len(u.src); i += blockSize {
			u.points = append(u.points, u.points[len(u.points)-1]+countStarts(u.src[i:i+blockSize]))
		}
	}
	return int(u.points[off/blockSize] + countStarts(u.src[off/blockSize*blockSize:off]))
}

func countStarts(s string) int32 {
	n := int32(0)
	for i := range len(s) {
		if s[i]&0xC0 != 0x80 {
			n++
		}
	}
	return n
}

// name is the body's spelling of a name that the parser saw.
func (u *unit) name(s string) string {
	if n, ok := u.names[s]; ok {
		return n
	}
	return s
}
