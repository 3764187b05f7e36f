package resp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unsafe"
)

// feed gives frame to a Request one byte per call, and overwrites every byte that may not be looked at
// again: all before the pending line and all of a bulk's body. Of the pending line it checks that the
// search for its end continues where it stopped, or is over for good. So each byte is searched once and
// read once.
func feed(t *testing.T, frame []byte) (calls int) {
	t.Helper()
	buf := bytes.Clone(frame)
	var r Request
	poisoned := 0
	for upto := 1; upto <= len(buf); upto++ {
		n, err := r.Parse(buf[:upto], &DefaultLimits)
		if err != nil || n > 0 {
			if upto != len(buf) {
				t.Fatalf("ends after %d of %d bytes: %d, %v", upto, len(buf), n, err)
			}
			return upto
		}
		if r.bulk > 0 {
			if body := min(upto, int(r.pos+r.bulk-1)); body > poisoned {
				poisoned = poison(buf, poisoned, body)
			}
			continue
		}
		poisoned = poison(buf, poisoned, max(int(r.pos), poisoned))
		line := buf[r.pos:upto]
		if !r.nul && r.seen != len(line) && (r.seen != len(line)-1 || line[r.seen] != '\r') {
			t.Fatalf("after %d bytes: %d of the line's %d bytes were searched", upto, r.seen, len(line))
		}
	}
	t.Fatal("incomplete")
	return 0
}

func poison(b []byte, from, upto int) int {
	for i := from; i < upto; i++ {
		b[i] = 0xA5
	}
	return upto
}

func TestNoByteIsLookedAtAgain(t *testing.T) {
	for name, frame := range map[string]string{
		"GET":                 "*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n",
		"100,000 arguments":   "*100000\r\n" + strings.Repeat("$1\r\na\r\n", 100_000),
		"1 MiB bulk":          "*1\r\n$1048576\r\n" + strings.Repeat("x", 1<<20) + "\r\n",
		"long count":          "*" + strings.Repeat("1", 64<<10),
		"long bulk header":    "*1\r\n$" + strings.Repeat("1", 64<<10),
		"long header, NUL":    "*1\r\n$\x00" + strings.Repeat("1", 64<<10-1),
		"inline":              strings.Repeat("x ", 32<<10-1) + "\r\n",
		"inline without end":  strings.Repeat("x", 64<<10+1),
		"inline behind a NUL": "\x00" + strings.Repeat("\n", 64<<10),
	} {
		t.Run(name, func(t *testing.T) {
			if calls := feed(t, []byte(frame)); calls != len(frame) {
				t.Errorf("%d calls for %d bytes", calls, len(frame))
			}
		})
	}
}

func TestAReplyHoldsNoMoreThanAnIncompleteHeader(t *testing.T) {
	for _, reply := range []string{
		"+" + strings.Repeat("x", 1000) + "\r\n",
		"$1000\r\n" + strings.Repeat("x", 1000) + "\r\n",
		"*3\r\n$-1\r\n%1\r\n+k\r\n:1\r\n*?\r\n$?\r\n;3\r\nabc\r\n;0\r\n.\r\n",
	} {
		var r Reply
		from := 0
		for upto := 1; upto <= len(reply); upto++ {
			n, done, err := r.Scan([]byte(reply[from:upto]))
			if err != nil || done != (upto == len(reply)) {
				t.Fatalf("%.20q: after %d of %d bytes: %v, %v", reply, upto, len(reply), done, err)
			}
			from += n
			if kept := upto - from; kept >= maxHeader {
				t.Fatalf("%.20q: %d bytes left in the buffer", reply, kept)
			}
		}
	}
}

func TestLongHeadersInRepliesAreRefused(t *testing.T) {
	for _, header := range []string{"$" + strings.Repeat("1", maxHeader), "*1\r\n*" + strings.Repeat("0", maxHeader)} {
		var r Reply
		if _, _, err := r.Scan([]byte(header)); err != errReplyLength {
			t.Errorf("%q: %v", header, err)
		}
	}
}

func TestStatesAreSmall(t *testing.T) {
	if size := unsafe.Sizeof(Reply{}); size > 96 {
		t.Errorf("a Reply takes %d bytes, want at most 96", size)
	}
	if size := unsafe.Sizeof(Request{}); size > 128 {
		t.Errorf("a Request takes %d bytes, want at most 128", size)
	}
}

func TestResetGivesBackWhatALargeRequestNeeded(t *testing.T) {
	for _, frame := range []string{
		fmt.Sprintf("*5000\r\n%s", strings.Repeat("$1\r\na\r\n", 5000)),
		strings.Repeat("x ", 5000) + "\n",
	} {
		var r Request
		if n, err := r.Parse([]byte(frame), &DefaultLimits); n != len(frame) || err != nil {
			t.Fatal(n, err)
		}
		r.Reset()
		if cap(r.spans) > keepSpans || cap(r.enc) > keepEncoded || r.buf != nil {
			t.Errorf("keeps %d spans, %d bytes, buffer %v", cap(r.spans), cap(r.enc), r.buf != nil)
		}
	}
}
