//go:build linux

package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errClosed ends connections on a bridge that is closed.
var errClosed = errors.New("the bridge is closed")

// Bridge joins TLS connections to descriptors that an event loop can poll.
// Each connection has two goroutines, and holds no buffer while it is idle.
// Any goroutine may use it. The zero value is ready.
type Bridge struct {
	mu     sync.Mutex
	spans  map[*span]struct{}
	closed bool
	ended  sync.WaitGroup
	// patience is the usual one, except in tests.
	patience patience
}

// Accept does the handshake with a client, and returns a non-blocking
// descriptor to speak with it in plain. nc is the bridge's from then on,
// also when Accept fails; deadlines set on it hold for the handshake only.
//
// The end of either direction becomes the end of the same direction on the
// other side: a client that says it will send no more (by close_notify, or
// just by the end of the stream) reads the replies to what it has sent. A
// broken connection ends both at once. What was written to the descriptor
// before it was closed still reaches the client.
func (b *Bridge) Accept(ctx context.Context, nc net.Conn, config *tls.Config) (fd int, err error) {
	return b.join(ctx, nc, func(w *wire) *tls.Conn { return tls.Server(w, config) })
}

// Dial connects to a server with TLS, and returns a descriptor as Accept does.
// ctx bounds connecting and the handshake together.
func (b *Bridge) Dial(ctx context.Context, d *net.Dialer, network, address string, config *tls.Config) (fd int, err error) {
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		return -1, err
	}
	return b.join(ctx, nc, func(w *wire) *tls.Conn { return tls.Client(w, config) })
}

func (b *Bridge) join(ctx context.Context, nc net.Conn, wrap func(*wire) *tls.Conn) (int, error) {
	w, err := newWire(nc)
	if err != nil {
		nc.Close()
		return -1, err
	}
	if w.patience = b.patience; w.patience == (patience{}) {
		w.patience = usual
	}
	tc := wrap(w)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return -1, err
	}
	if err := nc.SetDeadline(time.Time{}); err != nil {
		nc.Close()
		return -1, err
	}
	s, fd, err := newSpan(tc, w)
	if err != nil {
		nc.Close()
		return -1, err
	}
	if !b.add(s) {
		s.abort()
		unix.Close(fd)
		return -1, errClosed
	}
	go s.inward()
	go s.outward()
	return fd, nil
}

func (b *Bridge) add(s *span) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	if b.spans == nil {
		b.spans = make(map[*span]struct{})
	}
	b.spans[s] = struct{}{}
	b.ended.Add(1)
	s.forget = func() {
		b.mu.Lock()
		delete(b.spans, s)
		b.mu.Unlock()
		b.ended.Done()
	}
	return true
}

// Len is the number of connections.
func (b *Bridge) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.spans)
}

// Close waits until every connection whose descriptor was closed has sent the
// rest to its peer, for at most grace, then ends those that are left.
// No connection can be made afterwards.
func (b *Bridge) Close(grace time.Duration) {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		b.ended.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return
	case <-time.After(grace):
	}
	b.mu.Lock()
	for s := range b.spans {
		s.abort()
	}
	b.mu.Unlock()
	<-ended
}

// span is one TLS connection and the end of the socket pair that belongs to
// it. Two goroutines serve it: inward carries to the loop, outward to the peer.
type span struct {
	tls    *tls.Conn
	wire   *wire
	pair   *os.File
	raw    syscall.RawConn // of pair
	forget func()
	// heard is closed when inward has ended.
	heard chan struct{}
}

// newSpan makes the socket pair, and returns the loop's end of it.
func newSpan(tc *tls.Conn, w *wire) (*span, int, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, os.NewSyscallError("socketpair", err)
	}
	s := &span{tls: tc, wire: w, pair: os.NewFile(uintptr(fds[0]), "socketpair"), heard: make(chan struct{})}
	if s.raw, err = s.pair.SyscallConn(); err != nil {
		s.pair.Close()
		unix.Close(fds[1])
		return nil, -1, err
	}
	w.bridged, w.gone = true, s.hungUp
	return s, fds[1], nil
}

// inward carries what the peer sends to the loop. When the loop has closed
// its end, it goes on reading for outward's sake, which still writes.
func (s *span) inward() {
	defer close(s.heard)
	from := newArrival(s.wire.raw, func(fd int, p []byte) (int, error) {
		s.wire.fd = fd
		return s.tls.Read(p)
	})
	wanted := true
	for {
		b, err := from.next()
		if len(b) > 0 && wanted {
			_, werr := s.pair.Write(b)
			wanted = werr == nil
		}
		from.done()
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			// An end without close_notify may be an attacker's. It is no
			// different from one: a request that was cut off does not run.
			s.raw.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
			return
		default:
			s.abort()
			return
		}
	}
}

// outward carries what the loop sends to the peer, and ends the span.
func (s *span) outward() {
	defer s.forget()
	from := newArrival(s.raw, readNow)
	for {
		b, err := from.next()
		if len(b) > 0 {
			if _, werr := s.tls.Write(b); err == nil {
				err = werr
			}
		}
		from.done()
		if err != nil {
			break
		}
	}
	// The loop has closed its end, or the peer is gone.
	if s.tls.CloseWrite() == nil {
		if c, ok := s.wire.Conn.(interface{ CloseWrite() error }); ok {
			c.CloseWrite()
		}
		s.wire.Conn.SetReadDeadline(time.Now().Add(s.wire.lingerRead))
		<-s.heard
	}
	s.abort()
	<-s.heard
}

// abort ends both sides at once; whoever waits for one of them wakes up.
func (s *span) abort() {
	s.wire.Conn.Close()
	s.pair.Close()
}

// hungUp reports that the loop has closed its end.
func (s *span) hungUp() bool {
	up := false
	err := s.raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(fds, 0)
		up = err == nil && n == 0
	})
	return err != nil || !up
}
