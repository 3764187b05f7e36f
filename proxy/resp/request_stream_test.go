package resp_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// stream parses frame with at most window bytes in its buffer, forgetting all it can after each Parse, and
// returns what was handed on.
func stream(t *testing.T, r *resp.Request, frame []byte, window int) []byte {
	t.Helper()
	var out []byte
	for from, upto := 0, 0; ; {
		upto = min(upto+window, len(frame))
		n, err := r.Parse(bytes.Clone(frame[from:upto]), &resp.DefaultLimits)
		if err != nil {
			t.Fatalf("bytes %d to %d: %v", from, upto, err)
		}
		out = append(out, r.Raw()...)
		if n > 0 {
			if from+n != len(frame) {
				t.Fatalf("ends at %d, want %d", from+n, len(frame))
			}
			return out
		}
		if upto == len(frame) {
			t.Fatal("incomplete")
		}
		k := r.Forgettable()
		if k != len(r.Raw()) {
			t.Fatalf("Forgettable %d, Raw has %d bytes", k, len(r.Raw()))
		}
		r.Forget(k)
		from += k
	}
}

func TestALargeRequestIsHandedOnInParts(t *testing.T) {
	frame := resp.AppendCommand(nil, "EVAL", strings.Repeat("s", 5000), "1", "k", strings.Repeat("v", 100_000), "")
	for _, window := range []int{1, 2, 3, 7, 1000, len(frame)} {
		var r resp.Request
		if out := stream(t, &r, frame, window); !bytes.Equal(out, frame) {
			t.Errorf("window %d: handed on %d bytes that are not the %d of the frame", window, len(out), len(frame))
		}
		if r.Len() != 6 || r.Declared() != 6 {
			t.Errorf("window %d: Len %d", window, r.Len())
		}
	}
}

func TestForgottenArgumentsAreNil(t *testing.T) {
	frame := resp.AppendCommand(nil, "SET", "key", "value")
	var r resp.Request
	upto := len(frame) - 4 // "val"
	if n, err := r.Parse(frame[:upto], &resp.DefaultLimits); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if got := string(r.Tail(1)); got != "$3\r\nkey\r\n$5\r\nval" {
		t.Errorf("Tail(1) = %q", got)
	}
	if got := string(r.Tail(2)); got != "$5\r\nval" {
		t.Errorf("Tail(2) = %q", got)
	}
	const forgotten = len("*3\r\n$3\r\nSET\r\n$3\r\n")
	r.Forget(forgotten)
	if r.Arg(0) != nil || string(r.Arg(1)) != "key" || r.Missing() != 4 {
		t.Errorf("after Forget: %q, %q, Missing %d", r.Arg(0), r.Arg(1), r.Missing())
	}
	n, err := r.Parse(frame[forgotten:], &resp.DefaultLimits)
	if n != len(frame)-forgotten || err != nil {
		t.Fatal(n, err)
	}
	if r.Arg(0) != nil || string(r.Arg(1)) != "key" || string(r.Arg(2)) != "value" || r.Len() != 3 {
		t.Errorf("complete: %q, %q, %q", r.Arg(0), r.Arg(1), r.Arg(2))
	}
	if got := string(r.Tail(0)); got != "key\r\n$5\r\nvalue\r\n" {
		t.Errorf("Tail(0) = %q", got)
	}
	if got := string(r.Tail(2)); got != "$5\r\nvalue\r\n" {
		t.Errorf("Tail(2) = %q", got)
	}
}

func TestIncompleteLinesAndTerminatorsAreNotForgotten(t *testing.T) {
	frame := "*2\r\n$3\r\nGET\r\n$5\r\nhello\r\n"
	for upto, want := range map[int]int{1: 0, 3: 0, 4: 4, 6: 4, 8: 8, 10: 10, 11: 11, 12: 11, 13: 13, 16: 13, 17: 17, 23: 22} {
		var r resp.Request
		if n, err := r.Parse([]byte(frame[:upto]), &resp.DefaultLimits); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		if got := r.Forgettable(); got != want {
			t.Errorf("%q: Forgettable %d, want %d", frame[:upto], got, want)
		}
	}
}

func TestForgettingTooMuchIsAnError(t *testing.T) {
	var r resp.Request
	in := []byte("*2\r\n$3")
	if n, err := r.Parse(in, &resp.DefaultLimits); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	r.Forget(5)
	if n, err := r.Parse([]byte("3\r\nGET\r\n"), &resp.DefaultLimits); n != 0 || err == nil {
		t.Errorf("Parse = %d, %v", n, err)
	}
}

func TestRequestsWithOddTerminatorsAreNotStreamed(t *testing.T) {
	var r resp.Request
	in := []byte("*2\r\n$3\r\nGETxx$5\r\nhel")
	if n, err := r.Parse(in, &resp.DefaultLimits); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if r.Forgettable() != 0 || len(r.Raw()) != 0 {
		t.Errorf("Forgettable %d, Raw %q", r.Forgettable(), r.Raw())
	}

	const want = "Protocol error: expected CRLF in a streamed request"
	for _, rest := range []string{"GET\r\n$5\rxhello\r\n", "GETxx$5\r\nhello\r\n", "GET\rx"} {
		r.Reset()
		head := []byte("*2\r\n$3\r\n")
		if n, err := r.Parse(head, &resp.DefaultLimits); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		r.Forget(len(head))
		if n, err := r.Parse([]byte(rest), &resp.DefaultLimits); n != 0 || err == nil || err.Error() != want {
			t.Errorf("%q: Parse = %d, %v", rest, n, err)
		}
	}
}

func TestAFrameOfMoreThanTwoGiBIsStreamed(t *testing.T) {
	const bulk, bulks, piece = 512 << 20, 5, 1 << 20
	var r resp.Request
	body := make([]byte, piece)
	parse := func(buf []byte) int {
		t.Helper()
		n, err := r.Parse(buf, &resp.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 && r.Forgettable() != len(buf) {
			t.Fatalf("Forgettable %d of %d", r.Forgettable(), len(buf))
		}
		r.Forget(r.Forgettable())
		return n
	}
	parse([]byte("*5\r\n"))
	for i := range bulks {
		parse([]byte("$536870912\r\n"))
		for sent := int64(0); sent < bulk; sent += piece {
			if r.Missing() != bulk-sent+2 {
				t.Fatalf("bulk %d: %d missing after %d", i, r.Missing(), sent)
			}
			parse(body)
		}
		n := parse([]byte("\r\n"))
		if want := 2; i == bulks-1 && n != want {
			t.Errorf("Parse of the last bytes = %d, want %d", n, want)
		}
	}
	if r.Len() != bulks || r.Arg(4) != nil || string(r.Raw()) != "\r\n" {
		t.Errorf("Len %d, Raw %q", r.Len(), r.Raw())
	}
}
