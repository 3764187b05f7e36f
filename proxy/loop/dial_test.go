//go:build linux

package loop

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// option reads a socket option of a connection.
func option(t *testing.T, c net.Conn, level, name int) int {
	t.Helper()
	fd, err := Take(c)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	value, err := unix.GetsockoptInt(fd, level, name)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestDialedConnectionsEndWhenNobodyAcknowledges(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, c := range []struct {
		silent      time.Duration
		level, name int
		want        int
	}{
		{10 * time.Second, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 10_000}, // milliseconds
		{10 * time.Second, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{10 * time.Second, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 5},
		{10 * time.Second, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 2}, // rounded up to seconds
		{1500 * time.Millisecond, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 1500},
		{1500 * time.Millisecond, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1},
		{time.Hour, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 450},
		{0, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 0},
	} {
		conn, err := Dialer(c.silent).Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if got := option(t, conn, c.level, c.name); got != c.want {
			t.Errorf("option %d of %d is %d for %v, want %d", c.name, c.level, got, c.silent, c.want)
		}
	}
}

func TestUnixSocketsAreDialedWithoutTCPsOptions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := Dialer(10*time.Second).Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
