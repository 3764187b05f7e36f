package resp_test

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

func TestRepliesAreDecoded(t *testing.T) {
	str := func(kind byte, s string) resp.Value { return resp.Value{Kind: kind, Str: []byte(s)} }
	num := func(n int64) resp.Value { return resp.Value{Kind: ':', Str: fmt.Appendf(nil, "%d", n), Int: n} }
	list := func(kind byte, elems ...resp.Value) resp.Value {
		return resp.Value{Kind: kind, Elems: append([]resp.Value{}, elems...)}
	}
	for _, c := range []struct {
		in   string
		want resp.Value
	}{
		{"+OK\r\n", str('+', "OK")},
		{"-ERR x\r\n", str('-', "ERR x")},
		{":-12\r\n", num(-12)},
		{"$3\r\na\r\n\r\n", str('$', "a\r\n")},
		{"$-1\r\n", resp.Value{Kind: '$', Null: true}},
		{"*-1\r\n", resp.Value{Kind: '*', Null: true}},
		{"_\r\n", resp.Value{Kind: '_', Null: true, Str: []byte{}}},
		{"#t\r\n", resp.Value{Kind: '#', Int: 1, Str: []byte("t")}},
		{"#f\r\n", str('#', "f")},
		{",1.5\r\n", str(',', "1.5")},
		{"(123\r\n", str('(', "123")},
		{"!3\r\nERR\r\n", str('!', "ERR")},
		{"=5\r\ntxt:x\r\n", str('=', "txt:x")},
		{"*2\r\n:1\r\n*1\r\n+a\r\n", list('*', num(1), list('*', str('+', "a")))},
		{"%1\r\n+k\r\n:1\r\n", list('%', str('+', "k"), num(1))},
		{"~1\r\n:1\r\n", list('~', num(1))},
		{">1\r\n+m\r\n", list('>', str('+', "m"))},
		{"|1\r\n+a\r\n+b\r\n*1\r\n|0\r\n:1\r\n", list('*', num(1))},
		{"|0\r\n>0\r\n", list('>')},
		{"*1\r\n>1\r\n:7\r\n:1\r\n", list('*', num(1))},
		{"$?\r\n;1\r\na\r\n;2\r\nbc\r\n;0\r\n", str('$', "abc")},
		{"*?\r\n:1\r\n.\r\n", list('*', num(1))},
		{"%?\r\n.\r\n", list('%')},
	} {
		t.Run(fmt.Sprintf("%q", c.in), func(t *testing.T) {
			got, err := resp.Decode([]byte(c.in))
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("Decode = %+v, %v; want %+v", got, err, c.want)
			}
			if err := got.Err(); (err != nil) != (c.want.Kind == '-' || c.want.Kind == '!') || err != nil && err.Error() != string(c.want.Str) {
				t.Errorf("Err = %v", err)
			}
		})
	}
}

func TestDecodeRefusesWhatIsNotOneReply(t *testing.T) {
	for _, in := range append([]string{
		"", "+OK", "+OK\r", "$3\r\nab", "$3\r\nabc", "$3", "*1\r\n", "*2\r\n:1\r\n", "*?\r\n", "*?\r\n.", "$?\r\n", "$?\r\n;1\r\na", "|0\r\n",
		"+OK\r\n+OK\r\n", ":x\r\n", ":\r\n", "#x\r\n", strings.Repeat("*1\r\n", resp.MaxDepth+1) + ":1\r\n",
	}, badReplies...) {
		if v, err := resp.Decode([]byte(in)); err == nil || !reflect.DeepEqual(v, resp.Value{}) {
			t.Errorf("Decode(%.40q) = %+v, %v", in, v, err)
		}
	}
	deepest := strings.Repeat("*1\r\n", resp.MaxDepth) + ":1\r\n"
	if _, err := resp.Decode([]byte(deepest)); err != nil {
		t.Errorf("%d levels: %v", resp.MaxDepth, err)
	}
}

func TestDecodeGivesNoMemoryForAnnouncements(t *testing.T) {
	in := []byte(strings.Repeat("*1000000000\r\n", resp.MaxDepth) + strings.Repeat("x", 1<<20))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := resp.Decode(in); err == nil {
		t.Fatal("decoded")
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("%d bytes allocated", got)
	}
}
