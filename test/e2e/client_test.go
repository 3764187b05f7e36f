//go:build linux

package e2e

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
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// client sees replies as the bytes that they are. Every method that waits fails the test after patience; like t.Fatal they are
// for the test's own goroutine.
type client struct {
	t    *testing.T
	conn net.Conn
	buf  []byte
}

func newClient(t *testing.T, conn net.Conn) *client { return &client{t: t, conn: conn} }

// direct returns a client of the server itself.
func direct(t *testing.T, s *redisserver.Server) *client {
	t.Helper()
	return newClient(t, s.Conn())
}

// request is a command as the array of bulk strings that clients send.
func request(args ...string) string { return string(resp.AppendCommand(nil, args...)) }

// send writes bytes.
func (c *client) send(raw string) {
	c.t.Helper()
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.conn, raw); err != nil {
		c.t.Fatalf("write %.80q: %v", raw, err)
	}
}

// reply reads one whole reply or push.
func (c *client) reply() string {
	c.t.Helper()
	r, err := c.replyWithin(patience)
	if err != nil {
		c.t.Fatalf("read a reply: %v (after %.200q)", err, c.buf)
	}
	return r
}

func (c *client) replyWithin(d time.Duration) (string, error) {
	var framer resp.Reply
	scanned := 0
	c.conn.SetReadDeadline(time.Now().Add(d))
	for {
		for scanned < len(c.buf) {
			n, done, err := framer.Scan(c.buf[scanned:])
			if err != nil {
				return "", err
			}
			scanned += n
			if done {
				r := string(c.buf[:scanned])
				c.buf = c.buf[scanned:]
				return r, nil
			}
			if n == 0 {
				break
			}
		}
		if cap(c.buf)-len(c.buf) < readSize {
			c.buf = append(make([]byte, 0, 2*len(c.buf)+2*readSize), c.buf...)
		}
		n, err := c.conn.Read(c.buf[len(c.buf):cap(c.buf)])
		c.buf = c.buf[:len(c.buf)+n]
		if n == 0 && err != nil {
			return "", err
		}
	}
}

// readSize is the least room for a read, in bytes.
const readSize = 64 << 10

// do sends one command and returns its reply.
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

// gone waits until the other side closes the connection, and fails the test when more bytes come before.
func (c *client) gone() {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 1024)
	n, err := c.conn.Read(b)
	if rest := string(c.buf) + string(b[:n]); rest != "" {
		c.t.Fatalf("got %q where the connection was to be closed", rest)
	}
	if err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("the connection was not closed: %v", err)
	}
}

// The forms of replies.

func bulk(s string) string { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }

func integer(n int) string { return ":" + strconv.Itoa(n) + "\r\n" }

func array(items ...string) string {
	return "*" + strconv.Itoa(len(items)) + "\r\n" + strings.Join(items, "")
}

const (
	ok     = "+OK\r\n"
	pong   = "+PONG\r\n"
	queued = "+QUEUED\r\n"
	null   = "$-1\r\n"
	// noScript is Redis's answer to the sha of a script that it does not know.
	noScript = "-NOSCRIPT No matching script. Please use EVAL.\r\n"
)
