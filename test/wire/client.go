// Package wire has a client for tests that see requests and replies as the bytes that they are, and the forms of both.
package wire

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

// patience bounds every wait for something that takes milliseconds on an idle machine.
const patience = 20 * time.Second

// readSize is the least room for a read, in bytes.
const readSize = 64 << 10

// Client is one connection. Methods without an error in their result fail the test, also when they have waited for too long; like
// t.Fatal they are for the test's own goroutine.
type Client struct {
	Conn net.Conn
	t    testing.TB
	buf  []byte
}

// New returns a client that speaks on a connection.
func New(t testing.TB, conn net.Conn) *Client { return &Client{Conn: conn, t: t} }

// Send writes bytes.
func (c *Client) Send(raw string) {
	c.t.Helper()
	c.Conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.Conn, raw); err != nil {
		c.t.Fatalf("write %.80q: %v", raw, err)
	}
}

// Reply reads one whole reply or push.
func (c *Client) Reply() string {
	c.t.Helper()
	r, err := c.ReplyWithin(patience)
	if err != nil {
		c.t.Fatalf("read a reply: %v (after %.200q)", err, c.buf)
	}
	return r
}

// ReplyWithin is Reply for any goroutine, with a bound of its own.
func (c *Client) ReplyWithin(d time.Duration) (string, error) {
	var framer resp.Reply
	scanned := 0
	c.Conn.SetReadDeadline(time.Now().Add(d))
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
		n, err := c.Conn.Read(c.buf[len(c.buf):cap(c.buf)])
		c.buf = c.buf[:len(c.buf)+n]
		if n == 0 && err != nil {
			return "", err
		}
	}
}

// Do sends one command and returns its reply.
func (c *Client) Do(args ...string) string {
	c.t.Helper()
	c.Send(Request(args...))
	return c.Reply()
}

// Want reads one reply for each of those given, and compares.
func (c *Client) Want(replies ...string) {
	c.t.Helper()
	for i, w := range replies {
		if got := c.Reply(); got != w {
			c.t.Fatalf("reply %d is %.200q, want %.200q", i, got, w)
		}
	}
}

// Rest reads until the other side closes the connection, and returns what came before.
func (c *Client) Rest() string {
	c.t.Helper()
	c.Conn.SetReadDeadline(time.Now().Add(patience))
	b, err := io.ReadAll(c.Conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		c.t.Fatalf("the connection was not closed: %v (after %.200q)", err, b)
	}
	b = append(c.buf, b...)
	c.buf = nil
	return string(b)
}

// Gone waits until the other side closes the connection, and fails the test when more bytes come before.
func (c *Client) Gone() {
	c.t.Helper()
	if rest := c.Rest(); rest != "" {
		c.t.Fatalf("got %.200q where the connection was to be closed", rest)
	}
}

// Request is a command as the array of bulk strings that clients send.
func Request(args ...string) string { return string(resp.AppendCommand(nil, args...)) }

// Bulk is a bulk string.
func Bulk(s string) string { return "$" + strconv.Itoa(len(s)) + "\r\n" + s + "\r\n" }

// Integer is a number.
func Integer(n int) string { return ":" + strconv.Itoa(n) + "\r\n" }

// Array is an array of what the items are.
func Array(items ...string) string {
	return "*" + strconv.Itoa(len(items)) + "\r\n" + strings.Join(items, "")
}

// Replies that are always the same.
const (
	OK     = "+OK\r\n"
	Pong   = "+PONG\r\n"
	Queued = "+QUEUED\r\n"
	Null   = "$-1\r\n"
)
