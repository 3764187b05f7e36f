//go:build linux

package e2e

import (
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// invalidated is the push that tells of a key.
func invalidated(key string) string { return ">2\r\n" + bulk("invalidate") + "*1\r\n" + bulk(key) }

func TestBroadcastTrackingTellsOfKeysThatNobodyRead(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil)
	c, other := p.client(), p.client()
	c.Do("HELLO", "3")
	if got := c.Do("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "user:", "PREFIX", "order:", "NOLOOP"); got != ok {
		t.Fatal(got)
	}
	other.Do("SET", "elsewhere", "1")
	c.Do("SET", "user:0", "by itself, which NOLOOP keeps quiet about")
	other.Do("SET", "user:1", "1")
	c.Want(invalidated("user:1"))
	other.Do("SET", "order:1", "1")
	c.Want(invalidated("order:1"))
	if got := c.Do("CLIENT", "TRACKING", "OFF"); got != ok {
		t.Fatal(got)
	}
	other.Do("SET", "user:1", "2")
	if got := c.Do("GET", "user:1"); got != bulk("2") {
		t.Errorf("after the end of tracking: %q", got)
	}
}

// TestTrackingOfOneSessionIsToldToAnother has a RESP2 client be told on a second connection, as such clients do.
func TestTrackingOfOneSessionIsToldToAnother(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, set("loops", 3))
	for round := range 3 { // sessions of several loops
		told, c, other := p.client(), p.client(), p.client()
		id := strings.TrimSuffix(strings.TrimPrefix(told.Do("CLIENT", "ID"), ":"), "\r\n")
		told.Do("SUBSCRIBE", "__redis__:invalidate")
		if got := c.Do("CLIENT", "GETREDIR"); got != ":-1\r\n" {
			t.Errorf("GETREDIR without tracking: %q", got)
		}
		if got := c.Do("CLIENT", "TRACKING", "ON", "REDIRECT", id); got != ok {
			t.Fatalf("round %d: %q", round, got)
		}
		if got := c.Do("CLIENT", "GETREDIR"); got != ":"+id+"\r\n" {
			t.Errorf("GETREDIR: %q, want the session's id %s", got, id)
		}
		if got := c.Do("CLIENT", "TRACKINGINFO"); since(t, 6, 2) && !strings.Contains(got, bulk("redirect")+":"+id+"\r\n") {
			t.Errorf("TRACKINGINFO: %q, want the session's id %s", got, id)
		}
		if got := c.Do("CLIENT", "INFO"); since(t, 6, 2) && !strings.Contains(got, " redir="+id+" ") {
			t.Errorf("INFO: %q, want the session's id %s", got, id)
		}
		c.Do("GET", "k")
		other.Do("SET", "k", "1")
		told.Want("*3\r\n" + bulk("message") + bulk("__redis__:invalidate") + "*1\r\n" + bulk("k"))
		if got := c.Do("CLIENT", "TRACKING", "OFF"); got != ok {
			t.Fatal(got)
		}
		if got := c.Do("CLIENT", "GETREDIR"); got != ":-1\r\n" {
			t.Errorf("GETREDIR after the end: %q", got)
		}
	}
	c := p.client()
	if got := c.Do("CLIENT", "TRACKING", "ON", "REDIRECT", "999999"); got != "-ERR The client ID you want redirect to does not exist\r\n" {
		t.Errorf("a session that does not exist: %q", got)
	}
}

func TestTrackingWithoutARedirectionIsOfTheClientItself(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil)
	c := p.client()
	c.Do("HELLO", "3")
	c.Do("CLIENT", "TRACKING", "ON", "OPTOUT")
	if got := c.Do("CLIENT", "GETREDIR"); got != ":0\r\n" {
		t.Errorf("GETREDIR: %q", got)
	}
	if got := c.Do("CLIENT", "TRACKINGINFO"); since(t, 6, 2) && !(strings.Contains(got, bulk("optout")) && strings.Contains(got, bulk("redirect")+":0\r\n")) {
		t.Errorf("TRACKINGINFO: %q", got)
	}
	if got := c.Do("CLIENT", "INFO"); since(t, 6, 2) && !(strings.Contains(got, " redir=0 ") && strings.Contains(got, " flags=t ")) {
		t.Errorf("INFO: %q", got)
	}
}
