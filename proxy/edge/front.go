//go:build linux

package edge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"golang.org/x/sys/unix"
)

const (
	// maxGreeting bounds the connections of one listener that are at their
	// header or handshake. When so many are, no more are accepted: they wait
	// in the kernel's queue, each for no longer than the deadline. A client
	// that reconnects with ten thousand others is so delayed and not refused.
	maxGreeting = 512
	// defaultTimeout is the deadline where none is given. A load balancer sends
	// the header with the first packet; the specification asks for three
	// seconds at least, to bear one lost.
	defaultTimeout = 5 * time.Second
)

// Options say what a Front does, and to whom it gives connections.
type Options struct {
	// ProxyProtocol has each connection begin with a header.
	ProxyProtocol bool
	// TLS, when not nil, has each connection continue with a handshake.
	TLS *ServerTLS
	// Timeout bounds header and handshake together; 0 means five seconds.
	Timeout time.Duration
	// Bridge joins TLS connections to descriptors.
	Bridge *Bridge
	// Adopt takes a connection over: a non-blocking descriptor, whether it is
	// a unix socket, and the addresses of both ends where the descriptor's own
	// are not those; else empty.
	Adopt func(fd int, isUnix bool, addr, laddr string)
	// Full says whether a new client would be refused. It spares a handshake;
	// as with Redis, such a client is then not told. May be nil.
	Full func() bool
	// KeepAlive is TCP keepalive's idle time; 0 is off.
	KeepAlive func() time.Duration
	// Refused counts a connection that did not get as far as Adopt.
	Refused func()
	Logger  *slog.Logger
}

// Front greets the connections of one listener, each on a goroutine of its
// own, and gives away those that are ready.
type Front struct {
	opts     Options
	security atomic.Pointer[security]
	slots    chan struct{}
	ctx      context.Context
	cancel   context.CancelFunc
	greeting sync.WaitGroup
}

// security is what Secure changes.
type security struct {
	tls     *ServerTLS
	timeout time.Duration
}

// NewFront makes a front; Serve runs it.
func NewFront(o Options) *Front {
	f := &Front{opts: o, slots: make(chan struct{}, maxGreeting)}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.Secure(o.TLS, o.Timeout)
	return f
}

// Secure has connections that begin from now on handshake by t, within
// timeout. A Front without TLS stays one. Any goroutine may call it.
func (f *Front) Secure(t *ServerTLS, timeout time.Duration) {
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	f.security.Store(&security{tls: t, timeout: timeout})
}

// Stop ends the greetings that are not complete, and has Serve begin no more.
func (f *Front) Stop() { f.cancel() }

// Serve greets what the listener accepts, until it is closed. It then ends
// greetings that are not complete, and returns when all have ended.
func (f *Front) Serve(ln *loop.Listener) {
	starved := func(err error) { f.opts.Logger.Warn("cannot accept a connection", "error", err) }
	for {
		select {
		case f.slots <- struct{}{}:
		case <-f.ctx.Done():
		}
		fd, err := ln.Accept(starved)
		if err != nil {
			break
		}
		if f.ctx.Err() != nil {
			unix.Close(fd)
			continue
		}
		f.greeting.Add(1)
		go func() {
			defer f.greeting.Done()
			defer func() { <-f.slots }()
			f.greet(fd, ln.Unix())
		}()
	}
	f.cancel()
	f.greeting.Wait()
}

// greet sees one connection through, or closes it.
func (f *Front) greet(fd int, isUnix bool) {
	sec := f.security.Load()
	if sec.tls != nil && f.opts.Full != nil && f.opts.Full() {
		unix.Close(fd)
		f.opts.Refused()
		return
	}
	nc, err := netConn(fd)
	if err != nil {
		f.refuse("", err)
		return
	}
	peer := nc.RemoteAddr().String()
	stop := context.AfterFunc(f.ctx, func() { nc.Close() })
	ready, err := f.ready(nc, sec)
	stop()
	if err != nil {
		nc.Close()
		if f.ctx.Err() == nil {
			f.refuse(peer, err)
		}
		return
	}
	f.opts.Adopt(ready.fd, isUnix || sec.tls != nil, ready.addr, ready.laddr)
}

func (f *Front) refuse(peer string, err error) {
	f.opts.Refused()
	switch {
	case errors.Is(err, io.EOF):
		// A port check: connected, said nothing, and left.
		f.opts.Logger.Debug("a connection ended before its handshake", "client", peer)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		f.opts.Logger.Debug("a connection was not ready in time", "client", peer)
	default:
		f.opts.Logger.Debug("a connection was refused", "client", peer, "error", err)
	}
}

type ready struct {
	fd          int
	addr, laddr string
}

// ready reads the header and does the handshake, as far as they are due.
func (f *Front) ready(nc net.Conn, sec *security) (ready, error) {
	r := ready{fd: -1}
	ctx, cancel := context.WithTimeout(f.ctx, sec.timeout)
	defer cancel()
	if f.opts.ProxyProtocol {
		deadline, _ := ctx.Deadline()
		if err := nc.SetDeadline(deadline); err != nil {
			return r, err
		}
		h, err := ReadHeader(nc)
		if err != nil {
			return r, err
		}
		r.addr, r.laddr = h.Source, h.Destination
	}
	var err error
	if sec.tls == nil {
		r.fd, err = loop.Take(nc)
		return r, err
	}
	if r.addr == "" && nc.LocalAddr().Network() != "unix" {
		r.addr, r.laddr = nc.RemoteAddr().String(), nc.LocalAddr().String()
	} else if r.addr == "" {
		r.addr = nc.LocalAddr().String() + ":0"
		r.laddr = r.addr
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { loop.KeepAlive(int(fd), f.opts.KeepAlive()) })
		}
	}
	r.fd, err = f.opts.Bridge.Accept(ctx, nc, sec.tls.Config())
	return r, err
}

// errLeft is for a connection that was reset before anybody looked at it, as
// the health checks of load balancers may be. It has no addresses.
var errLeft = errors.New("the client has left")

// netConn makes a connection of package net of a descriptor, which is its own
// from then on. TCP keepalive, which package net switches on, is off.
func netConn(fd int) (net.Conn, error) {
	file := os.NewFile(uintptr(fd), "connection")
	defer file.Close()
	nc, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	if nc.RemoteAddr() == nil {
		nc.Close()
		return nil, errLeft
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		tcp.SetKeepAlive(false)
	}
	return nc, nil
}
