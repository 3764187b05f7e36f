//go:build linux

package edge

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bufferSize is what one read takes: the most that a TLS record holds.
const bufferSize = 16 << 10

type buffer [bufferSize]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// arrival is a read that holds a buffer only when there is something to put
// in it: an idle connection has none. It is for one goroutine at a time.
type arrival struct {
	raw syscall.RawConn
	// read reads from the descriptor without waiting; its error is nothingYet
	// when no more is there.
	read func(fd int, p []byte) (int, error)

	buf  *buffer
	n    int
	err  error
	poll func(fd uintptr) bool
}

func newArrival(raw syscall.RawConn, read func(fd int, p []byte) (int, error)) *arrival {
	a := &arrival{raw: raw, read: read}
	a.poll = a.take
	return a
}

// next waits for something, and returns it in a buffer that done gives back.
// At the end of the stream it returns io.EOF; it may return bytes and an error.
func (a *arrival) next() ([]byte, error) {
	if err := a.raw.Read(a.poll); err != nil {
		return nil, err
	}
	return a.buf[:a.n], a.err
}

func (a *arrival) done() {
	if a.buf != nil {
		buffers.Put(a.buf)
		a.buf = nil
	}
}

// take is called by the poller: false waits for more.
func (a *arrival) take(fd uintptr) bool {
	a.buf = buffers.Get().(*buffer)
	a.n, a.err = a.read(int(fd), a.buf[:])
	if !isNothingYet(a.err) {
		return true
	}
	a.err = nil
	if a.n == 0 {
		a.done()
	}
	return a.n > 0
}

// nothingYet is what a read that doesn't wait returns when nothing is there.
// crypto/tls goes on after errors that say they are temporary.
type nothingYet struct{}

func (nothingYet) Error() string   { return "nothing has arrived yet" }
func (nothingYet) Timeout() bool   { return true }
func (nothingYet) Temporary() bool { return true }

func isNothingYet(err error) bool {
	_, ok := err.(nothingYet)
	return ok
}

// readNow reads without waiting.
func readNow(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, nothingYet{}
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// patience is how long the end of a connection may take.
type patience struct {
	// stallCheck is how often a write that waits for its peer looks whether
	// the other side of the bridge still exists.
	stallCheck time.Duration
	// linger is how long a peer that takes its bytes slowly gets for the last
	// of them once the other side has ended.
	linger time.Duration
	// lingerRead is how long what the peer still sends is read and dropped
	// after our last byte. Closing with unread bytes would make the kernel
	// reset the connection, and the peer might lose the last reply.
	lingerRead time.Duration
}

var usual = patience{stallCheck: time.Second, linger: 10 * time.Second, lingerRead: time.Second}

var errAbandoned = errors.New("the peer did not take the rest in time")

// wire is the network connection under a TLS connection. During the handshake
// it is as it was; once bridged, its reads never wait, and its writes give up
// when the other side of the bridge has gone and the peer doesn't take the
// rest.
type wire struct {
	net.Conn
	raw     syscall.RawConn
	bridged bool
	fd      int         // for Read, when bridged
	gone    func() bool // whether the other side of the bridge has ended
	giveUp  time.Time
	patience
}

func newWire(nc net.Conn) (*wire, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, errors.New("the connection has no descriptor")
	}
	raw, err := sc.SyscallConn()
	return &wire{Conn: nc, raw: raw}, err
}

// Read is called by crypto/tls.
func (w *wire) Read(p []byte) (int, error) {
	if w.bridged {
		return readNow(w.fd, p)
	}
	return w.Conn.Read(p)
}

// Write is called by crypto/tls. There is one writer at a time.
func (w *wire) Write(p []byte) (int, error) {
	if !w.bridged {
		return w.Conn.Write(p)
	}
	done := 0
	check := time.Time{}
	for done < len(p) {
		n, err := w.writeSome(p[done:], check)
		done += n
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return done, err
		}
		if done == len(p) {
			break
		}
		if now := time.Now(); now.After(check) {
			if !check.IsZero() && w.abandoned(now) {
				return done, errAbandoned
			}
			check = now.Add(w.stallCheck)
		}
	}
	return done, nil
}

// writeSome writes once. It waits for the peer until the deadline; with none
// it doesn't wait.
func (w *wire) writeSome(p []byte, deadline time.Time) (n int, err error) {
	if err := w.Conn.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	waited := w.raw.Write(func(fd uintptr) bool {
		for {
			n, err = unix.Write(int(fd), p)
			if err != unix.EINTR {
				break
			}
		}
		if err == unix.EAGAIN {
			n, err = 0, nil
			return deadline.IsZero()
		}
		return true
	})
	n = max(n, 0)
	if err == nil {
		err = waited
	}
	return n, err
}

func (w *wire) abandoned(now time.Time) bool {
	if !w.gone() {
		return false
	}
	if w.giveUp.IsZero() {
		w.giveUp = now.Add(w.linger)
	}
	return now.After(w.giveUp)
}
