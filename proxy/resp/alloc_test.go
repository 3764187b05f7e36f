package resp_test

import (
	"testing"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

func TestHotPathsDoNotAllocate(t *testing.T) {
	var request resp.Request
	var reply resp.Reply
	out := make([]byte, 0, 1024)
	parse := func(frame string) func() {
		b := []byte(frame)
		return func() {
			for k := range b {
				if n, err := request.Parse(b[:k+1], &resp.DefaultLimits); err != nil || n > 0 != (k == len(b)-1) {
					t.Fatal(k, n, err)
				}
			}
			out = append(out[:0], request.Raw()...)
			out = append(out, request.Tail(1)...)
		}
	}
	scan := func(frame string) func() {
		b := []byte(frame)
		return func() {
			for range 2 {
				if n, done, err := reply.Scan(b); n != len(b) || !done || err != nil {
					t.Fatal(n, done, err)
				}
			}
		}
	}
	for name, f := range map[string]func(){
		"GET":                   parse(string(getRequest)),
		"EVALSHA":               parse(string(evalshaRequest)),
		"inline":                parse("SET \"a\\x41\" 'b c' d\r\n"),
		"odd terminators":       parse("*2\rx$3\r\nGETxx$1\r\nkyy"),
		"empty":                 parse("*0\r\n"),
		"+OK":                   scan("+OK\r\n"),
		"bulk":                  scan("$5\r\nhello\r\n"),
		"nested":                scan(string(nestedReply)),
		"streamed":              scan("*?\r\n%?\r\n+k\r\n$?\r\n;1\r\na\r\n;0\r\n.\r\n.\r\n"),
		"AppendCommand":         func() { out = resp.AppendCommand(out[:0], "SCRIPT", "LOAD", "return 1") },
		"AppendBulk and header": func() { out = resp.AppendBulk(resp.AppendArrayHeader(out[:0], 1), getRequest) },
	} {
		t.Run(name, func(t *testing.T) {
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}
