//go:build linux

package sdnotify

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience bounds waits for datagrams, which take microseconds.
const patience = 10 * time.Second

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// manager stands for systemd: it listens where the program is told to send.
func manager(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func receive(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 4096)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func notifier(t *testing.T, getenv func(string) string) *Notifier {
	t.Helper()
	n, err := New(getenv)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestEveryMessageIsOneDatagram(t *testing.T) {
	for name, path := range map[string]string{
		"file":     filepath.Join(t.TempDir(), "notify"),
		"abstract": "@scriptproxy-sdnotify-test-" + strconv.Itoa(os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			conn := manager(t, path)
			n := notifier(t, env("NOTIFY_SOCKET", path))
			for _, step := range []struct {
				say  func() error
				want string
			}{
				{func() error { return n.Ready("serving") }, "READY=1\nSTATUS=serving"},
				{func() error { return n.Watchdog() }, "WATCHDOG=1"},
				{func() error { return n.Status("two\nlines\rMAINPID=1") }, "STATUS=two lines MAINPID=1"},
				{func() error { return n.Stopping("draining") }, "STOPPING=1\nSTATUS=draining"},
			} {
				if err := step.say(); err != nil {
					t.Fatal(err)
				}
				if got := receive(t, conn); got != step.want {
					t.Errorf("sent %q, want %q", got, step.want)
				}
			}
		})
	}
}

func TestReloadingCarriesTheTimeOfSystemdsClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn := manager(t, path)
	n := notifier(t, env("NOTIFY_SOCKET", path))
	before, ok := monotonic()
	if err := n.Reloading(); err != nil || !ok {
		t.Fatal(err, ok)
	}
	after, _ := monotonic()
	usec, found := strings.CutPrefix(receive(t, conn), "RELOADING=1\nMONOTONIC_USEC=")
	at, err := strconv.ParseInt(usec, 10, 64)
	if !found || err != nil || at < before.Microseconds() || at > after.Microseconds() {
		t.Errorf("MONOTONIC_USEC is %q, want it between %d and %d", usec, before.Microseconds(), after.Microseconds())
	}
}

func TestWithoutSystemdNothingIsSent(t *testing.T) {
	n := notifier(t, env())
	if n != nil {
		t.Fatalf("got %v", n)
	}
	if err := n.Ready("serving"); err != nil {
		t.Error(err)
	}
	n.KeepAlive(context.Background(), func() bool { t.Error("asked whether alive"); return true })
}

func TestKeepAliveStopsWhenTheProgramDoesNothingMore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn := manager(t, path)
	n := notifier(t, env("NOTIFY_SOCKET", path, "WATCHDOG_USEC", "2000", "WATCHDOG_PID", strconv.Itoa(os.Getpid())))
	if got := n.WatchdogInterval(); got != time.Millisecond {
		t.Fatalf("the interval is %v, want half of 2 ms", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	asked, alive := make(chan struct{}), make(chan bool)
	go n.KeepAlive(ctx, func() bool {
		select {
		case asked <- struct{}{}:
			return <-alive
		case <-ctx.Done():
			return false
		}
	})
	for range 3 {
		<-asked
		alive <- true
		if got := receive(t, conn); got != "WATCHDOG=1" {
			t.Fatalf("sent %q", got)
		}
	}
	for range 3 {
		<-asked
		alive <- false
	}
	<-asked // the answers before it have been dealt with
	conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	if n, err := conn.Read(make([]byte, 64)); err == nil {
		t.Errorf("%d bytes were sent by a program that is not alive", n)
	}
}

func TestTheWatchdogOfAnotherProcessIsNotOurs(t *testing.T) {
	n := notifier(t, env("NOTIFY_SOCKET", "/run/notify", "WATCHDOG_USEC", "30000000", "WATCHDOG_PID", "1"))
	if got := n.WatchdogInterval(); got != 0 {
		t.Errorf("the interval is %v", got)
	}
}

func TestVariablesThatMakeNoSenseAreErrors(t *testing.T) {
	for _, getenv := range []func(string) string{
		env("NOTIFY_SOCKET", "relative"),
		env("NOTIFY_SOCKET", "/run/notify", "WATCHDOG_USEC", "soon"),
		env("NOTIFY_SOCKET", "/run/notify", "WATCHDOG_USEC", "0"),
		env("NOTIFY_SOCKET", "/run/notify", "WATCHDOG_USEC", "-5"),
		env("NOTIFY_SOCKET", "/run/notify", "WATCHDOG_USEC", "9223372036854775807"),
	} {
		if n, err := New(getenv); err == nil {
			t.Errorf("NOTIFY_SOCKET=%s WATCHDOG_USEC=%s gives %v", getenv("NOTIFY_SOCKET"), getenv("WATCHDOG_USEC"), n)
		}
	}
}

func TestAManagerThatHasGoneIsAnError(t *testing.T) {
	n := notifier(t, env("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone")))
	if err := n.Ready("serving"); err == nil || !strings.Contains(err.Error(), "READY=1") {
		t.Errorf("got %v", err)
	}
}
