package resp_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// args copies the complete arguments of r.
func args(r *resp.Request) []string {
	out := []string{}
	for i := range r.Len() {
		out = append(out, string(r.Arg(i)))
	}
	return out
}

func TestRequestsAreFramed(t *testing.T) {
	big := strings.Repeat("x", 1234)
	for _, c := range []struct {
		in     string
		args   []string
		rest   string
		inline bool
		raw    string // "" means the received bytes
	}{
		{in: "*1\r\n$4\r\nPING\r\n", args: []string{"PING"}},
		{in: "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n", args: []string{"GET", "k"}, rest: "*1\r\n"},
		{in: "*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n", args: []string{"", "\r\n"}},
		{in: "*1\r\n$12\r\n012345678901\r\n", args: []string{"012345678901"}},
		{in: "*1\r\n$123\r\n" + big[:123] + "\r\n", args: []string{big[:123]}},
		{in: "*1\r\n$1234\r\n" + big + "\r\n", args: []string{big}},
		{in: "*12\r\n" + strings.Repeat("$1\r\na\r\n", 12), args: strings.Split(strings.Repeat("a", 12), "")},
		{in: "*0\r\nPING\r\n", args: []string{}, rest: "PING\r\n"},
		{in: "*-1\r\n", args: []string{}},
		{in: "*-9223372036854775808\r\n", args: []string{}},
		// Redis looks for CR and takes whatever follows it, and does not look behind a bulk at all.
		{in: "*1\rX$4\rYPINGab", args: []string{"PING"}, raw: "*1\r\n$4\r\nPING\r\n"},
		{in: "*2\r\n$4\r\nECHO\n\n$2\r\nhi\r\n", args: []string{"ECHO", "hi"}, raw: "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n"},
		{in: "*0\rX", args: []string{}, raw: "*0\r\n"},

		{in: "PING\r\n", args: []string{"PING"}, inline: true, raw: "*1\r\n$4\r\nPING\r\n"},
		{in: "PING\nPING\n", args: []string{"PING"}, rest: "PING\n", inline: true, raw: "*1\r\n$4\r\nPING\r\n"},
		{in: "\r\n*1\r\n", args: []string{}, rest: "*1\r\n", inline: true, raw: "*0\r\n"},
		{in: "\n", args: []string{}, inline: true, raw: "*0\r\n"},
		{in: " \t\v\f\r\r\n", args: []string{}, inline: true, raw: "*0\r\n"},
		{in: " *1\r\n", args: []string{"*1"}, inline: true, raw: "*1\r\n$2\r\n*1\r\n"},
		{in: "$04\r\n", args: []string{"$04"}, inline: true, raw: "*1\r\n$3\r\n$04\r\n"},
	} {
		t.Run(fmt.Sprintf("%.40q", c.in), func(t *testing.T) {
			var r resp.Request
			n, err := r.Parse([]byte(c.in), &resp.DefaultLimits)
			if err != nil || c.in[n:] != c.rest || n == 0 {
				t.Fatalf("Parse = %d, %v; want the rest %q", n, err, c.rest)
			}
			if got := args(&r); !reflect.DeepEqual(got, c.args) {
				t.Errorf("arguments %q, want %q", got, c.args)
			}
			raw := c.raw
			if raw == "" {
				raw = c.in[:n]
			}
			if got := string(r.Raw()); got != raw {
				t.Errorf("Raw %q, want %q", got, raw)
			}
			if r.Inline() != c.inline {
				t.Errorf("Inline = %v", r.Inline())
			}
			checkTails(t, &r)
		})
	}
}

// checkTails checks each Tail of a complete request against an encoding of its arguments.
func checkTails(t *testing.T, r *resp.Request) {
	t.Helper()
	for i := range r.Len() + 1 {
		var want []byte
		for j := i; j < r.Len(); j++ {
			want = resp.AppendBulk(want, r.Arg(j))
		}
		if got := r.Tail(i); string(got) != string(want) {
			t.Errorf("Tail(%d) = %q, want %q", i, got, want)
		}
	}
	if len(r.Tail(-1)) != 0 || len(r.Tail(r.Len()+1)) != 0 {
		t.Error("a Tail outside the arguments is not empty")
	}
}

func TestRefusedRequestsGetTheTextsOfRedis(t *testing.T) {
	long := strings.Repeat("1", 64<<10)
	for _, c := range []struct {
		in, want string
		noAuth   bool
	}{
		{in: "*9223372036854775807\r\n", want: "invalid multibulk length"},
		{in: "*9223372036854775808\r\n", want: "invalid multibulk length"},
		{in: "*1048577\r\n", want: "invalid multibulk length"},
		{in: "*\r\n", want: "invalid multibulk length"},
		{in: "*-\r\n", want: "invalid multibulk length"},
		{in: "*-0\r\n", want: "invalid multibulk length"},
		{in: "*+1\r\n", want: "invalid multibulk length"},
		{in: "*01\r\n", want: "invalid multibulk length"},
		{in: "* 1\r\n", want: "invalid multibulk length"},
		{in: "*1 \r\n", want: "invalid multibulk length"},
		{in: "*1x\r\n", want: "invalid multibulk length"},
		{in: "*12345678901234567890123\r\n", want: "invalid multibulk length"},
		{in: "*11\r\n", want: "unauthenticated multibulk length", noAuth: true},
		{in: "*1048577\r\n", want: "invalid multibulk length", noAuth: true},
		{in: "*1\r\n$9223372036854775807\r\n", want: "invalid bulk length"},
		{in: "*1\r\n$536870913\r\n", want: "invalid bulk length"},
		{in: "*1\r\n$-1\r\n", want: "invalid bulk length"},
		{in: "*1\r\n$-2\r\n", want: "invalid bulk length"},
		{in: "*1\r\n$04\r\n", want: "invalid bulk length"},
		{in: "*1\r\n$\r\n", want: "invalid bulk length"},
		{in: "*1\r\n$00\r\n", want: "invalid bulk length"},
		{in: "*1\r\n$4x\r\n", want: "invalid bulk length"},
		{in: "*1\r\n$16385\r\n", want: "unauthenticated bulk length", noAuth: true},
		{in: "*1\r\n$536870913\r\n", want: "invalid bulk length", noAuth: true},
		{in: "*1\r\nPING\r\n", want: "expected '$', got 'P'"},
		{in: "*1\r\n\r\n", want: "expected '$', got ' '"},
		{in: "*1\r\n\n\r\n", want: "expected '$', got ' '"},
		{in: "*1\r\n\xff\r\n", want: "expected '$', got '\xff'"},
		{in: "*2\r\n$1\r\na\r\n:1\r\n", want: "expected '$', got ':'"},
		{in: "*" + long, want: "too big mbulk count string"},
		{in: "*\x00" + long[1:], want: "too big mbulk count string"},
		{in: "*1\r\n$" + long, want: "too big bulk count string"},
		{in: "*1\r\nx" + long, want: "too big bulk count string"},
		{in: "x" + long, want: "too big inline request"},
		{in: "x\x00\r\n" + long[3:], want: "too big inline request"},
		{in: "\"\r\n", want: "unbalanced quotes in request"},
		{in: "'\n", want: "unbalanced quotes in request"},
		{in: "SET k \"a\"b\r\n", want: "unbalanced quotes in request"},
		{in: "SET k 'a'b\r\n", want: "unbalanced quotes in request"},
		{in: "\"a\\\"\r\n", want: "unbalanced quotes in request"},
		{in: "\"a\\\r\n", want: "unbalanced quotes in request"},
		{in: "'a\\'\r\n", want: "unbalanced quotes in request"},
	} {
		t.Run(fmt.Sprintf("%.40q", c.in), func(t *testing.T) {
			lim := &resp.DefaultLimits
			if c.noAuth {
				lim = &resp.UnauthenticatedLimits
			}
			in := []byte(c.in)
			var r resp.Request
			for k := range in { // no prefix is refused
				if n, err := r.Parse(in[:k], lim); n != 0 || err != nil {
					t.Fatalf("Parse of the first %d bytes = %d, %v", k, n, err)
				}
			}
			for range 2 { // and the refusal is final
				n, err := r.Parse(in, lim)
				var refused *resp.ProtocolError
				if n != 0 || !errors.As(err, &refused) || refused.Msg != "Protocol error: "+c.want {
					t.Fatalf("Parse = %d, %v; want %q", n, err, c.want)
				}
			}
			r.Reset()
			if n, err := r.Parse([]byte("PING\r\n"), lim); n != 6 || err != nil {
				t.Fatalf("Parse after Reset = %d, %v", n, err)
			}
		})
	}
}

func TestLargestAllowedValuesPass(t *testing.T) {
	line := strings.Repeat("x", 64<<10)
	var r resp.Request
	if n, err := r.Parse([]byte(line+"\n"), &resp.DefaultLimits); n != len(line)+1 || err != nil {
		t.Errorf("inline of 64 KiB: %d, %v", n, err)
	}
	r.Reset()
	if n, err := r.Parse([]byte("*1048576\r\n$536870912\r\nab"), &resp.DefaultLimits); n != 0 || err != nil {
		t.Errorf("largest announcements: %d, %v", n, err)
	}
	if r.Declared() != 1048576 || r.BulkLen() != 512<<20 || r.Missing() != 512<<20 {
		t.Errorf("Declared %d, BulkLen %d, Missing %d", r.Declared(), r.BulkLen(), r.Missing())
	}
	r.Reset()
	if n, err := r.Parse([]byte("*10\r\n$16384\r\n"), &resp.UnauthenticatedLimits); n != 0 || err != nil {
		t.Errorf("largest announcements before authentication: %d, %v", n, err)
	}
}

func TestBulkProgressIsReported(t *testing.T) {
	in := []byte("*2\r\n$3\r\nGET\r\n$5\r\nhello\r\n")
	var r resp.Request
	for _, c := range []struct {
		upto               int
		declared, complete int
		bulk, missing      int64
	}{
		{0, 0, 0, -1, 0},
		{3, 0, 0, -1, 0},
		{4, 2, 0, -1, 0},
		{8, 2, 0, 3, 5},
		{12, 2, 0, 3, 1},
		{13, 2, 1, -1, 0},
		{16, 2, 1, -1, 0},
		{17, 2, 1, 5, 7},
		{23, 2, 1, 5, 1},
	} {
		if n, err := r.Parse(in[:c.upto], &resp.DefaultLimits); n != 0 || err != nil {
			t.Fatalf("after %d bytes: %d, %v", c.upto, n, err)
		}
		if r.Declared() != c.declared || r.Len() != c.complete || r.BulkLen() != c.bulk || r.Missing() != c.missing {
			t.Errorf("after %d bytes: Declared %d, Len %d, BulkLen %d, Missing %d; want %+v",
				c.upto, r.Declared(), r.Len(), r.BulkLen(), r.Missing(), c)
		}
	}
	if n, err := r.Parse(in, &resp.DefaultLimits); n != len(in) || err != nil || r.BulkLen() != -1 || r.Missing() != 0 {
		t.Errorf("complete: %d, %v, BulkLen %d, Missing %d", n, err, r.BulkLen(), r.Missing())
	}
}

func TestHugeAnnouncementsGetNoMemory(t *testing.T) {
	in := []byte("*1048576\r\n$536870912\r\nx")
	var r resp.Request
	if bytes := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r = resp.Request{}
			if _, err := r.Parse(in, &resp.DefaultLimits); err != nil {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp(); bytes > 64 {
		t.Errorf("%d bytes allocated for an announcement", bytes)
	}
}

func TestTheNextRequestFollowsWithoutReset(t *testing.T) {
	in := []byte("*2\r\n$4\r\nECHO\r\n$1\r\na\r\n\r\nPING x\r\n*0\r\n*1\r\n$4\r\nQUIT\r\n")
	var r resp.Request
	var got [][]string
	for len(in) > 0 {
		n, err := r.Parse(in, &resp.DefaultLimits)
		if n == 0 || err != nil {
			t.Fatalf("Parse(%q) = %d, %v", in, n, err)
		}
		got = append(got, args(&r))
		in = in[n:]
	}
	if want := [][]string{{"ECHO", "a"}, {}, {"PING", "x"}, {}, {"QUIT"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestArgumentsOutOfRangeAreNil(t *testing.T) {
	var r resp.Request
	if _, err := r.Parse(getRequest, &resp.DefaultLimits); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{-1, 2, math.MaxInt, math.MinInt} {
		if r.Arg(i) != nil {
			t.Errorf("Arg(%d) = %q", i, r.Arg(i))
		}
	}
	if got := r.Arg(0); cap(got) != len(got) {
		t.Error("appending to an argument would overwrite the request")
	}
}
