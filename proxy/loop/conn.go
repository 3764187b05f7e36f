//go:build linux

package loop

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// ErrStopped closes the connections of a loop that is stopped.
var ErrStopped = errors.New("the loop is stopping")

// Handler is what a connection serves. The loop's goroutine alone calls it.
type Handler interface {
	// Input gets the bytes received and not consumed yet, and returns how
	// many of them it has consumed. The rest is kept, and comes again with
	// what arrives next. data is valid during the call only.
	Input(data []byte) int
	// Output returns the bytes to be sent. They are written at the end of
	// the iteration in which Flush was called, and when the peer takes more.
	Output() []byte
	// Wrote says that the first n bytes of Output were taken by the kernel.
	Wrote(n int)
	// A Handler may also have PeerClosed() bool, asked when the peer will send
	// no more: true keeps the connection for what is still to be written, and
	// leaves closing it to the handler.

	// Closed is called once, when the descriptor is closed: io.EOF for the
	// peer's orderly end, what Close was given, or a system error.
	Closed(err error)
}

const (
	flagDirty uint16 = 1 << iota
	flagKicked
	flagPaused
	flagWantWrite
	flagHalfClosed
)

// Conn is one descriptor on a loop. It is embedded in what serves it, and
// small, since an idle session is little more than this. Its methods are for
// the loop's goroutine.
type Conn struct {
	loop  *Loop
	h     Handler
	in    *Buffer // bytes received and not consumed
	fd    int32
	slot  uint32
	flags uint16
}

// Attach takes over a non-blocking stream descriptor. The connection is
// closed with Close, or by the peer.
func (c *Conn) Attach(l *Loop, fd int, h Handler) error {
	c.loop, c.h, c.fd, c.flags = l, h, int32(fd), 0
	if n := len(l.free); n > 0 {
		c.slot = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		c.slot = uint32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	s := &l.slots[c.slot]
	s.conn = c
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.slot), Pad: int32(s.gen)}
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		s.conn = nil
		l.free = append(l.free, c.slot)
		c.fd = -1
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	l.conns.Add(1)
	return nil
}

func (c *Conn) leave() {
	l := c.loop
	s := &l.slots[c.slot]
	s.conn = nil
	s.gen++
	l.free = append(l.free, c.slot)
	c.fd = -1
	if c.in != nil {
		l.PutBuffer(c.in)
		c.in = nil
	}
	l.conns.Add(-1)
}

// Open reports whether the descriptor is still the connection's.
func (c *Conn) Open() bool { return c.loop != nil && c.fd >= 0 }

// Loop is the loop that owns the connection.
func (c *Conn) Loop() *Loop { return c.loop }

// FD is the descriptor, -1 once closed.
func (c *Conn) FD() int { return int(c.fd) }

// Buffered is the number of bytes received and not consumed.
func (c *Conn) Buffered() int {
	if c.in == nil {
		return 0
	}
	return len(c.in.B)
}

// Blocked reports that the peer doesn't take what is to be sent.
func (c *Conn) Blocked() bool { return c.flags&flagWantWrite != 0 }

// Close closes the descriptor and tells the handler. Output that was not
// sent is lost; nothing happens on a closed connection.
func (c *Conn) Close(err error) {
	if c.loop == nil || c.fd < 0 {
		return
	}
	fd := int(c.fd)
	c.leave()
	unix.Close(fd)
	c.h.Closed(err)
}

// Flush has Output written at the end of this iteration.
func (c *Conn) Flush() {
	if c.flags&flagDirty == 0 && c.fd >= 0 {
		c.flags |= flagDirty
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// Pause stops reading until Resume: what the peer sends waits in the kernel.
func (c *Conn) Pause() {
	if c.flags&flagPaused == 0 && c.fd >= 0 {
		c.flags |= flagPaused
		c.arm()
	}
}

// Resume reads again.
func (c *Conn) Resume() {
	if c.flags&flagPaused != 0 && c.fd >= 0 {
		c.flags &^= flagPaused
		c.arm()
	}
}

// Kick hands what was received and not consumed to the handler again, in
// this iteration or the next.
func (c *Conn) Kick() {
	if c.flags&flagKicked == 0 && c.fd >= 0 {
		c.flags |= flagKicked
		c.loop.kicked = append(c.loop.kicked, c)
	}
}

func (c *Conn) arm() {
	var events uint32
	if c.flags&(flagPaused|flagHalfClosed) == 0 {
		events |= unix.EPOLLIN
	}
	if c.flags&flagWantWrite != 0 {
		events |= unix.EPOLLOUT
	}
	ev := unix.EpollEvent{Events: events, Fd: int32(c.slot), Pad: int32(c.loop.slots[c.slot].gen)}
	unix.EpollCtl(c.loop.ep, unix.EPOLL_CTL_MOD, int(c.fd), &ev)
}

func (c *Conn) ready(events uint32) {
	if events&unix.EPOLLOUT != 0 {
		c.flags &^= flagWantWrite
		c.arm()
		c.write()
		if c.fd < 0 {
			return
		}
	}
	switch {
	case c.flags&flagHalfClosed != 0 && events&(unix.EPOLLHUP|unix.EPOLLERR) != 0:
		// The peer's end came before, and now it takes nothing either.
		c.Close(io.EOF)
	case c.flags&flagPaused == 0 && events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0:
		c.read()
	case events&(unix.EPOLLHUP|unix.EPOLLERR) != 0:
		// A paused connection that is gone for good would be reported
		// for ever.
		c.Close(io.EOF)
	}
}

func (c *Conn) read() {
	l := c.loop
	if c.in == nil {
		n, err := rawRead(int(c.fd), l.scratch)
		if n <= 0 {
			c.readFailed(n, err)
			return
		}
		used := c.h.Input(l.scratch[:n])
		if used < n && c.fd >= 0 {
			c.in = l.GetBuffer()
			c.in.B = append(c.in.B, l.scratch[used:n]...)
		}
		return
	}
	room := c.in.room()
	n, err := rawRead(int(c.fd), room)
	if n <= 0 {
		c.readFailed(n, err)
		return
	}
	c.in.B = c.in.B[:len(c.in.B)+n]
	c.replay()
}

// replay offers the kept bytes to the handler.
func (c *Conn) replay() {
	if c.fd < 0 {
		return
	}
	var data []byte
	if c.in != nil {
		data = c.in.B
	}
	used := c.h.Input(data)
	if c.in == nil || c.fd < 0 {
		return
	}
	if used == len(c.in.B) {
		c.loop.PutBuffer(c.in)
		c.in = nil
		return
	}
	c.in.drop(used)
}

func (c *Conn) readFailed(n int, err unix.Errno) {
	switch {
	case n == 0:
		if h, ok := c.h.(interface{ PeerClosed() bool }); ok && h.PeerClosed() {
			c.flags |= flagHalfClosed
			c.arm()
			return
		}
		c.Close(io.EOF)
	case err == unix.EAGAIN || err == unix.EINTR:
	default:
		c.Close(err)
	}
}

func (c *Conn) write() {
	for {
		b := c.h.Output()
		if len(b) == 0 {
			return
		}
		n, err := rawWrite(int(c.fd), b)
		if n > 0 {
			c.h.Wrote(n)
			if c.fd < 0 || n == len(b) {
				return
			}
			continue
		}
		switch err {
		case unix.EAGAIN:
			c.flags |= flagWantWrite
			c.arm()
			return
		case unix.EINTR:
		default:
			c.Close(err)
			return
		}
	}
}
