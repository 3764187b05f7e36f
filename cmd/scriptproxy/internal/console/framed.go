package console

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// maxRequest bounds one command: a script of the largest size that the registry
// takes by default (1 MiB), and then some, so that a larger one is told so.
const maxRequest = 4 << 20

var (
	knownLimits   = resp.Limits{MaxBulk: maxRequest, MaxArgs: 1024, MaxInline: 64 << 10}
	unknownLimits = resp.Limits{MaxBulk: maxRequest, MaxArgs: 1024, MaxInline: 64 << 10, Unauthenticated: true}
)

// framedListener hands connections out framed.
type framedListener struct {
	net.Listener
	srv *Server
}

func (l *framedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &framed{Conn: c}, nil
}

// framed is a connection whose Read yields nothing but whole commands in canonical
// form. What breaks the protocol, or is too large, gets an error and ends the
// connection. Its reader is one goroutine.
type framed struct {
	net.Conn
	known atomic.Bool // said AUTH, or needs none
	req   resp.Request
	in    []byte // received, and not a whole command yet
	out   []byte // commands on their way to the reader
	chunk [4096]byte
}

func (c *framed) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		more, err := c.next()
		if err != nil {
			return 0, c.refuse(err)
		}
		if more {
			continue
		}
		n, err := c.Conn.Read(c.chunk[:])
		if c.in = append(c.in, c.chunk[:n]...); len(c.in) > maxRequest {
			return 0, c.refuse(fmt.Errorf("the command has more than %d bytes", maxRequest))
		}
		if err != nil && n == 0 {
			return 0, err
		}
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// next takes one command off what was received. It reports whether there was one.
func (c *framed) next() (bool, error) {
	if len(c.in) == 0 {
		return false, nil
	}
	limits := &unknownLimits
	if c.known.Load() {
		limits = &knownLimits
	}
	n, err := c.req.Parse(c.in, limits)
	if err != nil || n == 0 {
		return false, err
	}
	if c.req.Len() > 0 {
		c.out = resp.AppendArrayHeader(c.out[:0], c.req.Len())
		for i := range c.req.Len() {
			c.out = resp.AppendBulk(c.out, c.req.Arg(i))
		}
	}
	c.req.Reset()
	c.in = c.in[:copy(c.in, c.in[n:])]
	return true, nil
}

// refuse says why the connection ends.
func (c *framed) refuse(err error) error {
	// Fails when the other side is gone, which ends the connection too.
	_, _ = c.Conn.Write([]byte("-ERR " + clean(err.Error()) + "\r\n"))
	return io.EOF
}
