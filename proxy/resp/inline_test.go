package resp_test

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

func TestInlineRequestsAreSplitAsRedisDoes(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
	}{
		{`SET k v`, []string{"SET", "k", "v"}},
		{"\t SET\t k \tv ", []string{"SET", "k", "v"}},
		{`SET "a b" 'c d'`, []string{"SET", "a b", "c d"}},
		{`"" ''`, []string{"", ""}},
		{`"\x41\x7a\xFf\x00"`, []string{"Az\xff\x00"}},
		{`"\x4" "\xg1" "\x1g" "\x"`, []string{"x4", "xg1", "x1g", "x"}},
		{`"\n\r\t\b\a\\\"\q"`, []string{"\n\r\t\b\a\\\"q"}},
		{`'\n\x41\'\\ '`, []string{`\n\x41'\\ `}},
		{`'a"b' "a'b"`, []string{`a"b`, `a'b`}},
		{`ab"cd" ef'gh'`, []string{"abcd", "efgh"}},
		{`a\x41\n`, []string{`a\x41\n`}},
		{"a\rb", []string{"a", "b"}},
		// A vertical tab or form feed separates only where a blank is skipped: not inside an argument.
		{"a\vb\fc \v d\f", []string{"a\vb\fc", "d\f"}},
		{"\"a\"\v\"b\"\f", []string{"a", "b"}},
		{"\"a\"\rb", []string{"a", "b"}},
		{"caf\xe9 \xa0\x85", []string{"caf\xe9", "\xa0\x85"}},
	} {
		t.Run(fmt.Sprintf("%q", c.line), func(t *testing.T) {
			for _, end := range []string{"\n", "\r\n"} {
				in := []byte(c.line + end)
				var r resp.Request
				n, err := r.Parse(in, &resp.DefaultLimits)
				if n != len(in) || err != nil || !r.Inline() || r.Declared() != 0 {
					t.Fatalf("Parse = %d, %v", n, err)
				}
				if got := args(&r); !reflect.DeepEqual(got, c.want) {
					t.Errorf("split into %q, want %q", got, c.want)
				}
				if got, want := string(r.Raw()), string(resp.AppendCommand(nil, c.want...)); got != want {
					t.Errorf("Raw %q, want %q", got, want)
				}
				checkTails(t, &r)
			}
		})
	}
}

func TestNothingEndsALineBehindANUL(t *testing.T) {
	in := []byte("PING\x00\r\nPING\r\n")
	var r resp.Request
	for k := range in {
		if n, err := r.Parse(in[:k+1], &resp.DefaultLimits); n != 0 || err != nil {
			t.Fatalf("after %d bytes: %d, %v", k+1, n, err)
		}
	}
}
