//go:build linux

package e2e

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// crowd is how many connections a test may open in both processes at once: as many as wanted, fewer where the limit on open files
// is lower.
func crowd(t *testing.T, wanted int) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// Go has raised the soft limit to the hard one, in both processes. The rest is for the servers of tests that run beside.
	n := min(wanted, int(limit.Cur)-2000)
	if n < wanted/10 {
		t.Fatalf("the limit of %d open files is too low for this test: raise it with ulimit -n", limit.Cur)
	}
	return n
}

// openMany opens n connections, some at a time.
func openMany(t *testing.T, addr string, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	errs := make(chan error, n)
	slots := make(chan struct{}, 64)
	for i := range conns {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			var err error
			conns[i], err = net.DialTimeout("tcp", addr, patience)
			errs <- err
		}()
	}
	for range conns {
		if err := <-errs; err != nil {
			t.Fatalf("open one of %d connections: %v", n, err)
		}
	}
	t.Cleanup(func() { closeAll(conns) })
	return conns
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		c.Close()
	}
}

func TestHundredThousandPipelinedCommandsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("append", []string{appendBody}), set("loops", 1))
	c := p.client()
	const commands = 100_000
	sent := make(chan error, 1)
	go func() {
		// Nothing is read meanwhile: the proxy has to stop taking requests, and to go on later.
		var b strings.Builder
		for i := range commands {
			switch i % 10 {
			case 0:
				b.WriteString(request("EVALSHA", "append", "1", "list", "x"))
			case 1:
				b.WriteString(request("PING", fmt.Sprint(i)))
			default:
				b.WriteString(request("ECHO", fmt.Sprint(i)))
			}
		}
		c.Conn.SetWriteDeadline(time.Now().Add(2 * patience))
		_, err := io.WriteString(c.Conn, b.String())
		sent <- err
	}()
	time.Sleep(300 * time.Millisecond)
	if got := p.client().Do("PING"); got != pong {
		t.Errorf("another client: %q", got)
	}
	for i := range commands {
		want := bulk(fmt.Sprint(i))
		if i%10 == 0 {
			want = integer(i/10 + 1)
		}
		if got := c.Reply(); got != want {
			t.Fatalf("reply %d is %q, want %q", i, got, want)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestClientThatNeverReadsHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, script("append", []string{appendBody}), script("read", []string{readBody}), set("loops", 1))
	value := strings.Repeat("v", 100_000)
	server.Do("SET", "big", value)
	for range 5 {
		greedy := p.Open()
		go func() {
			all := strings.Repeat(request("GET", "big")+request("EVALSHA", "read", "1", "big"), 5000) // asks for a gigabyte
			greedy.SetWriteDeadline(time.Now().Add(patience))
			io.WriteString(greedy, all)
		}()
	}
	c := p.client()
	for i := range 100 {
		if got := c.Do("EVALSHA", "append", "1", "list", "x"); got != integer(i+1) {
			t.Fatalf("a script call: %q", got)
		}
		if got := c.Do("GET", "big"); got != bulk(value) {
			t.Fatalf("a GET of %d bytes", len(got))
		}
	}
	if rss := p.Metrics()["process_resident_memory_bytes"]; !program.RaceDetector && rss > 3<<29 {
		t.Errorf("%.0f MB in memory for clients which don't read", rss/(1<<20))
	}
}

func TestClientThatNeverReadsIsClosedAtTheHardLimit(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("limits.output_buffer.normal.hard", "1MiB"))
	server.Do("SET", "big", strings.Repeat("v", 1<<20))
	greedy := p.Open()
	go io.WriteString(greedy, strings.Repeat(request("GET", "big"), 1000))
	p.Eventually("close the client", func() error {
		m := p.Metrics()
		if m[`scriptproxy_errors_total{kind="slow_client"}`] != 1 {
			return fmt.Errorf("slow_client is %v", m[`scriptproxy_errors_total{kind="slow_client"}`])
		}
		return sessionsAre(p, 0)
	})
}

func TestSlowSubscriberIsClosedAndPublishersAreNot(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("limits.output_buffer.pubsub", map[string]any{"hard": "1MiB", "soft": 0, "soft_for": 0}))
	deaf, hearing, publisher := p.client(), p.client(), p.client()
	deaf.Do("SUBSCRIBE", "news")
	hearing.Do("SUBSCRIBE", "other")
	message := strings.Repeat("m", 100_000)
	p.Eventually("close the subscriber", func() error {
		publisher.Do("PUBLISH", "news", message)
		return sessionsAre(p, 2)
	})
	publisher.Do("PUBLISH", "other", "still here")
	hearing.Want(array(bulk("message"), bulk("other"), bulk("still here")))
}

func TestLinkThatIsFullHoldsClientsBackAndLosesNothing(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("upstream.links.max_pending", 16), set("loops", 1), script("append", []string{appendBody}))
	const clients, each = 50, 200
	errs := make(chan error, clients)
	for i := range clients {
		r := p.redis()
		go func() {
			pipe := r.Pipeline()
			key := fmt.Sprint("list:", i)
			for n := range each {
				if n%2 == 0 {
					pipe.EvalSha(background, "append", []string{key}, "x")
				} else {
					pipe.RPush(background, key, "x")
				}
			}
			cmds, err := pipe.Exec(background)
			for n, cmd := range cmds {
				if want := fmt.Sprint(n + 1); err == nil && !strings.HasSuffix(cmd.String(), ": "+want) {
					err = fmt.Errorf("%s, want %s", cmd, want)
				}
			}
			errs <- err
		}()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// TestThousandsOfSlowConnectionsHarmNobodyElse: each sends one byte a second of a command that never ends.
func TestThousandsOfSlowConnectionsHarmNobodyElse(t *testing.T) {
	p := startProxy(t, redisserver.Start(t), nil, set("limits.max_clients", 20_000), script("append", []string{appendBody}))
	n := crowd(t, 10_000)
	conns := openMany(t, p.Addr, n)
	p.Eventually("serve them all", func() error { return sessionsAre(p, float64(n)) })
	stop := make(chan struct{})
	var dripping sync.WaitGroup
	dripping.Go(func() {
		command := request("SET", "key", strings.Repeat("v", 1000))
		for i := range command {
			began := time.Now()
			for _, c := range conns {
				c.SetWriteDeadline(time.Now().Add(patience))
				if _, err := io.WriteString(c, command[i:i+1]); err != nil {
					t.Errorf("byte %d: %v", i, err)
					return
				}
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Second - time.Since(began)):
			}
		}
	})
	c := p.client()
	for i, began := 0, time.Now(); time.Since(began) < 4*time.Second; i++ {
		if got := c.Do("EVALSHA", "append", "1", "list", "x"); got != integer(i+1) {
			t.Errorf("call %d: %q", i, got)
			break
		}
		if i%100 == 0 {
			fresh := newClient(t, p.Open())
			if got := fresh.Do("PING"); got != pong {
				t.Errorf("a new connection: %q", got)
			}
			fresh.Conn.Close()
		}
	}
	close(stop)
	dripping.Wait()
	if err := sessionsAre(p, float64(n+1)); err != nil {
		t.Error(err)
	}
}

// TestNothingIsLeftOfTenThousandConnections looks at what the process holds before and after they came and went.
func TestNothingIsLeftOfTenThousandConnections(t *testing.T) {
	const total, atOnce = 10_000, 500
	p := startProxy(t, redisserver.Start(t), nil, script("append", []string{appendBody}))
	visit := func(c net.Conn, kind int) error {
		c.SetDeadline(time.Now().Add(patience))
		defer c.Close()
		input, reply := request("PING"), len(pong)
		switch kind % 5 {
		case 1:
			input = request("EVALSHA", "append", "1", "list", "x") + request("MULTI") + request("SET", "k", "v") // leaves a transaction open
			reply = 1
		case 2:
			input = request("SUBSCRIBE", "news")
		case 3:
			input, reply = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nincomplete", 0
		case 4:
			input, reply = request("SELECT", "1")+request("WATCH", "k")+request("BLPOP", "none", "0"), len(ok)
		}
		if _, err := io.WriteString(c, input); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, reply))
		return err
	}
	round := func(n int) {
		t.Helper()
		errs := make(chan error, atOnce)
		for done := 0; done < n; done += atOnce {
			conns := openMany(t, p.Addr, atOnce)
			for i, c := range conns {
				go func() { errs <- visit(c, i) }()
			}
			for range conns {
				if err := <-errs; err != nil {
					t.Fatal(err)
				}
			}
		}
		p.Eventually("see them go", func() error { return sessionsAre(p, 0) })
	}
	round(2 * atOnce) // buffers and threads that are kept for use are there now
	before := p.Metrics()
	round(total)
	var after map[string]float64
	p.Eventually("return to where it was", func() error {
		after = p.Metrics()
		for name, slack := range map[string]float64{"process_open_fds": 4, "go_goroutines": 4} {
			if after[name] > before[name]+slack {
				return fmt.Errorf("%s was %v and is %v", name, before[name], after[name])
			}
		}
		return nil
	})
	bound := float64(32 << 20) // 3 KB a connection; the race detector keeps more
	if program.RaceDetector {
		bound = 160 << 20
	}
	if grown := after["process_resident_memory_bytes"] - before["process_resident_memory_bytes"]; grown > bound {
		t.Errorf("%.0f MB more memory than before 10,000 connections", grown/(1<<20))
	}
	t.Logf("descriptors %v → %v, goroutines %v → %v, MB %.0f → %.0f", before["process_open_fds"], after["process_open_fds"],
		before["go_goroutines"], after["go_goroutines"], before["process_resident_memory_bytes"]/(1<<20), after["process_resident_memory_bytes"]/(1<<20))
}

// TestClientThatStopsSendingGetsEveryReply is "redis-cli --pipe" and "nc -N": the client closes its side behind the last command.
func TestClientThatStopsSendingGetsEveryReply(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][]option{
		"with links that take all":    {set("loops", 1)},
		"with links that are full":    {set("loops", 1), set("upstream.links.max_pending", 8)},
		"with one request at a time":  {set("loops", 1), set("limits.max_client_pending", 1)},
		"with replies that are large": {set("loops", 1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, redisserver.Start(t), nil, append(opts, script("append", []string{large(appendBody)}))...)
			value, commands := "v", 3000
			if strings.Contains(name, "large") {
				value, commands = strings.Repeat("v", 20_000), 1000
			}
			var clients []*client
			for i := range 4 {
				c := p.client()
				var b strings.Builder
				for range commands {
					b.WriteString(request("ECHO", value) + request("EVALSHA", "append", "1", fmt.Sprint("list:", i), "x"))
				}
				go func() {
					io.WriteString(c.Conn, b.String())
					c.Conn.(*net.TCPConn).CloseWrite()
				}()
				clients = append(clients, c)
			}
			for _, c := range clients {
				for i := range commands {
					c.Want(bulk(value), integer(i+1))
				}
				c.Gone()
			}
		})
	}
}
