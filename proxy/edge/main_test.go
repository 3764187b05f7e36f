//go:build linux

package edge

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient is how long a test waits for what must happen.
const patient = 10 * time.Second

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// tcpPair is a TCP connection from both sides.
func tcpPair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	client, err = net.DialTimeout("tcp", ln.Addr().String(), patient)
	must(t, err)
	must(t, ln.(*net.TCPListener).SetDeadline(time.Now().Add(patient)))
	server, err = ln.Accept()
	must(t, err)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// plain makes the descriptor that a loop would get a connection to test with.
func plain(t testing.TB, fd int) *net.UnixConn {
	t.Helper()
	nc, err := netConn(fd)
	must(t, err)
	must(t, nc.SetDeadline(time.Now().Add(patient)))
	t.Cleanup(func() { nc.Close() })
	return nc.(*net.UnixConn)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantRead(t testing.TB, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

func wantEOF(t testing.TB, r io.Reader) {
	t.Helper()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d bytes, %v; want the end", n, err)
	}
}

// eventually waits for something that other goroutines bring about.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v: %s", patient, what)
		}
	}
}

// descriptors is the number of open descriptors of this process.
func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(list)
}

func setLinger0(t testing.TB, c net.Conn) {
	t.Helper()
	must(t, c.(*net.TCPConn).SetLinger(0))
}

func isNonblocking(t testing.TB, fd int) bool {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	must(t, err)
	return flags&unix.O_NONBLOCK != 0
}

func versions() map[string]uint16 {
	return map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}
}
