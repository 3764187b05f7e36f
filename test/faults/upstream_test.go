//go:build linux

package faults

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// oneLoop puts all clients on one loop, and so on one link.
var oneLoop = set("loops", 1)

// eagerly keeps the waits between attempts to connect short.
var eagerly = []program.Option{set("upstream.reconnect.min", "10ms"), set("upstream.reconnect.max", "50ms")}

func TestServerThatRefusesIsToldAndFoundAgain(t *testing.T) {
	t.Parallel()
	m := newMiddle(t, redisserver.Start(t))
	p := startProxy(t, m.addr, eagerly...)
	c := p.client()
	if got := c.Do("SET", "k", "v"); got != ok {
		t.Fatalf("SET: %q", got)
	}
	m.refuse()
	if got := c.Do("SET", "k", "w"); !didNotRun(got) && !mayHaveRun(got) {
		t.Errorf("the first write after the server went: %q", got)
	}
	for i := range 50 {
		if got := c.Do("SET", "k", "w"); !didNotRun(got) {
			t.Fatalf("write %d on a server that refuses: %q", i, got)
		}
		if got := c.Do("GET", "k"); !didNotRun(got) {
			t.Fatalf("read %d on a server that refuses: %q", i, got)
		}
		if got := c.Do("BLPOP", "l", "0"); !didNotRun(got) {
			t.Fatalf("blocking command %d on a server that refuses: %q", i, got)
		}
	}
	m.admit()
	p.Eventually("find the server again", func() error {
		if got := c.Do("SET", "k", "x"); got != ok {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	if got := c.Do("GET", "k"); got != bulk("x") {
		t.Errorf("GET: %q", got)
	}
}

func TestServerThatIsAwayAtFirstIsFoundLater(t *testing.T) {
	t.Parallel()
	m := newMiddle(t, redisserver.Start(t))
	m.refuse()
	p := startProxy(t, m.addr, eagerly...)
	c := p.client()
	if got := c.Do("SET", "k", "v"); !strings.HasPrefix(got, "-UNAVAILABLE ") {
		t.Errorf("before the server is there: %q", got)
	}
	m.admit()
	p.Eventually("find the server", func() error {
		if got := c.Do("SET", "k", "v"); got != ok {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}

// breakage is what befalls a link while three requests are in flight: the one whose reply is struck, and behind it a
// read and a write of other clients.
type breakage struct {
	name string
	// strike does it; reply is the beginning of the large reply to the first request.
	strike func(toProxy *net.TCPConn, reply []byte)
	// partly tells that some of the first reply has reached the client, whose connection is closed then.
	partly bool
}

var breakages = []breakage{
	{"reset", func(c *net.TCPConn, _ []byte) { reset(c) }, false},
	{"reset in the middle of a reply", func(c *net.TCPConn, reply []byte) {
		c.Write(reply[:100])
		time.Sleep(50 * time.Millisecond) // so that the bytes are read: a reset throws away what is not
		reset(c)
	}, true},
	{"end in the middle of a reply", func(c *net.TCPConn, reply []byte) {
		c.Write(reply[:100])
		c.Close()
	}, true},
	{"half-close", func(c *net.TCPConn, _ []byte) { c.CloseWrite() }, false},
	{"half-close in the middle of a reply", func(c *net.TCPConn, reply []byte) {
		c.Write(reply[:100])
		c.CloseWrite()
	}, true},
	{"another protocol", func(c *net.TCPConn, _ []byte) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, false},
	{"a length beyond all bounds", func(c *net.TCPConn, _ []byte) { c.Write([]byte("$99999999999999999999\r\n")) }, false},
	{"a negative length", func(c *net.TCPConn, _ []byte) { c.Write([]byte("*-2\r\n")) }, false},
	{"zeros", func(c *net.TCPConn, _ []byte) { c.Write(make([]byte, 100)) }, false},
	{"nonsense behind the beginning of an array", func(c *net.TCPConn, _ []byte) { c.Write([]byte("*2\r\n:1\r\nwhat\r\n")) }, false},
}

func TestLinkThatBreaksIsToldToEachClientAsItIs(t *testing.T) {
	t.Parallel()
	for _, b := range breakages {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s := redisserver.Start(t)
			m := newMiddle(t, s)
			p := startProxy(t, m.addr, append(eagerly, oneLoop)...)
			large := strings.Repeat("x", 50_000)
			s.Do("SET", "large", large)
			s.Do("SET", "small", "value")
			first, reader, writer := p.client(), p.client(), p.client()
			first.Do("PING")

			reached, strike, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
			t.Cleanup(func() { close(over) })
			m.onReplyTo("large", func(c *net.TCPConn, reply []byte) bool {
				close(reached)
				<-strike
				b.strike(c, reply)
				<-over // what is not closed stays open
				return false
			})
			first.Send(request("GET", "large"))
			await(t, reached)
			reader.Send(request("GET", "small"))
			writer.Send(request("SET", "written", "yes"))
			p.Eventually("pass the write on", func() error {
				if got := s.Do("GET", "written"); got != "yes" {
					return fmt.Errorf("it is %v", got)
				}
				return nil
			})
			close(strike)

			if b.partly {
				if rest := first.Rest(); len(rest) > 100 || rest == "" {
					t.Errorf("the client whose reply broke off got %d bytes: %.200q", len(rest), rest)
				}
			} else if got := first.Reply(); got != bulk(large) {
				t.Errorf("the struck read: %.200q", got)
			}
			if got := reader.Reply(); got != bulk("value") {
				t.Errorf("the read behind it: %q", got)
			}
			if got := writer.Reply(); !mayHaveRun(got) {
				t.Errorf("the write behind it: %q", got)
			}
			for _, c := range []*client{reader, writer, p.client()} {
				if got := c.Do("GET", "small"); got != bulk("value") {
					t.Errorf("afterwards: %q", got)
				}
			}
		})
	}
}

func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal("it did not happen")
	}
}

func TestWriteWhoseLinkBreaksIsNotSentTwice(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	m := newMiddle(t, s)
	p := startProxy(t, m.addr, eagerly...)
	c := p.client()
	for i := range 20 {
		marker := fmt.Sprint("marker", i)
		m.onReplyTo(marker, func(toProxy *net.TCPConn, _ []byte) bool {
			reset(toProxy)
			return false
		})
		if got := c.Do("RPUSH", "list", marker); !mayHaveRun(got) {
			t.Fatalf("RPUSH: %q", got)
		}
	}
	if got := s.Do("LLEN", "list"); got != int64(20) {
		t.Errorf("20 writes were run %v times", got)
	}
}

func TestTransactionOfALinkThatBreaksIsTold(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	m := newMiddle(t, s)
	p := startProxy(t, m.addr, eagerly...)
	c := p.client()
	m.onReplyTo("EXEC", func(toProxy *net.TCPConn, _ []byte) bool {
		reset(toProxy)
		return false
	})
	c.Send(request("MULTI") + request("INCR", "n"))
	c.Want(ok, queued)
	c.Send(request("EXEC"))
	if got, err := c.ReplyWithin(patience); err == nil && !mayHaveRun(got) {
		t.Errorf("EXEC: %q", got)
	}
	if got := s.Do("GET", "n"); got != "1" {
		t.Errorf("the transaction ran %v times", got)
	}
	if got := p.client().Do("INCR", "n"); got != ":2\r\n" {
		t.Errorf("afterwards: %q", got)
	}
}

func TestReplyThatNobodyAskedForEndsTheLinkOnly(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	s.Do("SET", "k", "v")
	m := newMiddle(t, s)
	p := startProxy(t, m.addr, append(eagerly, oneLoop)...)
	c := p.client()
	m.onReplyTo("extra", func(toProxy *net.TCPConn, reply []byte) bool {
		toProxy.Write(append(reply, "+FORGED\r\n"...))
		return true
	})
	if got := c.Do("GET", "extra"); got != null {
		t.Errorf("GET: %q", got)
	}
	for i := range 20 {
		if got := c.Do("GET", "k"); got != bulk("v") {
			t.Fatalf("read %d after a reply too many: %q", i, got)
		}
	}
}

// TestStalledServerKeepsNobodyWaitingForEver: what is in flight waits, as without a proxy; what comes later is told, PING
// is answered, and when the server goes on, everything is as it was.
func TestStalledServerKeepsNobodyWaitingForEver(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	s.Do("SET", "k", "v")
	m := newMiddle(t, s)
	p := startProxy(t, m.addr, append(eagerly, oneLoop, set("limits.busy_wait", "300ms"))...)
	waiting, later := p.client(), p.client()
	if got := waiting.Do("GET", "k"); got != bulk("v") {
		t.Fatalf("GET: %q", got)
	}
	m.stall()
	waiting.Send(request("SET", "k", "w") + request("GET", "k"))
	p.Eventually("tell that the server says nothing", func() error {
		if got := later.Do("PING"); got != "+PONG\r\n" {
			t.Fatalf("PING of a server that is silent: %q", got)
		}
		c := p.client()
		c.Send(request("GET", "k"))
		got, err := c.ReplyWithin(2 * time.Second)
		if err != nil || !strings.HasPrefix(got, "-") {
			return fmt.Errorf("a later read: %q, %v", got, err)
		}
		return nil
	})
	m.release()
	waiting.Want(ok, bulk("w"))
	p.Eventually("go on", func() error {
		if got := later.Do("GET", "k"); got != bulk("w") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}

// TestServerThatIsSilentForLongKeepsNobodyWaiting outlasts the time for which silence may be a script's, 6 s.
func TestServerThatIsSilentForLongKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	m := newMiddle(t, s)
	p := startProxy(t, m.addr, append(eagerly, oneLoop, set("limits.busy_wait", "300ms"))...)
	c := p.client()
	c.Do("PING")
	m.stall()
	p.Eventually("take the server for lost", func() error {
		if !strings.Contains(p.Log(), "node is down") {
			return fmt.Errorf("the log does not say so")
		}
		return nil
	})
	for _, command := range [][]string{{"GET", "k"}, {"SET", "k", "v"}, {"BLPOP", "l", "0"}, {"EVAL", "return 1", "0"}, {"MULTI"}} {
		late := p.client()
		late.Send(request(command...))
		if got, err := late.ReplyWithin(patience); err != nil || !strings.HasPrefix(got, "-") || !strings.HasSuffix(got, "did not run\r\n") {
			t.Errorf("%q: %q, %v", command, got, err)
		}
	}
	m.release()
	p.Eventually("go on", func() error {
		if got := c.Do("SET", "k", "v"); got != ok {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}
