package redisserver

import (
	"bufio"
	"reflect"
	"strings"
	"testing"
)

func TestRepliesOfEveryTypeAreRead(t *testing.T) {
	tests := []struct {
		wire string
		want any
	}{
		{"+OK\r\n", "OK"},
		{"-ERR no\r\n", Error("ERR no")},
		{":-7\r\n", int64(-7)},
		{"$3\r\na\r\n\r\n", "a\r\n"},
		{"$0\r\n\r\n", ""},
		{"$-1\r\n", nil},
		{"*-1\r\n", nil},
		{"*0\r\n", []any{}},
		{"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", []any{int64(1), []any{"x"}}},
		{"_\r\n", nil},
		{"#t\r\n", true},
		{",1.5\r\n", 1.5},
		{"(12345678901234567890\r\n", "12345678901234567890"},
		{"!5\r\nERR x\r\n", Error("ERR x")},
		{"=7\r\ntxt:abc\r\n", "abc"},
		{"%1\r\n+a\r\n:1\r\n", Map{"a", int64(1)}},
		{"~1\r\n+a\r\n", []any{"a"}},
		{">2\r\n+message\r\n+x\r\n", Push{"message", "x"}},
		{"|1\r\n+ttl\r\n:9\r\n+OK\r\n", "OK"},
	}
	for _, test := range tests {
		got, err := readReply(bufio.NewReader(strings.NewReader(test.wire)))
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: got %#v, %v, want %#v", test.wire, got, err, test.want)
		}
	}
}

func TestBrokenRepliesAreErrors(t *testing.T) {
	for _, wire := range []string{"", "+OK", "+\n", "$x\r\n", "$-2\r\n", "$5\r\nab", "*2\r\n:1\r\n", "?1\r\n", ":x\r\n"} {
		if got, err := readReply(bufio.NewReader(strings.NewReader(wire))); err == nil {
			t.Errorf("%q: got %#v without an error", wire, got)
		}
	}
}

func TestCommandIsAnArrayOfBulkStrings(t *testing.T) {
	got := string(AppendCommand(nil, "SET", []byte("k"), 12))
	if want := "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n12\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
