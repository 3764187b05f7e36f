//go:build linux

package e2e

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func TestUnixSocketsServeClientsAndReachServers(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t, redisserver.UnixSocket())
	dir, err := os.MkdirTemp("", "e2e") // short, for the 107 bytes of a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	p := startProxy(t, server, nil, set("listen", []string{"unix:" + socket}), set("upstream.primary", "unix:"+server.Socket()), script("append", []string{appendBody}))
	conn, err := net.DialTimeout("unix", socket, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := newClient(t, conn)
	if got := c.Do("EVALSHA", "append", "1", "list", "x"); got != integer(1) {
		t.Errorf("%q", got)
	}
	p.Stop()
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket's file is left behind: %v", err)
	}
}

// TestSIGTERMAnswersWhatWasAskedAndThenEnds: nothing that a client has sent is lost, and nobody who is idle is waited for.
func TestSIGTERMAnswersWhatWasAskedAndThenEnds(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, script("spin", []string{spinBody}), set("limits.drain_timeout", "1m"))
	idle, partial, subscriber, busy := p.client(), p.client(), p.client(), p.client()
	if got := idle.Do("PING"); got != pong {
		t.Fatal(got)
	}
	partial.Send("*2\r\n$3\r\nGET\r\n$5\r\nab")
	subscriber.Do("SUBSCRIBE", "news")
	busy.Send(request("EVALSHA", "spin", "1", "spun", "100000000") + request("GET", "spun") + request("PING"))
	time.Sleep(50 * time.Millisecond) // the server has the script now
	began := time.Now()
	p.Terminate()
	for _, c := range []*client{idle, partial, subscriber} {
		c.Gone()
	}
	busy.Want(null, bulk("done"), pong)
	busy.Gone()
	select {
	case <-p.Exited:
	case <-time.After(patience):
		t.Errorf("still running %v after SIGTERM", time.Since(began))
	}
	if c, err := net.Dial("tcp", p.Addr); err == nil {
		c.Close()
		t.Error("it still accepts clients")
	}
}

func TestSIGTERMWaitsForDrainTimeoutAtMost(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("limits.drain_timeout", "300ms"))
	c := p.client()
	c.Do("PING")
	server.Pause()
	t.Cleanup(server.Continue)
	c.Send(request("GET", "k"))
	time.Sleep(50 * time.Millisecond)
	p.Terminate()
	c.Gone()
	select {
	case <-p.Exited:
	case <-time.After(patience):
		t.Error("still running")
	}
}

func TestClientsBeyondMaxClientsAreTurnedAway(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("limits.max_clients", 3))
	for range 3 {
		if got := p.client().Do("PING"); got != pong {
			t.Fatal(got)
		}
	}
	refused := p.client()
	refused.Want("-ERR max number of clients reached\r\n")
	refused.Gone()
	if got := p.Metrics()["scriptproxy_sessions_rejected_total"]; got != 1 {
		t.Errorf("%v rejected", got)
	}
}

func TestIdleClientsAreClosedAfterIdleTimeout(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, set("limits.idle_timeout", "1s"))
	idle, subscriber := p.client(), p.client()
	idle.Do("PING")
	subscriber.Do("SUBSCRIBE", "news")
	idle.Gone()
	if got := subscriber.Do("PING"); got != array(bulk("pong"), bulk("")) {
		t.Errorf("a subscriber: %q", got)
	}
	p.Eventually("count it", func() error { return sessionsAre(p, 1) })
}

func TestProxyThatCannotServeSaysWhy(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	ctx, cancel := context.WithTimeout(background, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "serve", "-config", program.Config(t, server.Addr(), nil, set("listen", []string{taken.Addr().String()})))
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("status %d", code)
	}
	for _, want := range []string{"scriptproxy: error: listen on " + taken.Addr().String(), "address already in use"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not say %q but:\n%s", want, out)
		}
	}
}
