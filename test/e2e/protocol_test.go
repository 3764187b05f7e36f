//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// conversation sends bytes in chunks of the given size (0: at once) and returns all that comes back until the other side closes or says
// nothing for a while, and whether it closed. quiet is how long the first byte is waited for.
func conversation(t *testing.T, conn net.Conn, input string, chunk int, quiet time.Duration) (output string, closed bool) {
	t.Helper()
	go func() {
		conn.SetWriteDeadline(time.Now().Add(patience))
		for len(input) > 0 {
			n := len(input)
			if chunk > 0 {
				n = min(n, chunk)
			}
			if _, err := io.WriteString(conn, input[:n]); err != nil {
				return // the other side may close before it has read all
			}
			input = input[n:]
		}
	}()
	var out []byte
	b := make([]byte, 64<<10)
	for {
		conn.SetReadDeadline(time.Now().Add(quiet))
		n, err := conn.Read(b)
		out = append(out, b[:n]...)
		if n > 0 {
			quiet = 150 * time.Millisecond
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return string(out), false
		case err == io.EOF, errors.Is(err, syscall.ECONNRESET):
			return string(out), true
		default:
			t.Fatal(err)
		}
	}
}

func TestMalformedInputIsAnsweredAsTheServerDoes(t *testing.T) {
	t.Parallel()
	server, behind := redisserver.Start(t), redisserver.Start(t)
	p := startProxy(t, behind, nil)
	set := request("SET", "k", "v")
	// To a line without its end the server says nothing, nor to one with a zero byte before it.
	unanswered := []string{"lone newlines", "zero bytes", "TLS"}
	for name, input := range map[string]string{
		"huge bulk":                         "*1\r\n$9223372036854775807\r\n",
		"huge array":                        "*9223372036854775807\r\n",
		"negative bulk":                     "*1\r\n$-2\r\n",
		"null bulk":                         "*1\r\n$-1\r\n",
		"bulk just too long":                "*1\r\n$536870913\r\n",
		"leading zero":                      "*1\r\n$04\r\nPING\r\n" + set,
		"no bulk":                           "*2\r\n$3\r\nGET\r\n:1\r\n",
		"not a length":                      "*x\r\n",
		"not a bulk length":                 "*1\r\n$x\r\n",
		"empty arrays":                      "*0\r\n*-1\r\n*-5\r\n" + set,
		"empty lines":                       "\r\n\r\n\n" + set,
		"inline":                            "set k \"a\\x41\\n\" \r\nget k\r\n",
		"unbalanced quotes":                 set + "get \"k\r\n",
		"quote after quote":                 "get \"k\"x\r\n",
		"single quotes":                     "set k 'it\\'s'\r\nget k\r\n",
		"after good ones":                   set + request("GET", "k") + "*1\r\n$x\r\n" + set,
		"inline of 70 KB":                   strings.Repeat("a", 70<<10),
		"header of 70 KB":                   "*" + strings.Repeat("1", 70<<10),
		"bulk without its end":              "*1\r\n$4\r\nPINGxx" + set,
		"lone newlines":                     "*1\n$4\nPING\n",
		"many arguments":                    "*1000\r\n$4\r\nMGET\r\n" + strings.Repeat("$1\r\nn\r\n", 999), // of a key that no other conversation writes
		"empty command":                     "*1\r\n$0\r\n\r\n" + set,
		"POST is an attack on the protocol": "POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"zero bytes":                        "\x00\x00\r\n" + set,
		"TLS":                               "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
	} {
		for _, chunk := range []int{0, 7} {
			if chunk > 0 && len(input) > 1000 {
				continue
			}
			t.Run(fmt.Sprintf("%s in chunks of %d", name, chunk), func(t *testing.T) {
				t.Parallel()
				s, c := server.Conn(), p.Open()
				quiet := patience
				if slices.Contains(unanswered, name) {
					quiet = time.Second
				}
				want, wantClosed := conversation(t, s, input, chunk, quiet)
				if want == "" && !wantClosed && quiet == patience {
					t.Error("the server says nothing to this: it belongs to those unanswered")
				}
				got, gotClosed := conversation(t, c, input, chunk, quiet)
				if got != want || gotClosed != wantClosed {
					t.Errorf("%.60q:\n got %.300q, closed %v\nwant %.300q, closed %v", input, got, gotClosed, want, wantClosed)
				}
			})
		}
	}
}

func TestCommandsInOneByteChunksAreServed(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("append", []string{appendBody}))
	c := p.client()
	input := request("PING") + request("EVALSHA", "append", "1", "list", "x") + "ECHO \"in line\"\r\n" + request("LRANGE", "list", "0", "-1")
	go func() {
		for i := range input {
			io.WriteString(c.Conn, input[i:i+1])
		}
	}()
	c.Want(pong, integer(1), bulk("in line"), array(bulk("x")))
}

func TestHundredThousandArgumentsInSmallWritesAreServed(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil)
	c := p.client()
	args := []string{"RPUSH", "list"}
	for range 100_000 {
		args = append(args, "x")
	}
	input := request(args...)
	for len(input) > 0 {
		n := min(len(input), 997)
		c.Send(input[:n])
		input = input[n:]
	}
	c.Want(integer(100_000))
	c.Send(request("LRANGE", "list", "0", "-1") + request("PING"))
	c.Want(fmt.Sprintf("*%d\r\n%s", 100_000, strings.Repeat(bulk("x"), 100_000)), pong)
}

func TestLargeValuesPassThroughWhole(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("read", []string{readBody}), script("write", []string{writeBody}))
	c, other := p.client(), p.client()
	var b strings.Builder
	for i := 0; b.Len() < 12<<20; i++ {
		fmt.Fprintf(&b, "%08d", i)
	}
	value := b.String()
	go other.Conn.Write([]byte(strings.Repeat(request("PING"), 100)))
	c.Send(request("SET", "big", value) + request("EVALSHA", "write", "1", "big2", value) + request("PING") + request("GET", "big") + request("EVALSHA", "read", "1", "big2") + request("PING"))
	c.Want(ok, ok, pong)
	for range 2 {
		if got := c.Reply(); got != bulk(value) {
			t.Fatalf("a value of %d bytes came back with %d", len(value), len(got))
		}
	}
	c.Want(pong)
	for range 100 {
		other.Want(pong)
	}
}

// TestBrowsersAreCutOff: a page that posts commands to an address which only the browser reaches gets nowhere, as with Redis.
func TestBrowsersAreCutOff(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil)
	for _, attack := range []string{
		"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET stolen 1\r\n",
		"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nSET stolen 1\r\n",
	} {
		if output, closed := conversation(t, p.Open(), attack, 0, patience); !closed || strings.Contains(output, "OK") {
			t.Errorf("%.20q: %q, closed %v", attack, output, closed)
		}
	}
	if got := server.Do("EXISTS", "stolen"); got != int64(0) {
		t.Error("the commands behind the header ran")
	}
	if got := p.client().Do("PING"); got != pong {
		t.Errorf("another client: %q", got)
	}
}
