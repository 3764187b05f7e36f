//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// appendBody returns the length of the list after appending, so that replies tell in which order calls ran.
const appendBody = "return redis.call('RPUSH', KEYS[1], ARGV[1])"

// large makes a body longer than scripts.eval_below, which changes how it travels in a pipeline.
func large(body string) string { return body + " -- " + strings.Repeat("x", 2000) }

// forEachSize runs f with scripts that travel in pipelines with their bodies, and with ones that don't.
func forEachSize(t *testing.T, f func(t *testing.T, body string)) {
	t.Run("small", func(t *testing.T) { f(t, appendBody) })
	t.Run("large", func(t *testing.T) { f(t, large(appendBody)) })
}

// mixed is a pipeline on one list: plain pushes and script calls in every form, and the replies that their order brings.
func mixed(body, key string, start int) (pipeline string, replies []string) {
	for i, call := range [][]string{
		{"EVALSHA", "append", "1", key, "x"},
		{"RPUSH", key, "x"},
		{"EVALSHA", shaOf(body), "1", key, "x"},
		{"EVALSHA", "append", "1", key, "x"},
		{"EVAL", body, "1", key, "x"},
		{"RPUSH", key, "x"},
		{"EVALSHA", "append@v1", "1", key, "x"},
		{"RPUSH", key, "x"},
	} {
		pipeline += request(call...)
		replies = append(replies, integer(start+i+1))
	}
	return pipeline, replies
}

func TestScriptFlushBehindTheBackIsNotNoticedByPipelines(t *testing.T) {
	t.Parallel()
	forEachSize(t, func(t *testing.T, body string) {
		server := redisserver.Start(t)
		p := startProxy(t, server, nil, script("append", []string{body}))
		c := p.client()
		for round := range 10 {
			server.Do("SCRIPT", "FLUSH")
			pipeline, replies := mixed(body, "list", round*8)
			c.Send(pipeline)
			c.Want(replies...)
		}
	})
}

func TestScriptFlushBehindTheBackIsNotNoticedBySingleCalls(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("append", []string{appendBody}), script("read", []string{readBody}))
	onReplica(p, replica, "read")
	c := p.client()
	unregistered := "return redis.call('RPUSH', KEYS[1], 'unregistered')"
	if got := c.Do("SCRIPT", "LOAD", unregistered); got != bulk(shaOf(unregistered)) {
		t.Fatalf("SCRIPT LOAD: %q", got)
	}
	for i := range 10 {
		for _, s := range []*redisserver.Server{primary, replica} {
			s.Do("SCRIPT", "FLUSH")
		}
		if got := c.Do("EVALSHA", "append", "1", "list", "x"); got != integer(2*i+1) {
			t.Fatalf("registered: %q", got)
		}
		if got := c.Do("EVALSHA", shaOf(unregistered), "1", "list"); got != integer(2*i+2) {
			t.Fatalf("loaded by a client: %q", got)
		}
		if got := c.Do("EVALSHA", "read", "1", "k"); got != null {
			t.Fatalf("read: %q", got)
		}
	}
	// One call that finds its script missing has all of them loaded again.
	primary.Do("SCRIPT", "FLUSH")
	if got := c.Do("EVALSHA", "append", "1", "list", "x"); got != integer(21) {
		t.Fatalf("registered: %q", got)
	}
	p.Eventually("load the other registered scripts", func() error {
		if got := fmt.Sprint(primary.Do("SCRIPT", "EXISTS", shaOf(appendBody), shaOf(readBody))); got != "[1 1]" {
			return fmt.Errorf("the primary has %s", got)
		}
		return nil
	})
}

func TestScriptFlushOfAClientForgetsWhatClientsLoadedAndNothingElse(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("append", []string{appendBody}))
	c := p.client()
	loaded := "return 'mine'"
	c.Do("SCRIPT", "LOAD", loaded)
	if got := c.Do("EVALSHA", shaOf(loaded), "0"); got != bulk("mine") {
		t.Fatalf("before: %q", got)
	}
	if got := c.Do("SCRIPT", "FLUSH"); got != ok {
		t.Fatalf("SCRIPT FLUSH: %q", got)
	}
	if got := c.Do("EVALSHA", shaOf(loaded), "0"); !isNoScript(got) {
		t.Errorf("what a client loaded: %q", got)
	}
	if got := c.Do("EVALSHA", "append", "1", "list", "x"); got != integer(1) {
		t.Errorf("what is registered: %q", got)
	}
	for _, s := range []*redisserver.Server{primary, replica} {
		if got := fmt.Sprint(s.Do("SCRIPT", "EXISTS", shaOf(loaded))); got != "[0]" {
			t.Errorf("%s still has the script", s.Addr())
		}
	}
}

func TestScriptFlushBehindTheBackIsNotNoticedInsideMulti(t *testing.T) {
	t.Parallel()
	forEachSize(t, func(t *testing.T, body string) {
		server := redisserver.Start(t)
		p := startProxy(t, server, nil, script("append", []string{body}))
		c := p.client()
		for round := range 5 {
			calls, replies := mixed(body, "list", round*8)
			server.Do("SCRIPT", "FLUSH")
			c.Send(request("MULTI") + calls + request("EXEC"))
			c.Want(ok)
			for range replies {
				c.Want(queued)
			}
			c.Want(array(replies...))
		}
		// The same, one at a time, with the flush between queueing and EXEC.
		c.Do("DEL", "list")
		for round := range 5 {
			c.Send(request("MULTI"))
			c.Want(ok)
			for range 3 {
				if got := c.Do("EVALSHA", "append", "1", "list", "x"); got != queued {
					t.Fatalf("queueing: %q", got)
				}
				server.Do("SCRIPT", "FLUSH")
			}
			if got, want := c.Do("EXEC"), array(integer(round*3+1), integer(round*3+2), integer(round*3+3)); got != want {
				t.Fatalf("EXEC: %q, want %q", got, want)
			}
		}
	})
}

// TestScriptsInTransactionsOfUsersWithoutEVAL: such users can't bring bodies, which Redis would refuse, and with them the transaction.
func TestScriptsInTransactionsOfUsersWithoutEVAL(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t, redisserver.Password("default-pa55"), redisserver.ACL("sha on >sha-pa55 ~* "+allChannels(t)+"+@all -eval -script"))
	p := startProxy(t, server, nil, set("upstream.password_file", secretFile(t, "default-pa55")), script("append", []string{appendBody}))
	c := p.client()
	c.Send(request("AUTH", "sha", "sha-pa55") + request("MULTI") + request("EVALSHA", "append", "1", "list", "x") + request("EVALSHA", "append", "1", "list", "x") + request("EXEC"))
	c.Want(ok, ok, queued, queued, array(integer(1), integer(2)))
}

func TestScriptFlushInsideATransactionDoesNotHideItsScripts(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("append", []string{appendBody}))
	c := p.client()
	c.Send(request("MULTI") + request("EVALSHA", "append", "1", "list", "x") + request("SCRIPT", "FLUSH") + request("EVALSHA", "append", "1", "list", "x") + request("EXEC"))
	c.Want(ok, queued, queued, queued, array(integer(1), ok, integer(2)))
}

func TestRestartOfANodeIsNotNoticedByScripts(t *testing.T) {
	t.Parallel()
	forEachSize(t, func(t *testing.T, body string) {
		primary, replica := redisserver.StartPair(t, redisserver.AOF())
		p := startProxy(t, primary, []*redisserver.Server{replica}, script("append", []string{body}), script("read", []string{readBody}))
		onReplica(p, replica, "read")
		c := p.client()
		pipeline, replies := mixed(body, "list", 0)
		c.Send(pipeline)
		c.Want(replies...)
		primary.Restart()
		p.AwaitReady()
		// The node may still be refused for the moment that a failed connection is not tried again; no
		// reply may be anything but the right one or that refusal.
		p.Eventually("serve scripts after the restart", func() error {
			got := c.Do("EVALSHA", "append", "1", "list", "x")
			if strings.HasPrefix(got, "-UNAVAILABLE ") && strings.Contains(got, "did not run") {
				return fmt.Errorf("%q", got)
			}
			if got != integer(9) {
				t.Fatalf("after the restart: %q", got)
			}
			return nil
		})
		pipeline, replies = mixed(body, "list", 9)
		c.Send(pipeline)
		c.Want(replies...)
		replica.Restart()
		redisserver.WaitReplica(t, primary, replica)
		for range 50 {
			if got := c.Do("EVALSHA", "read", "1", "nothing"); got != null {
				t.Fatalf("a read after the replica's restart: %q", got)
			}
		}
		onReplica(p, replica, "read")
	})
}

func TestReplicaThatAppearsHasEveryScriptBeforeItServes(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	replica.Stop()
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("read", []string{readBody}), script("append", []string{appendBody}))
	c := p.client()
	if got := c.Do("EVALSHA", "read", "1", "k"); got != null {
		t.Fatalf("without the replica: %q", got)
	}
	replica.Restart()
	onReplica(p, replica, "read")
	if got := fmt.Sprint(replica.Do("SCRIPT", "EXISTS", shaOf(readBody), shaOf(appendBody))); got != "[1 1]" {
		t.Errorf("the replica has %s", got)
	}
	if errors := replica.Info("errorstats")["errorstat_NOSCRIPT"]; errors != "" {
		t.Errorf("the replica answered NOSCRIPT: %s", errors)
	}
}

func TestProxyServesWhatItKnowsWhenItStartsBeforeItsServers(t *testing.T) {
	t.Parallel()
	primary := redisserver.Start(t)
	primary.Stop()
	p := launch(t, primary, nil, script("append", []string{appendBody}))
	if status, body := p.Get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, primary.Addr()) {
		t.Errorf("/readyz without a server: %d %q", status, body)
	}
	c := p.client()
	if got := c.Do("GET", "k"); !strings.HasPrefix(got, "-UNAVAILABLE ") || !strings.HasSuffix(got, "did not run\r\n") {
		t.Errorf("GET without a server: %q", got)
	}
	primary.Restart()
	p.AwaitReady()
	p.Eventually("reach the server", func() error {
		if got := c.Do("EVALSHA", "append", "1", "list", "x"); got != integer(1) {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}

func TestScriptThatFailsToCompileIsToldOfAndHoldsNothingUp(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, script("append", []string{appendBody}))
	s, c := direct(t, server), p.client()
	bad := "return ("
	want := s.Do("EVAL", bad, "0")
	c.Send(request("EVAL", bad, "0") + request("EVALSHA", "append", "1", "list", "x") + request("EVAL", bad, "0") + request("PING"))
	c.Want(want, integer(1), want, pong)
	if got := c.Do("EVAL", bad, "0"); got != want {
		t.Errorf("alone: %q, want %q", got, want)
	}
}

// TestReplyThatLooksLikeAMissingScriptIsPassedOn: a script can return any error text, and must not run twice for it.
func TestReplyThatLooksLikeAMissingScriptIsPassedOn(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	forger := "redis.call('INCR', KEYS[1]); return redis.error_reply('NOSCRIPT No matching script. Please use EVAL.')"
	hidden := "redis.call('INCR', KEYS[1]); return redis.error_reply(ARGV[1])"
	p := startProxy(t, server, nil, script("forger", []string{forger}), script("hidden", []string{hidden}))
	c := p.client()
	for i, name := range []string{"forger", "hidden"} {
		got := c.Do("EVALSHA", name, "1", "runs:"+name, "NOSCRIPT No matching script. Please use EVAL.")
		if got != noScript {
			t.Errorf("%d: %s: %q", i, name, got)
		}
		if runs := server.Do("GET", "runs:"+name); runs != "1" {
			t.Errorf("%s ran %v times", name, runs)
		}
		server.Do("SCRIPT", "FLUSH")
		if got := c.Do("EVALSHA", name, "1", "runs:"+name, "MINE"); got == noScript && name == "hidden" {
			t.Errorf("%s after SCRIPT FLUSH: %q", name, got)
		}
		if runs := server.Do("GET", "runs:"+name); runs != "2" {
			t.Errorf("%s was called twice and ran %v times", name, runs)
		}
	}
}
