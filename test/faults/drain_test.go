//go:build linux

package faults

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// TestNoAcceptedCommandIsLostWhenTheProxyEnds compares, for every client, what was answered with what ran: the proxy may leave
// commands unread, but what it has taken it must answer.
func TestNoAcceptedCommandIsLostWhenTheProxyEnds(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	p := startProxy(t, s.Addr())
	const clients = 24
	answered := make([]int, clients)
	errs := make(chan error, clients)
	var working sync.WaitGroup
	for i := range clients {
		conn := p.Open()
		working.Go(func() {
			n, err := pushUntilTheEnd(conn, fmt.Sprint("own:", i), 1+i%3*15)
			answered[i] = n
			if err != nil {
				errs <- fmt.Errorf("client %d, after %d replies: %w", i, n, err)
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	p.Terminate()
	p.AwaitEnd()
	working.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	total := 0
	for i, n := range answered {
		total += n
		if got := s.Do("LLEN", fmt.Sprint("own:", i)); got != int64(n) {
			t.Errorf("client %d was answered %d times, and %v commands ran", i, n, got)
		}
	}
	if total < 1000 {
		t.Errorf("only %d commands ran: that is no load", total)
	}
	if strings.Contains(p.Log(), "drain_timeout passed") {
		t.Error("the proxy did not end by itself")
	}
	if _, err := net.DialTimeout("tcp", p.Addr, time.Second); err == nil {
		t.Error("a new connection is accepted")
	}
}

// refusal is the answer to a command that came too late.
const refusal = "-UNAVAILABLE the proxy is shutting down: the command did not run\r\n"

// pushUntilTheEnd appends numbers to a list, depth requests at a time, until the connection ends. It checks each reply, and
// returns how many there were.
func pushUntilTheEnd(conn net.Conn, list string, depth int) (answered int, err error) {
	c, refused := &client{Conn: conn}, false
	for sent := 0; ; {
		var batch strings.Builder
		for range depth {
			batch.WriteString(request("RPUSH", list, fmt.Sprint(sent)))
			sent++
		}
		conn.SetWriteDeadline(time.Now().Add(patience))
		_, writeErr := io.WriteString(conn, batch.String())
		for range depth {
			reply, err := c.ReplyWithin(patience)
			if err != nil {
				if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
					return answered, fmt.Errorf("no reply and no end of the connection")
				}
				return answered, nil
			}
			if reply == refusal {
				refused = true
				continue
			}
			answered++
			if want := fmt.Sprintf(":%d\r\n", answered); reply != want || refused {
				return answered, fmt.Errorf("reply %q, want %q", reply, want)
			}
		}
		if writeErr != nil {
			return answered, nil
		}
	}
}

// TestBlockedClientsLoseNothingWhenTheProxyEnds: elements that are pushed meanwhile are in the list, or a client has them.
func TestBlockedClientsLoseNothingWhenTheProxyEnds(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	p := startProxy(t, s.Addr())
	const clients, elements = 40, 30
	var blocked []*client
	for i := range clients {
		c := p.client()
		c.Send(request([]string{"BLPOP", "BRPOP"}[i%2], "list", "0"))
		blocked = append(blocked, c)
	}
	p.Eventually("block the clients", func() error {
		if got := s.Info("clients")["blocked_clients"]; got != fmt.Sprint(clients) {
			return fmt.Errorf("%s are blocked", got)
		}
		return nil
	})
	pusher := s.Client()
	go p.Terminate()
	for i := range elements {
		if _, err := pusher.Do("RPUSH", "list", i); err != nil {
			t.Fatal(err)
		}
	}
	got, told := 0, 0
	for i, c := range blocked {
		switch reply := c.Rest(); {
		case strings.HasPrefix(reply, "*2\r\n$4\r\nlist\r\n"):
			got++
		case strings.HasPrefix(reply, "-UNBLOCKED "):
			told++
		default:
			t.Errorf("client %d: %q", i, reply)
		}
	}
	p.AwaitEnd()
	left, _ := s.Do("LLEN", "list").(int64)
	t.Logf("%d clients got an element, %d were told, %d elements are left", got, told, left)
	if got+int(left) != elements {
		t.Errorf("of %d elements, clients have %d and the list %d", elements, got, left)
	}
	if told == 0 {
		t.Error("the clients were served before the proxy ended: nobody was blocked")
	}
}

func TestBlockedClientsAreToldThatTheProxyEnds(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	p := startProxy(t, s.Addr())
	var clients []*client
	for _, command := range [][]string{
		{"BLPOP", "a", "0"}, {"BRPOPLPUSH", "a", "b", "0"}, {"BZPOPMIN", "z", "0"}, {"XREAD", "BLOCK", "0", "STREAMS", "x", "$"},
	} {
		c := p.client()
		// What stands behind the blocking command was taken as well.
		c.Send(request("SET", command[0], "before") + request(command...) + request("APPEND", command[0], " and after"))
		c.Want(ok)
		clients = append(clients, c)
	}
	p.Eventually("block the clients", func() error {
		if got := s.Info("clients")["blocked_clients"]; got != fmt.Sprint(len(clients)) {
			return fmt.Errorf("%s are blocked", got)
		}
		return nil
	})
	p.Terminate()
	for i, c := range clients {
		reply := c.Reply()
		if !strings.HasPrefix(reply, "-UNBLOCKED ") {
			t.Errorf("client %d: %q", i, reply)
		}
		c.Want(":16\r\n")
		c.Gone()
	}
	p.AwaitEnd()
}

func TestSubscribersAreClosedInOrderWhenTheProxyEnds(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	p := startProxy(t, s.Addr())
	c, monitor := p.client(), p.client()
	c.Send(request("SUBSCRIBE", "news"))
	c.Want(array(bulk("subscribe"), bulk("news"), ":1\r\n"))
	monitor.Send(request("MONITOR"))
	monitor.Want(ok)
	for i := range 100 {
		s.Do("PUBLISH", "news", fmt.Sprint(i))
	}
	c.Want(array(bulk("message"), bulk("news"), bulk("0")))
	p.Terminate()
	for i := 1; i < 100; i++ {
		c.Want(array(bulk("message"), bulk("news"), bulk(fmt.Sprint(i))))
	}
	c.Gone()
	if lines := monitor.Rest(); !strings.Contains(lines, `"PUBLISH" "news" "99"`) {
		t.Errorf("the monitor saw %.200q", lines)
	}
	p.AwaitEnd()
}

// TestSubscriberThatAsksWhileTheProxyEndsIsAnswered: a subscriber is kept for what its server may have sent it, and what it asks in
// that time is a request like any other, also when the server takes longer than the wait.
func TestSubscriberThatAsksWhileTheProxyEndsIsAnswered(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	p := startProxy(t, s.Addr())
	c := p.client()
	c.Send(request("SUBSCRIBE", "news"))
	c.Want(array(bulk("subscribe"), bulk("news"), ":1\r\n"))
	s.Pause()
	t.Cleanup(s.Continue)
	p.Terminate()
	p.Eventually("begin to end", func() error {
		if !strings.Contains(p.Log(), `"msg":"draining"`) {
			return errors.New("it does not say so")
		}
		return nil
	})
	c.Send(request("SUBSCRIBE", "sports"))
	time.Sleep(800 * time.Millisecond)
	s.Continue()
	c.Want(array(bulk("subscribe"), bulk("sports"), ":2\r\n"))
	c.Gone()
	p.AwaitEnd()
}

func TestOpenTransactionIsDiscardedWhenTheProxyEnds(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	p := startProxy(t, s.Addr())
	open, complete := p.client(), p.client()
	open.Send(request("WATCH", "k") + request("MULTI") + request("SET", "k", "half"))
	open.Want(ok, ok, queued)
	complete.Send(request("MULTI") + request("SET", "l", "whole") + request("EXEC"))
	p.Terminate()
	complete.Want(ok, queued, array(ok))
	complete.Gone()
	open.Gone()
	p.AwaitEnd()
	if k, l := s.Do("GET", "k"), s.Do("GET", "l"); k != nil || l != "whole" {
		t.Errorf("the open transaction left %v, the complete one %v", k, l)
	}
}

// TestSlowReaderThatGoesOnSendingHasItsRepliesWhenTheProxyEnds: a connection closed with unread requests would be reset, and
// replies on their way lost.
func TestSlowReaderThatGoesOnSendingHasItsRepliesWhenTheProxyEnds(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	s.Do("SET", "large", strings.Repeat("x", 100_000))
	p := startProxy(t, s.Addr())
	conn := p.Open()
	conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		conn.SetWriteDeadline(time.Now().Add(patience))
		for {
			if _, err := io.WriteString(conn, request("INCR", "n")+request("GET", "large")); err != nil {
				return
			}
		}
	}()
	time.Sleep(300 * time.Millisecond)
	p.Terminate()
	time.Sleep(300 * time.Millisecond)
	c, answered, refused := newClient(t, conn), 0, 0
	for {
		reply, err := c.ReplyWithin(patience)
		if err != nil {
			break
		}
		switch {
		case reply == refusal:
			refused++
		case refused > 0:
			t.Fatalf("behind a refusal: %.80q", reply)
		case strings.HasPrefix(reply, ":"):
			answered++
			if want := fmt.Sprintf(":%d\r\n", answered); reply != want {
				t.Fatalf("reply %q, want %q", reply, want)
			}
		case len(reply) != len(bulk(strings.Repeat("x", 100_000))):
			t.Fatalf("a reply of %d bytes", len(reply))
		}
	}
	conn.Close()
	<-sending
	p.AwaitEnd()
	if ran := s.Do("GET", "n"); ran != fmt.Sprint(answered) {
		t.Errorf("%s commands ran, %d were answered", ran, answered)
	}
	if strings.Contains(p.Log(), "drain_timeout passed") {
		t.Error("the proxy did not end by itself")
	}
}

func TestDrainTimeoutBoundsTheEnd(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	s.Do("SET", "large", strings.Repeat("x", 1<<20))
	p := startProxy(t, s.Addr(), set("limits.drain_timeout", "500ms"))
	c := p.client()
	c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	c.Send(strings.Repeat(request("GET", "large"), 50)) // of which it reads nothing
	time.Sleep(200 * time.Millisecond)
	p.Terminate()
	p.AwaitEnd()
	if !strings.Contains(p.Log(), "drain_timeout passed") {
		t.Error("the log does not say that sessions were left")
	}
}
