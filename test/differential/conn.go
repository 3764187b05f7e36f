package differential

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// conn is one connection to a server or to the proxy.
type conn struct {
	nc  net.Conn
	buf []byte // received; bytes once written are never written again, so replies may point into it
	at  int    // parsed up to here
	// need is how long buf must be before parsing again is worth it.
	need int
	// replies and messages were received and not taken yet.
	replies, messages []*reply
	ended             bool // the other end closed it
	written           chan struct{}
}

// errSilent says that nothing came within the time given.
var errSilent = errors.New("no reply")

const (
	chunk = 64 << 10
	// writeInline is up to which size a pipeline is written before its replies are read: less than a socket's
	// buffers hold.
	writeInline = 16 << 10
)

func dial(addr string, timeout time.Duration) (*conn, error) {
	nc, err := net.DialTimeout("tcp", addr, timeout)
	if err != nil {
		return nil, err
	}
	return &conn{nc: nc}, nil
}

// write sends a pipeline in the number of pieces given. A large one is written while its replies are read. An error
// to write shows as the end of the connection when it is read from.
func (c *conn) write(b []byte, pieces int, timeout time.Duration) {
	if c.written != nil {
		<-c.written
		c.written = nil
	}
	c.nc.SetWriteDeadline(time.Now().Add(timeout))
	if pieces <= 1 && len(b) <= writeInline {
		c.nc.Write(b)
		return
	}
	c.written = make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		size := max(1, (len(b)+pieces)/max(1, pieces))
		for len(b) > 0 {
			n := min(size, len(b))
			if _, err := c.nc.Write(b[:n]); err != nil {
				return
			}
			if b = b[n:]; len(b) > 0 {
				time.Sleep(100 * time.Microsecond) // so that the piece is read alone, mostly
			}
		}
	}(c.written)
}

// receive waits until the next item is complete, and files it. At the end of the connection it sets ended.
func (c *conn) receive(deadline time.Time) error {
	for {
		if len(c.buf)-c.at >= c.need {
			r, n, err := parseReply(c.buf[c.at:], 0)
			if err == nil {
				c.at += n
				c.need = 1
				if r.isMessage() {
					c.messages = append(c.messages, r)
				} else {
					c.replies = append(c.replies, r)
				}
				return nil
			}
			if err != errIncomplete {
				return err
			}
			c.need = n
		}
		if c.ended {
			return io.EOF
		}
		if err := c.fill(deadline); err != nil {
			return err
		}
	}
}

func (c *conn) fill(deadline time.Time) error {
	if cap(c.buf)-len(c.buf) < chunk/4 {
		live := c.buf[c.at:]
		grown := make([]byte, len(live), max(chunk, 2*len(live), c.need+chunk))
		copy(grown, live)
		c.buf, c.at = grown, 0
	}
	c.nc.SetReadDeadline(deadline)
	n, err := c.nc.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	switch {
	case n > 0:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSilent
	case err == io.EOF, errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		c.ended = true
		return nil
	}
	return err
}

// await receives until n replies are there.
func (c *conn) await(n int, deadline time.Time) error {
	for len(c.replies) < n {
		if err := c.receive(deadline); err != nil {
			return err
		}
	}
	return nil
}

// awaitEnd receives until the other end closes the connection.
func (c *conn) awaitEnd(deadline time.Time) error {
	for {
		if err := c.receive(deadline); err == io.EOF {
			if len(c.buf) > c.at {
				return fmt.Errorf("the connection ended inside a reply: %q", clip(c.buf[c.at:]))
			}
			return nil
		} else if err != nil {
			return err
		}
	}
}

// take removes the first n replies.
func (c *conn) take(n int) []*reply {
	taken := c.replies[:n:n]
	c.replies = c.replies[n:]
	return taken
}

func (c *conn) close() {
	c.nc.Close()
	if c.written != nil {
		<-c.written
	}
}
