package resp_test

import (
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

var (
	getRequest     = resp.AppendCommand(nil, "GET", "key:000000000042")
	evalshaRequest = resp.AppendCommand(nil, "EVALSHA", strings.Repeat("a1b2c3d4", 5), "2", "acct:17", "acct:99", "100")
	nestedReply    = []byte("*3\r\n$1\r\na\r\n*2\r\n:1\r\n*2\r\n+x\r\n%1\r\n+k\r\n$2\r\nvv\r\n_\r\n")
)

func benchmarkRequest(b *testing.B, frame []byte) {
	var r resp.Request
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		n, err := r.Parse(frame, &resp.DefaultLimits)
		if n != len(frame) || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkRequestGet(b *testing.B)     { benchmarkRequest(b, getRequest) }
func BenchmarkRequestEvalsha(b *testing.B) { benchmarkRequest(b, evalshaRequest) }
func BenchmarkRequestInline(b *testing.B)  { benchmarkRequest(b, []byte("GET \"key:1\"\r\n")) }

// BenchmarkRequestPipeline16 is one operation for 16 GET requests in one buffer.
func BenchmarkRequestPipeline16(b *testing.B) {
	pipeline := []byte(strings.Repeat(string(getRequest), 16))
	var r resp.Request
	b.SetBytes(int64(len(pipeline)))
	b.ReportAllocs()
	for b.Loop() {
		for rest := pipeline; len(rest) > 0; {
			n, err := r.Parse(rest, &resp.DefaultLimits)
			if n == 0 || err != nil || len(r.Arg(1)) != 16 {
				b.Fatal(n, err)
			}
			rest = rest[n:]
		}
	}
}

func benchmarkReply(b *testing.B, frame []byte) {
	var r resp.Reply
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		n, done, err := r.Scan(frame)
		if n != len(frame) || !done || err != nil {
			b.Fatal(n, done, err)
		}
	}
}

func BenchmarkReplyOK(b *testing.B)      { benchmarkReply(b, []byte("+OK\r\n")) }
func BenchmarkReplyInteger(b *testing.B) { benchmarkReply(b, []byte(":12345\r\n")) }
func BenchmarkReplyBulk(b *testing.B)    { benchmarkReply(b, resp.AppendBulk(nil, make([]byte, 64))) }
func BenchmarkReplyBulk4K(b *testing.B)  { benchmarkReply(b, resp.AppendBulk(nil, make([]byte, 4096))) }
func BenchmarkReplyNested(b *testing.B)  { benchmarkReply(b, nestedReply) }

func BenchmarkDecodeNested(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := resp.Decode(nestedReply); err != nil {
			b.Fatal(err)
		}
	}
}
