package resp_test

import (
	"testing"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

func TestRequestsAreEncoded(t *testing.T) {
	dst := []byte("x")
	dst = resp.AppendCommand(dst, "SET", "", "a\r\n")
	dst = resp.AppendArrayHeader(dst, 12)
	dst = resp.AppendBulk(dst, []byte("0123456789"))
	dst = resp.AppendBulkString(dst, "b")
	const want = "x*3\r\n$3\r\nSET\r\n$0\r\n\r\n$3\r\na\r\n\r\n*12\r\n$10\r\n0123456789\r\n$1\r\nb\r\n"
	if string(dst) != want {
		t.Errorf("got %q, want %q", dst, want)
	}
}
