//go:build linux

package faults

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func TestClientBeyondMaxClientsIsRefusedInRedissWords(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	p := startProxy(t, s.Addr(), set("limits.max_clients", 3))
	var clients []*client
	for range 3 {
		c := p.client()
		if got := c.Do("PING"); got != "+PONG\r\n" {
			t.Fatalf("PING: %q", got)
		}
		clients = append(clients, c)
	}
	if got := p.client().Rest(); got != "-ERR max number of clients reached\r\n" {
		t.Errorf("the fourth client got %q", got)
	}
	clients[0].Conn.Close()
	p.Eventually("let another client in", func() error {
		c := p.client()
		c.Send(request("PING"))
		if got, err := c.ReplyWithin(patience); got != "+PONG\r\n" {
			return fmt.Errorf("%q, %v", got, err)
		}
		return nil
	})
	if got := clients[1].Do("PING"); got != "+PONG\r\n" {
		t.Errorf("a client that was there before: %q", got)
	}
}

// subscribe returns a subscriber of a channel, with a small receive buffer, so that what it does not read waits in the proxy.
func subscribe(p *proxy, channel string) *client {
	p.t.Helper()
	c := p.client()
	c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	c.Send(request("SUBSCRIBE", channel))
	c.Want(array(bulk("subscribe"), bulk(channel), ":1\r\n"))
	return c
}

// subscribersAre returns an error unless the server has n subscribers of a channel.
func subscribersAre(s *redisserver.Server, channel string, n int) error {
	got, _ := s.Do("PUBSUB", "NUMSUB", channel).([]any)
	if len(got) != 2 || fmt.Sprint(got[1]) != fmt.Sprint(n) {
		return fmt.Errorf("PUBSUB NUMSUB: %v, want %d", got, n)
	}
	return nil
}

func TestSubscriberBeyondTheHardLimitIsClosedAndOthersAreNot(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	p := startProxy(t, s.Addr(), oneLoop, set("limits.output_buffer.pubsub.hard", "1MiB"), set("limits.output_buffer.pubsub.soft", 0))
	slow, fast := subscribe(p, "news"), subscribe(p, "news")
	plain := p.client()
	message := strings.Repeat("m", 100_000)
	publisher := s.Client()
	// The kernel's buffers take some megabytes before anything waits in the proxy.
	for i := range 400 {
		if _, err := publisher.Do("PUBLISH", "news", message); err != nil {
			t.Fatal(err)
		}
		fast.Want(array(bulk("message"), bulk("news"), bulk(message)))
		if i%50 == 0 {
			if got := plain.Do("INCR", "n"); got != fmt.Sprintf(":%d\r\n", 1+i/50) {
				t.Fatalf("a plain client: %q", got)
			}
		}
	}
	p.Eventually("close the slow subscriber", func() error { return subscribersAre(s, "news", 1) })
	if n := len(slow.Rest()); n >= 400*len(message) {
		t.Errorf("the slow subscriber was sent all %d bytes", n)
	}
}

func TestSubscriberAboveTheSoftLimitForTooLongIsClosed(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	p := startProxy(t, s.Addr(), set("limits.output_buffer.pubsub.hard", "1GiB"), set("limits.output_buffer.pubsub.soft", "1MiB"),
		set("limits.output_buffer.pubsub.soft_for", "1s"))
	slow, fast := subscribe(p, "news"), subscribe(p, "other")
	publisher := s.Client()
	for range 300 {
		if _, err := publisher.Do("PUBLISH", "news", strings.Repeat("m", 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	p.Eventually("close the slow subscriber", func() error { return subscribersAre(s, "news", 0) })
	slow.Rest()
	s.Do("PUBLISH", "other", "x")
	fast.Want(array(bulk("message"), bulk("other"), bulk("x")))
}

// TestSubscriberThatCatchesUpInTimeIsKept has one above the soft limit for a moment, again and again.
func TestSubscriberThatCatchesUpInTimeIsKept(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	p := startProxy(t, s.Addr(), set("limits.output_buffer.pubsub.hard", "1GiB"), set("limits.output_buffer.pubsub.soft", "256KiB"),
		set("limits.output_buffer.pubsub.soft_for", "5s"))
	c := subscribe(p, "news")
	publisher := s.Client()
	message := strings.Repeat("m", 100_000)
	for range 3 {
		for range 150 {
			if _, err := publisher.Do("PUBLISH", "news", message); err != nil {
				t.Fatal(err)
			}
		}
		for range 150 {
			c.Want(array(bulk("message"), bulk("news"), bulk(message)))
		}
	}
}

func TestNormalClientBeyondTheHardLimitIsClosedAndOthersAreNot(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	s.Do("SET", "large", strings.Repeat("x", 100_000))
	s.Do("SET", "small", "v")
	p := startProxy(t, s.Addr(), oneLoop, set("limits.output_buffer.normal.hard", "512KiB"))
	slow, other := p.client(), p.client()
	slow.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	slow.Send(strings.Repeat(request("GET", "large"), 1000))
	for range 50 {
		if got := other.Do("GET", "small"); got != bulk("v") {
			t.Fatalf("another client: %q", got)
		}
	}
	p.Eventually("say that a slow client was closed", func() error {
		_, err := slow.Conn.Write([]byte("\r\n")) // nothing, to the proxy
		if err == nil {
			return fmt.Errorf("the connection is open")
		}
		return nil
	})
	if n := len(slow.Rest()); n >= 1000*100_000 {
		t.Errorf("it was sent all %d bytes", n)
	}
}

func TestRequestBeyondTheQueryBufferEndsTheClient(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	p := startProxy(t, s.Addr(), set("limits.query_buffer", "2MiB"))
	// A script's body is looked at as a whole, and so kept until it is complete.
	c := p.client()
	c.Conn.SetWriteDeadline(time.Now().Add(patience))
	body := "return 1 -- " + strings.Repeat("x", 8<<20)
	c.Conn.Write([]byte(request("EVAL", body, "0"))) // which may fail when the proxy has closed
	if rest := c.Rest(); rest != "" {
		t.Errorf("got %q", rest)
	}
	// A large value is not kept: it passes through.
	d := p.client()
	value := strings.Repeat("v", 8<<20)
	if got := d.Do("SET", "k", value); got != ok {
		t.Errorf("SET of 8 MiB: %q", got)
	}
	if got := d.Do("STRLEN", "k"); got != fmt.Sprintf(":%d\r\n", len(value)) {
		t.Errorf("STRLEN: %q", got)
	}
}

func TestIdleClientIsClosedAndBusyAndWaitingOnesAreNot(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	p := startProxy(t, s.Addr(), set("limits.idle_timeout", "1s"))
	idle, busy, subscriber, blocked := p.client(), p.client(), subscribe(p, "news"), p.client()
	idle.Do("PING")
	blocked.Send(request("BLPOP", "list", "0"))
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		idle.Gone()
	}()
	for open := true; open; {
		select {
		case <-gone:
			open = false
		case <-time.After(100 * time.Millisecond):
			if got := busy.Do("PING"); got != "+PONG\r\n" {
				t.Fatalf("a busy client: %q", got)
			}
		}
	}
	time.Sleep(time.Second)
	s.Do("PUBLISH", "news", "x")
	subscriber.Want(array(bulk("message"), bulk("news"), bulk("x")))
	s.Do("RPUSH", "list", "e")
	blocked.Want(array(bulk("list"), bulk("e")))
}

// TestKeepaliveIsSetOnClients reads the timers of the proxy's sockets from the kernel.
func TestKeepaliveIsSetOnClients(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	for _, test := range []struct {
		keepalive string
		seconds   int
	}{{"100s", 100}, {"0", 0}} {
		var value any = test.keepalive
		if test.seconds == 0 {
			value = 0
		}
		p := startProxy(t, s.Addr(), set("limits.tcp_keepalive", value))
		c := p.client()
		c.Do("PING")
		local := c.Conn.RemoteAddr().(*net.TCPAddr).Port
		remote := c.Conn.LocalAddr().(*net.TCPAddr).Port
		kind, ticks := socketTimer(t, local, remote)
		// The kernel counts in hundredths of a second. It began when the connection was accepted.
		const keepalive = 2
		if set := kind == keepalive; set != (test.seconds > 0) || set && (ticks > test.seconds*100 || ticks < test.seconds*50) {
			t.Errorf("tcp_keepalive: %s: timer of kind %d in %d hundredths", test.keepalive, kind, ticks)
		}
	}
}

// socketTimer is the timer of a connection, from /proc/net/tcp: its kind (2 is keepalive) and the hundredths of a second until it
// expires.
func socketTimer(t *testing.T, localPort, remotePort int) (kind, ticks int) {
	t.Helper()
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 6 || !strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", localPort)) || !strings.HasSuffix(fields[2], fmt.Sprintf(":%04X", remotePort)) {
			continue
		}
		k, w, _ := strings.Cut(fields[5], ":")
		a, err1 := strconv.ParseInt(k, 16, 32)
		b, err2 := strconv.ParseInt(w, 16, 64)
		if err1 != nil || err2 != nil {
			t.Fatalf("/proc/net/tcp: %q", lines.Text())
		}
		return int(a), int(b)
	}
	t.Fatalf("no connection from port %d to %d in /proc/net/tcp", remotePort, localPort)
	return 0, 0
}
