//go:build linux

package policy

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// client speaks RESP by hand, so that pipelines are pipelines and replies are seen as they come.
type client struct {
	t    *testing.T
	conn net.Conn
	buf  []byte
}

// as returns a client of the proxy that has logged in as a user of the server.
func (s *site) as(user string) *client {
	s.t.Helper()
	c := &client{t: s.t, conn: s.Open()}
	if got := c.do("AUTH", user, user); got != "+OK" {
		s.t.Fatalf("user %s cannot log in: %s", user, got)
	}
	return c
}

// direct returns a client of the server itself that has logged in as a user.
func direct(t *testing.T, s *redisserver.Server, user string) *client {
	t.Helper()
	c := &client{t: t, conn: s.Conn()}
	if got := c.do("AUTH", user, user); got != "+OK" {
		t.Fatalf("user %s cannot log in: %s", user, got)
	}
	return c
}

// do sends one command and returns its reply, without the last line end.
func (c *client) do(args ...string) string {
	c.t.Helper()
	c.send(args)
	return c.replies(1)[0]
}

// pipeline sends commands, each split at blanks, at once and returns their replies.
func (c *client) pipeline(commands ...string) []string {
	c.t.Helper()
	var list [][]string
	for _, line := range commands {
		list = append(list, strings.Fields(line))
	}
	c.send(list...)
	return c.replies(len(commands))
}

func (c *client) send(commands ...[]string) {
	c.t.Helper()
	var out []byte
	for _, args := range commands {
		out = resp.AppendCommand(out, args...)
	}
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write(out); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// replies reads n replies.
func (c *client) replies(n int) []string {
	c.t.Helper()
	var list []string
	var framer resp.Reply
	scanned := 0
	c.conn.SetReadDeadline(time.Now().Add(patience))
	chunk := make([]byte, 64<<10)
	for {
		for scanned < len(c.buf) {
			used, done, err := framer.Scan(c.buf[scanned:])
			if err != nil {
				c.t.Fatal(err)
			}
			scanned += used
			if done {
				list = append(list, strings.TrimSuffix(string(c.buf[:scanned]), "\r\n"))
				c.buf, scanned = c.buf[scanned:], 0
				if len(list) == n {
					return list
				}
			}
			if used == 0 {
				break
			}
		}
		k, err := c.conn.Read(chunk)
		if err != nil {
			c.t.Fatalf("read a reply: %v (after %q)", err, list)
		}
		c.buf = append(c.buf, chunk[:k]...)
	}
}

// want compares replies; one that ends with … only has to begin so.
func want(t *testing.T, got []string, wanted ...string) {
	t.Helper()
	if len(got) != len(wanted) {
		t.Fatalf("there are %d replies, want %d", len(got), len(wanted))
	}
	for i, w := range wanted {
		if begin, ok := strings.CutSuffix(w, "…"); got[i] != w && !(ok && strings.HasPrefix(got[i], begin)) {
			t.Errorf("reply %d is %q, want %q", i+1, got[i], w)
		}
	}
}
