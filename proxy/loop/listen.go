//go:build linux

package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listener accepts stream connections as bare descriptors for the loops.
type Listener struct {
	ln   net.Listener
	file *os.File // the same socket, as one that can be waited for
	raw  syscall.RawConn
	unix bool
}

// Listen opens a listener on "host:port", or on "unix:/path": there a socket
// file that nobody serves any more is replaced, and mode, when not 0, is set
// on the new one.
func Listen(address string, mode os.FileMode) (*Listener, error) {
	network := "tcp"
	path, isUnix := strings.CutPrefix(address, "unix:")
	if isUnix {
		network, address = "unix", path
		if err := removeStale(path); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	if isUnix && mode != 0 {
		if err := os.Chmod(path, mode); err != nil {
			ln.Close()
			return nil, err
		}
	}
	filer, ok := ln.(interface{ File() (*os.File, error) })
	if !ok {
		ln.Close()
		return nil, fmt.Errorf("listen %s: no descriptor", address)
	}
	file, err := filer.File()
	if err != nil {
		ln.Close()
		return nil, err
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		ln.Close()
		return nil, err
	}
	return &Listener{ln: ln, file: file, raw: raw, unix: isUnix}, nil
}

func removeStale(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("listen %s: a file that is not a socket is in the way", path)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return fmt.Errorf("listen %s: another process serves this socket", path)
	}
	return os.Remove(path)
}

// Addr is the address listened on.
func (ln *Listener) Addr() net.Addr { return ln.ln.Addr() }

// Close stops accepting.
func (ln *Listener) Close() error { return errors.Join(ln.file.Close(), ln.ln.Close()) }

// Unix reports a unix socket.
func (ln *Listener) Unix() bool { return ln.unix }

// Accept waits for a connection and returns its descriptor, non-blocking,
// with TCP_NODELAY set: the proxy batches its writes itself. When descriptors
// or memory run out it waits a tenth of a second, calls starved (which may
// count it), and goes on. After Close it returns net.ErrClosed.
func (ln *Listener) Accept(starved func(error)) (int, error) {
	for {
		fd := -1
		var failed error
		err := ln.raw.Read(func(lfd uintptr) bool {
			n, err := accept(int(lfd))
			switch {
			case err == nil:
				fd, failed = n, nil
			case errors.Is(err, unix.EAGAIN):
				return false
			default:
				failed = err
			}
			return true
		})
		if err != nil {
			return -1, net.ErrClosed
		}
		switch failed {
		case nil:
			if !ln.unix {
				unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			}
			return fd, nil
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			starved(failed)
			time.Sleep(100 * time.Millisecond)
		case unix.ECONNABORTED, unix.EINTR:
		default:
			starved(failed)
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// accept is accept4 without the peer's address, which would be an allocation
// for each connection and is asked for where it is needed.
func accept(lfd int) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(lfd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// KeepAlive turns TCP keepalive on for a descriptor, as Redis's anetKeepAlive
// does: the first probe after idle, then every third of it, three of them.
func KeepAlive(fd int, idle time.Duration) {
	seconds := int(idle / time.Second)
	if seconds <= 0 {
		return
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1) != nil {
		return
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, max(1, seconds/3))
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3)
}

// Take dups the descriptor of a connection dialled or accepted by package
// net, closes the connection, and returns the dup, non-blocking.
func Take(nc net.Conn) (int, error) {
	defer nc.Close()
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return -1, errors.New("the connection has no descriptor")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var dupErr error
	err = raw.Control(func(s uintptr) {
		fd, dupErr = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err == nil {
		err = dupErr
	}
	if err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
