//go:build linux

package e2e

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// TestManyClientsWithATransactionNowAndThenNeedFewLinks keeps ten thousand connections open, of which a few at a time are in a state
// that the server keeps for a connection: only those may have links of their own. It runs while no other test has many descriptors.
func TestManyClientsWithATransactionNowAndThenNeedFewLinks(t *testing.T) {
	const clients, atOnce, rounds = 10_000, 8, 2
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("loops", 2), set("upstream.links.dedicated_idle", atOnce))
	conns := openMany(t, p.Addr, clients)
	errs := make(chan error, atOnce)
	for first := range atOnce {
		go func() {
			errs <- func() error {
				for i := first; i < rounds*clients; i += atOnce {
					conn := conns[i%clients]
					conn.SetDeadline(time.Now().Add(patience))
					c := redisserver.NewClient(conn)
					for _, step := range []struct {
						call []any
						want string
					}{
						{[]any{"WATCH", "n"}, "OK"}, {[]any{"MULTI"}, "OK"}, {[]any{"INCR", fmt.Sprint("n:", i%clients)}, "QUEUED"},
						{[]any{"EXEC"}, fmt.Sprintf("[%d]", i/clients+1)},
						{[]any{"SUBSCRIBE", "news"}, "[subscribe news 1]"}, {[]any{"UNSUBSCRIBE", "news"}, "[unsubscribe news 0]"},
						{[]any{"PING"}, "PONG"},
					} {
						got, err := c.Do(step.call...)
						if err != nil || fmt.Sprint(got) != step.want {
							return fmt.Errorf("client %d: %q: %v, %v; want %s", i, step.call, got, err, step.want)
						}
					}
				}
				return nil
			}()
		}()
	}
	for range atOnce {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	// Each loop keeps idle links for the next, and shares one; the rest is the control plane's.
	const most = 2*atOnce + 2*atOnce + 10
	n, err := strconv.Atoi(server.Info("clients")["connected_clients"])
	if err != nil || n > most {
		t.Errorf("the server has %d clients (%v), want at most %d for %d connections", n, err, most, clients)
	}
	if n, err := strconv.Atoi(server.Info("stats")["total_connections_received"]); err != nil || n > 4*most {
		t.Errorf("the server has seen %d connections (%v) for %d transactions", n, err, rounds*clients)
	}
	if err := sessionsAre(p, clients); err != nil {
		t.Error(err)
	}
}
