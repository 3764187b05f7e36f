//go:build linux

package faults

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// client sees replies as the bytes that they are. Every wait is bounded by patience. Methods without an error in their
// result fail the test, and are for its own goroutine.
type client struct {
	t    *testing.T
	conn net.Conn
	buf  []byte
}

func newClient(t *testing.T, conn net.Conn) *client { return &client{t: t, conn: conn} }

// request is a command as the array of bulk strings that clients send.
func request(args ...string) string { return string(resp.AppendCommand(nil, args...)) }

func (c *client) send(raw string) {
	c.t.Helper()
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.conn, raw); err != nil {
		c.t.Fatalf("write %.80q: %v", raw, err)
	}
}

// next reads one whole reply or push.
func (c *client) next(within time.Duration) (string, error) {
	var framer resp.Reply
	scanned := 0
	c.conn.SetReadDeadline(time.Now().Add(within))
	for {
		for scanned < len(c.buf) {
			n, done, err := framer.Scan(c.buf[scanned:])
			if err != nil {
				return "", err
			}
			scanned += n
			if done {
				r := string(c.buf[:scanned])
				c.buf = append(c.buf[:0], c.buf[scanned:]...)
				return r, nil
			}
			if n == 0 {
				break
			}
		}
		chunk := make([]byte, 64<<10)
		n, err := c.conn.Read(chunk)
		c.buf = append(c.buf, chunk[:n]...)
		if n == 0 && err != nil {
			return "", err
		}
	}
}

func (c *client) reply() string {
	c.t.Helper()
	r, err := c.next(patience)
	if err != nil {
		c.t.Fatalf("read a reply: %v (after %.200q)", err, c.buf)
	}
	return r
}

func (c *client) do(args ...string) string {
	c.t.Helper()
	c.send(request(args...))
	return c.reply()
}

// want reads one reply for each of those given, and compares.
func (c *client) want(replies ...string) {
	c.t.Helper()
	for i, w := range replies {
		if got := c.reply(); got != w {
			c.t.Fatalf("reply %d is %.200q, want %.200q", i, got, w)
		}
	}
}

// rest reads until the other side closes, and returns what came before.
func (c *client) rest() string {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c.conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("the connection was not closed: %v (after %.200q)", err, b)
	}
	b = append(c.buf, b...)
	c.buf = nil
	return string(b)
}

// gone waits until the other side closes, and fails the test when more bytes come before.
func (c *client) gone() {
	c.t.Helper()
	if rest := c.rest(); rest != "" {
		c.t.Fatalf("got %.200q where the connection was to be closed", rest)
	}
}

func bulk(s string) string { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }

func array(items ...string) string {
	return "*" + strconv.Itoa(len(items)) + "\r\n" + strings.Join(items, "")
}

const (
	ok     = "+OK\r\n"
	queued = "+QUEUED\r\n"
	null   = "$-1\r\n"
)

// didNotRun and mayHaveRun tell the two kinds of refusal apart.
func didNotRun(reply string) bool {
	return strings.HasPrefix(reply, "-UNAVAILABLE ") && strings.HasSuffix(reply, "did not run\r\n")
}

func mayHaveRun(reply string) bool {
	return strings.HasPrefix(reply, "-UNAVAILABLE ") && strings.HasSuffix(reply, "may have run\r\n")
}
