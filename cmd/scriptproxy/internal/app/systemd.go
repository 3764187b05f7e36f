package app

import (
	"context"
	"os"
	"strings"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/sdnotify"
)

// tellSystemd says that the proxy serves, keeps systemd's watchdog from
// biting while the loops turn, and says that it stops when ctx ends. The
// returned function waits for that. Without systemd all of it does nothing.
func (a *App) tellSystemd(ctx context.Context, addrs []string) (wait func()) {
	n, err := sdnotify.New(os.Getenv)
	if err != nil {
		a.log.Warn("systemd is not told how the proxy does", "error", err)
		return func() {}
	}
	warn := func(err error) {
		if err != nil {
			a.log.Warn("systemd was not told how the proxy does", "error", err)
		}
	}
	warn(n.Ready("serving on " + strings.Join(addrs, ", ")))
	// The drain may take longer than the watchdog's interval: it goes on
	// being fed until the program ends.
	running, stop := context.WithCancel(context.Background())
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		n.KeepAlive(running, a.server.Turning)
	}()
	told := make(chan struct{})
	go func() {
		defer close(told)
		<-ctx.Done()
		warn(n.Stopping("draining"))
	}()
	return func() {
		stop()
		<-fed
		<-told
	}
}
