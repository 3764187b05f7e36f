package differential

import (
	"fmt"
	"strconv"
	"strings"
)

// Keys are few, so that commands meet: four of each type. Their first letter is that of the type in templates.
const keysOfAType = 4

const keyTypes = "slhezxgp"

// value makes a value of a kind that templates name.
func (g *generator) value(kind string) string {
	r := g.r
	switch kind {
	case "s", "l", "h", "e", "z", "x", "g", "p":
		t := kind[0]
		if r.IntN(25) == 0 {
			t = keyTypes[r.IntN(len(keyTypes))] // often one of the wrong type
		}
		return string(t) + strconv.Itoa(1+r.IntN(keysOfAType))
	case "y":
		// Sorted sets of one score: among several, what is between two members is unspecified, and depends on a skip list's
		// levels, which are random.
		return "y" + strconv.Itoa(1+r.IntN(keysOfAType))
	case "k":
		return string(keyTypes[r.IntN(len(keyTypes))]) + strconv.Itoa(1+r.IntN(keysOfAType))
	case "v":
		return g.text()
	case "m", "fd":
		return g.pick("a", "b", "c", "d", "e", "10", "11", "-3", "long member with spaces", "\x00\xff\r\n")
	case "i":
		return strconv.Itoa(r.IntN(12) - 5)
	case "n":
		return strconv.Itoa(r.IntN(8))
	case "f":
		return g.pick("1", "2.5", "-3", "0", "1e3", "3.0000000000000004", "inf", "-inf", "nan", "0.1")
	case "ttl":
		return strconv.Itoa(100_000 + r.IntN(100))
	case "ttlms":
		return strconv.Itoa(100_000_000 + r.IntN(100))
	case "when":
		return strconv.Itoa(4_000_000_000 + r.IntN(100))
	case "whenms":
		return strconv.Itoa(4_000_000_000_000 + r.IntN(100))
	case "score":
		return g.pick("-inf", "+inf", "0", "(1", "3", "(2.5", "1000")
	case "lex":
		return g.pick("-", "+", "[a", "(b", "[d", "(z")
	case "lon":
		return g.pick("13.361389", "15.087269", "-122.4", "0", "181")
	case "lat":
		return g.pick("38.115556", "37.502669", "0", "-45.5")
	case "unit":
		return g.pick("m", "km", "mi", "ft")
	case "bits":
		return g.pick("u8", "i5", "u63", "i64", "u1")
	case "id":
		if r.IntN(2) == 0 {
			g.streamID++
			return strconv.Itoa(g.streamID) + "-1"
		}
		return g.pick("0-1", "1-1", "2-1", "5-*", strconv.Itoa(g.streamID)+"-1")
	case "grp":
		return g.pick("g1", "g2")
	case "c":
		return g.pick("c1", "c2")
	case "db":
		return g.pick("0", "1", "2", "15", "16", "-1")
	case "pat":
		return g.pick("*", "s*", "?1", "[a-l]*", "nothing", "")
	case "ch":
		return g.pick("ch1", "ch2", "ch3", "news.one", "news.two", "\x00\r\n")
	case "chpat":
		return g.pick("ch*", "news.*", "*", "?h1")
	case "name":
		return g.pick("alice", "bob", "with space", "caf\xc3\xa9", "new\nline", "~!@")
	case "empty":
		return ""
	case "user":
		return g.pick("default", "reader", "writer", "caller", "bodier", "nobody")
	case "cat":
		return g.pick("string", "scripting", "nonsense")
	case "cmd":
		return g.pick("get", "MSET", "evalsha", "client|id", "nosuch", "zunion", "xread", "client")
	case "junk":
		return g.pick("", "x", "nonsense", "\x00", "9223372036854775808", "-1", "é", "a'b\"c", "two words", "line\r\nline", "%s%n")
	case "dump":
		if len(g.Dumps) == 0 || r.IntN(8) == 0 {
			return "\x00\xc0\x01\x09\x00broken!!"
		}
		return g.pick(g.Dumps...)
	case "fdump":
		if g.FunctionDump == "" || r.IntN(4) == 0 {
			return "broken"
		}
		return g.FunctionDump
	case "script":
		return g.scriptBody()
	case "sha":
		return g.sha()
	case "lib":
		return g.library()
	case "libname":
		return g.pick("lib0", "lib1", "lib2", "nolib")
	case "func":
		return g.pick("set0", "get0", "set1", "get1", "fail1", "get2", "nofunction")
	}
	panic("template: no values of kind " + kind)
}

func (g *generator) pick(from ...string) string { return from[g.r.IntN(len(from))] }

// text is a string value of any kind.
func (g *generator) text() string {
	r := g.r
	switch n := r.IntN(100); {
	case n < 25:
		return strconv.Itoa(r.IntN(2000) - 1000)
	case n < 50:
		return g.pick("hello", "world", "foo", "bar", "", "3.5", "OK", "QUEUED", "null", "-ERR no error", "*1", "$-1", ":1", "+OK\r\n")
	case n < 60:
		b := make([]byte, r.IntN(24))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return string(b)
	case n < 92:
		return fmt.Sprintf("value-%x", r.Uint32())
	case n < 98:
		return filler(100 + r.IntN(4000))
	}
	if r.IntN(100) < g.Large {
		return filler(20_000 + r.IntN(1<<uint(15+r.IntN(7))))
	}
	return strings.Repeat("x", 300)
}
