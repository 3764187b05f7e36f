//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func TestPingIsAnsweredWithItsMessage(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil)
	c := p.client()
	if got := c.Do("PING"); got != pong {
		t.Errorf("PING: %q", got)
	}
	for _, message := range []string{"hello", "", "two words\r\nand a line", strings.Repeat("long ", 10000)} {
		if got := c.Do("PING", message); got != bulk(message) {
			t.Errorf("PING %.20q: %.60q", message, got)
		}
	}
	c.Send("PING\r\nping inline\r\n")
	c.Want(pong, bulk("inline"))
	if got, want := c.Do("PING", "one", "two"), direct(t, server).Do("PING", "one", "two"); got != want {
		t.Errorf("PING one two: %q, the server says %q", got, want)
	}
	if n := calls(server, "ping"); n > 20 {
		t.Errorf("the server got %d PINGs", n)
	}
}

func TestPingKeepsItsPlaceInAPipeline(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("append", []string{appendBody}))
	c := p.client()
	c.Send(request("PING") + request("SET", "k", "v") + request("PING", "a") + request("EVALSHA", "append", "1", "list", "x") +
		request("PING", "b") + request("GET", "k") + request("PING"))
	c.Want(pong, ok, bulk("a"), integer(1), bulk("b"), bulk("v"), pong)
	c.Send(request("MULTI") + request("PING") + request("PING", "m") + request("EXEC") + request("PING", "after"))
	c.Want(ok, queued, queued, array(pong, bulk("m")), bulk("after"))
}

func TestPingInSubscriberModeIsAnsweredAsRedisDoes(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil)
	for _, proto := range []string{"2", "3"} {
		s, c := direct(t, server), p.client()
		for _, side := range []*client{s, c} {
			side.Do("HELLO", proto)
			side.Do("SUBSCRIBE", "news")
		}
		for _, ping := range [][]string{{"PING"}, {"PING", "hello"}} {
			want := s.Do(ping...)
			if got := c.Do(ping...); got != want {
				t.Errorf("RESP%s, subscribed, %q: %q, the server says %q", proto, ping, got, want)
			}
		}
		for _, side := range []*client{s, c} {
			side.Do("UNSUBSCRIBE", "news")
			if got := side.Do("PING"); got != pong {
				t.Errorf("RESP%s, after UNSUBSCRIBE: %q", proto, got)
			}
		}
	}
}

func TestPingUpstreamSaysThatThePrimaryIsGoneAfterTheGrace(t *testing.T) {
	t.Parallel()
	primary := redisserver.Start(t)
	p := startProxy(t, primary, nil, set("ping", "upstream"), set("ping_grace", "1s"))
	c := p.client()
	if got := c.Do("PING"); got != pong {
		t.Fatalf("with the primary up: %q", got)
	}
	primary.Kill()
	killed := time.Now()
	for {
		got := c.Do("PING")
		if got == pong {
			if time.Since(killed) > patience {
				t.Fatalf("still PONG %v after the primary ended", patience)
			}
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if !strings.HasPrefix(got, "-UNAVAILABLE ") || !strings.Contains(got, primary.Addr()) {
			t.Errorf("after the grace: %q", got)
		}
		if early := time.Since(killed); early < time.Second {
			t.Errorf("the grace of 1s was over after %v", early)
		}
		break
	}
	if got := c.Do("PING", "message"); !strings.HasPrefix(got, "-UNAVAILABLE ") {
		t.Errorf("PING message: %q", got)
	}
	primary.Restart()
	p.Eventually("answer PING again", func() error {
		if got := c.Do("PING"); got != pong {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}

func TestPingLocalIsAlwaysAnswered(t *testing.T) {
	t.Parallel()
	primary := redisserver.Start(t)
	p := startProxy(t, primary, nil, set("ping", "local"), set("ping_grace", "1ms"))
	c := p.client()
	primary.Kill()
	p.Eventually("notice that the primary is gone", func() error {
		if status, _ := p.Get("/readyz"); status == http.StatusOK {
			return fmt.Errorf("/readyz is still 200")
		}
		return nil
	})
	if got := c.Do("PING"); got != pong {
		t.Errorf("PING: %q", got)
	}
	if got := c.Do("GET", "k"); !strings.HasPrefix(got, "-UNAVAILABLE ") {
		t.Errorf("GET: %q", got)
	}
}

func TestHealthIsServedOverHTTP(t *testing.T) {
	t.Parallel()
	primary := redisserver.Start(t)
	p := startProxy(t, primary, nil)
	if status, body := p.Get("/livez"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/livez: %d %q", status, body)
	}
	if status, body := p.Get("/readyz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/readyz: %d %q", status, body)
	}
	primary.Kill()
	p.Eventually("say why it is not ready", func() error {
		status, body := p.Get("/readyz")
		if status != http.StatusServiceUnavailable || !strings.Contains(body, "the primary "+primary.Addr()+" is down") {
			return fmt.Errorf("%d %q", status, body)
		}
		return nil
	})
	if status, body := p.Get("/livez"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("/livez without a primary: %d %q", status, body)
	}
	primary.Restart()
	p.AwaitReady()
}
