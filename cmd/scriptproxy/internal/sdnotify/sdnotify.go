// Package sdnotify tells systemd how the program is doing, as sd_notify(3) describes: one datagram on the socket named in NOTIFY_SOCKET.
//
//	n, err := sdnotify.New(os.Getenv)
//	n.Ready("serving on 127.0.0.1:6380")   // when clients are accepted
//	go n.KeepAlive(ctx, healthy)           // WATCHDOG=1 while healthy says so
//	n.Reloading() … n.Ready("…")           // around a reload, whether it succeeded or not
//	n.Stopping("draining 17 sessions")     // when the end begins
//
// Without systemd New returns nil, and the methods of a nil Notifier do nothing.
package sdnotify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// Notifier sends to the service manager. Its methods are for any goroutine. They fail when the manager has gone, which callers
// may log and otherwise ignore: nothing depends on it.
type Notifier struct {
	socket   net.UnixAddr
	watchdog time.Duration
}

// New reads where to send to from the environment. It returns nil without an error when nobody asks to be told; an error means that a
// variable makes no sense.
func New(getenv func(string) string) (*Notifier, error) {
	path := getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil, nil
	}
	if path[0] != '/' && path[0] != '@' {
		return nil, fmt.Errorf("NOTIFY_SOCKET is %q: it must be an absolute path or begin with @", path)
	}
	n := &Notifier{socket: net.UnixAddr{Name: path, Net: "unixgram"}}
	usec := getenv("WATCHDOG_USEC")
	if pid := getenv("WATCHDOG_PID"); usec == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return n, nil // no watchdog, or another process is watched
	}
	us, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || us <= 0 || us > int64(24*time.Hour/time.Microsecond) {
		return nil, fmt.Errorf("WATCHDOG_USEC is %q: it must be microseconds, up to a day", usec)
	}
	n.watchdog = time.Duration(us) * time.Microsecond
	return n, nil
}

// Ready says that the program serves, at its start and after a reload. status is for people, in one line.
func (n *Notifier) Ready(status string) error { return n.send("READY=1", statusLine(status)) }

// Reloading says that the configuration is read anew. Ready must follow, also when that failed.
func (n *Notifier) Reloading() error {
	lines := []string{"RELOADING=1"}
	if now, ok := monotonic(); ok {
		// systemd 253 and later need it with Type=notify-reload, to tell this message from one sent before its signal.
		lines = append(lines, "MONOTONIC_USEC="+strconv.FormatInt(now.Microseconds(), 10))
	}
	return n.send(lines...)
}

// Stopping says that the program has begun to end.
func (n *Notifier) Stopping(status string) error { return n.send("STOPPING=1", statusLine(status)) }

// Status replaces the line that systemctl status shows.
func (n *Notifier) Status(status string) error { return n.send(statusLine(status)) }

// Watchdog says that the program is alive. systemd ends it when this is not said for WatchdogSec.
func (n *Notifier) Watchdog() error { return n.send("WATCHDOG=1") }

// WatchdogInterval is how often Watchdog has to be said, half of what systemd waits; 0 when it does not wait for it.
func (n *Notifier) WatchdogInterval() time.Duration {
	if n == nil {
		return 0
	}
	return n.watchdog / 2
}

// KeepAlive says Watchdog as often as needed while alive returns true, until ctx ends; without a watchdog it returns at once. alive must
// fail when the program does no more what it is there for, and must not block.
func (n *Notifier) KeepAlive(ctx context.Context, alive func() bool) {
	interval := n.WatchdogInterval()
	if interval == 0 {
		return
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if alive() {
			n.Watchdog() // the manager that has gone won't end us
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// statusLine keeps a text from being taken for more assignments.
func statusLine(text string) string {
	return "STATUS=" + strings.NewReplacer("\n", " ", "\r", " ").Replace(text)
}

func (n *Notifier) send(lines ...string) error {
	if n == nil {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &n.socket)
	if err != nil {
		return fmt.Errorf("tell systemd %s: %w", lines[0], err)
	}
	_, err = conn.Write([]byte(strings.Join(lines, "\n")))
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("tell systemd %s: %w", lines[0], err)
	}
	return nil
}
