package resp_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// replies are complete replies of every type and their kinds.
var replies = []struct {
	in   string
	kind byte
}{
	{"+OK\r\n", '+'},
	{"+\r\n", '+'},
	{"-ERR no\r\n", '-'},
	{"+" + strings.Repeat("long ", 50) + "\r\n", '+'},
	{"+lone \n and \r in\n\n\r\r a line\r\n", '+'},
	{"+\r\r\n", '+'},
	{"+\n\r\n", '+'},
	{":12\r\n", ':'},
	{":-9223372036854775808\r\n", ':'},
	{"$0\r\n\r\n", '$'},
	{"$5\r\nhello\r\n", '$'},
	{"$4\r\n\r\n\r\n\r\n", '$'},
	{"$1200\r\n" + strings.Repeat("y", 1200) + "\r\n", '$'},
	{"$-1\r\n", '$'},
	{"*-1\r\n", '*'},
	{"*0\r\n", '*'},
	{"*2\r\n$1\r\na\r\n:1\r\n", '*'},
	{"*2\r\n*2\r\n*0\r\n*-1\r\n*1\r\n$-1\r\n", '*'},
	{"_\r\n", '_'},
	{",3.14\r\n", ','},
	{",-inf\r\n", ','},
	{"#t\r\n", '#'},
	{"(3492890328409238509324850943850943825024385\r\n", '('},
	{"!21\r\nSYNTAX invalid syntax\r\n", '!'},
	{"=15\r\ntxt:Some string\r\n", '='},
	{"%2\r\n+a\r\n:1\r\n+b\r\n%1\r\n_\r\n~0\r\n", '%'},
	{"%0\r\n", '%'},
	{"~3\r\n+a\r\n#f\r\n~1\r\n,1\r\n", '~'},
	{">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n", '>'},
	{">0\r\n", '>'},
	{"|1\r\n+ttl\r\n:3600\r\n$1\r\nv\r\n", '$'},
	{"|0\r\n:1\r\n", ':'},
	{"|1\r\n+a\r\n*1\r\n+x\r\n|1\r\n+b\r\n|1\r\n+c\r\n:1\r\n:2\r\n*1\r\n|1\r\n+d\r\n+e\r\n:3\r\n", '*'},
	{"|1\r\n+a\r\n+b\r\n>1\r\n+message\r\n", '>'},
	{"$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n", '$'},
	{"$?\r\n;0\r\n", '$'},
	{"*?\r\n:1\r\n*?\r\n.\r\n$?\r\n;1\r\na\r\n;0\r\n*2\r\n:1\r\n:2\r\n.\r\n", '*'},
	{"~?\r\n+a\r\n.\r\n", '~'},
	{"%?\r\n+a\r\n%?\r\n.\r\n|1\r\n+x\r\n+y\r\n+b\r\n:2\r\n.\r\n", '%'},
	{"*2\r\n*?\r\n.\r\n:1\r\n", '*'},
	// Invalidations that Redis before 7.0.5 sends inside the reply of EXEC.
	{"*2\r\n+OK\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n:1\r\n", '*'},
	{">1\r\n>1\r\n+a\r\n+b\r\n", '>'},
	{strings.Repeat("*1\r\n", 10_000) + ":1\r\n", '*'},
}

func TestRepliesOfEveryTypeAreFramed(t *testing.T) {
	for _, c := range replies {
		t.Run(fmt.Sprintf("%.40q", c.in), func(t *testing.T) {
			in := []byte(c.in + "+next\r\n")
			var r resp.Reply
			for range 2 {
				n, done, err := r.Scan(in)
				if n != len(c.in) || !done || err != nil {
					t.Fatalf("Scan = %d, %v, %v; want %d", n, done, err, len(c.in))
				}
				if r.Kind() != c.kind || r.Started() {
					t.Errorf("Kind %q, Started %v", r.Kind(), r.Started())
				}
			}
		})
	}
}

// scanParts scans the given parts one after the other and returns how many bytes belong to the reply.
func scanParts(r *resp.Reply, parts ...string) (n int, done bool, err error) {
	var buf []byte
	for _, p := range parts {
		buf = append(buf, p...)
		for len(buf) > 0 && !done {
			var k int
			if k, done, err = r.Scan(buf); err != nil {
				return 0, false, err
			}
			n += k
			buf = buf[k:]
			if k == 0 {
				break
			}
		}
	}
	return n, done, nil
}

func TestRepliesMayArriveInAnyPieces(t *testing.T) {
	for _, c := range replies {
		if len(c.in) > 5000 {
			continue
		}
		t.Run(fmt.Sprintf("%.40q", c.in), func(t *testing.T) {
			var r resp.Reply
			for cut := range len(c.in) {
				if n, done, err := scanParts(&r, c.in[:cut], c.in[cut:]+"+next\r\n"); n != len(c.in) || !done || err != nil || r.Kind() != c.kind {
					t.Fatalf("cut at %d: %d, %v, %v, kind %q", cut, n, done, err, r.Kind())
				}
			}
			if n, done, err := scanParts(&r, strings.Split(c.in, "")...); n != len(c.in) || !done || err != nil || r.Kind() != c.kind {
				t.Fatalf("byte by byte: %d, %v, %v, kind %q", n, done, err, r.Kind())
			}
		})
	}
}

func TestAReplyIsHandedOnBeforeItIsComplete(t *testing.T) {
	var r resp.Reply
	for _, c := range []struct {
		in      string
		n       int
		kind    byte
		started bool
	}{
		{"$", 0, 0, false},
		{"|1\r\n+k", 6, '|', true},
		{"ey\r\n$3\r", 4, '|', true},
		{"$3\r\nab", 6, '|', true},
		{"c\r", 2, '|', true},
		{"\n", 1, '|', true},
		{"*2", 0, '|', true},
		{"*2\r\n$1000000\r\nxyz", 17, '*', true},
	} {
		n, done, err := r.Scan([]byte(c.in))
		if n != c.n || done || err != nil || r.Kind() != c.kind || r.Started() != c.started {
			t.Fatalf("Scan(%q) = %d, %v, %v, kind %q, started %v", c.in, n, done, err, r.Kind(), r.Started())
		}
	}
	r.Reset()
	if n, done, err := r.Scan([]byte("+OK\r\n")); n != 5 || !done || err != nil {
		t.Errorf("after Reset: %d, %v, %v", n, done, err)
	}
}

// badReplies are not replies, whatever follows.
var badReplies = []string{
	"\r\n", "OK\r\n", "@1\r\n", "\x00", ".\r\n", ";1\r\na\r\n",
	"$\r\n", "$x\r\n", "$01\r\n", "$+1\r\n", "$-2\r\n", "$1\n", "$\n", "$1\rx", "$12\rxx", "$ 1\r\n",
	"$1\r\nab\r\n", "$1\r\na\rx", "$1\r\naxx", "$0\r\nx", "$1200\r\n" + strings.Repeat("y", 1200) + "x",
	"$9223372036854775807\r\n", "*9223372036854775807\r\n", "%1152921504606846976\r\n",
	"*1152921504606846976\r\n*1152921504606846976\r\n",
	"*-2\r\n", "%-1\r\n", "~-1\r\n", ">-1\r\n", "|-1\r\n", "!-1\r\n", "=-1\r\n",
	"!?\r\n", "=?\r\n", ">?\r\n", "|?\r\n", "$??\r\n",
	"*1\r\n.\r\n", "*?\r\n|1\r\n+a\r\n+b\r\n.\r\n", "%?\r\n+a\r\n.\r\n", "*?\r\n.x", "*?\r\n.\rx", "*?\r\n>0\r\n",
	"$?\r\n+a\r\n", "$?\r\n;-1\r\n", "$?\r\n;?\r\n", "$?\r\n;x\r\n", "$?\r\n;1\r\nab",
	strings.Repeat("*?\r\n", resp.MaxDepth+1),
}

func TestGarbageFromAServerIsRefused(t *testing.T) {
	for _, in := range badReplies {
		t.Run(fmt.Sprintf("%.40q", in), func(t *testing.T) {
			parts := strings.Split(in, "")
			for name, parts := range map[string][]string{"whole": {in}, "byte by byte": parts} {
				var r resp.Reply
				n, done, err := scanParts(&r, parts...)
				var refused *resp.ProtocolError
				if n != 0 || done || !errors.As(err, &refused) || !strings.HasPrefix(refused.Msg, "Protocol error: ") {
					t.Errorf("%s: %d, %v, %v", name, n, done, err)
				}
			}
		})
	}
}
