//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// TestCommandsAreAnsweredAsTheServerDoes plays the same conversation to the proxy and to a server of its own, one command at a
// time and in one pipeline.
func TestCommandsAreAnsweredAsTheServerDoes(t *testing.T) {
	t.Parallel()
	conversation := [][]string{
		{"SET", "k", "v"}, {"GET", "k"}, {"GET", "none"}, {"APPEND", "k", "w"}, {"STRLEN", "k"}, {"DEL", "k", "none"},
		{"RPUSH", "l", "a", "b", "c"}, {"LRANGE", "l", "0", "-1"}, {"LPOP", "l", "2"}, {"HSET", "h", "f", "1"}, {"HGETALL", "h"},
		{"SADD", "s", "x"}, {"SMEMBERS", "s"}, {"ZADD", "z", "1.5", "m"}, {"ZRANGE", "z", "0", "-1", "WITHSCORES"}, {"INCR", "h"}, {"INCRBYFLOAT", "n", "1.5"},
		{"EXPIRE", "n", "100"}, {"TYPE", "z"}, {"OBJECT", "ENCODING", "n"}, {"XADD", "x", "1-1", "f", "v"}, {"XRANGE", "x", "-", "+"}, {"XREAD", "COUNT", "1", "STREAMS", "x", "0"},
		{"SORT", "l"}, {"SETRANGE", "r", "3", "xyz"}, {"GETRANGE", "r", "0", "10"}, {"MSET", "a", "1", "b", "2"}, {"MGET", "a", "b", "c"}, {"DBSIZE"},
		{"NOSUCH"}, {"NOSUCH", "with", "arguments"}, {"GET"}, {"GET", "a", "b"}, {"SET", "k", "v", "BAD"}, {"OBJECT", "NOSUCH"}, {"CONFIG", "GET", "maxmemory-policy"},
		{"EXEC"}, {"DISCARD"}, {"UNWATCH"}, {"MULTI"}, {"MULTI"}, {"SET", "tx", "1"}, {"INCR", "tx"}, {"GET", "tx"}, {"EXEC"},
		{"MULTI"}, {"SET", "tx", "2"}, {"NOSUCH"}, {"EXEC"}, {"MULTI"}, {"SET", "tx", "3"}, {"DISCARD"}, {"GET", "tx"}, {"MULTI"}, {"EXEC"},
		{"MULTI"}, {"LPUSH", "tx", "x"}, {"GET", "tx"}, {"WATCH", "tx"}, {"EXEC"},
		{"WATCH", "a"}, {"MULTI"}, {"INCR", "a"}, {"EXEC"}, {"WATCH", "a"}, {"SET", "a", "9"}, {"MULTI"}, {"INCR", "a"}, {"EXEC"}, {"GET", "a"},
		{"WATCH", "a"}, {"UNWATCH"}, {"SET", "a", "10"}, {"MULTI"}, {"INCR", "a"}, {"EXEC"},
		{"SELECT", "3"}, {"GET", "a"}, {"SET", "in3", "x"}, {"SELECT", "99"}, {"SELECT", "x"}, {"SELECT", "-1"}, {"GET", "in3"}, {"MULTI"}, {"SELECT", "0"}, {"GET", "a"}, {"EXEC"}, {"GET", "a"},
		{"BLPOP", "none", "0.01"}, {"BLPOP", "l", "1"}, {"BRPOPLPUSH", "none", "other", "0.01"}, {"BLPOP", "l", "x"}, {"XREAD", "BLOCK", "10", "STREAMS", "x", "9"}, {"BLPOP", "h", "1"},
		{"MULTI"}, {"BLPOP", "none", "0"}, {"EXEC"},
		{"ECHO", "hello"}, {"PING"}, {"PING", "x"}, {"PUBLISH", "nobody", "m"}, {"SCRIPT", "EXISTS", strings.Repeat("0", 40)},
		{"RESET"}, {"GET", "a"}, {"HELLO", "4"}, {"HELLO", "x"}, {"HELLO", "2", "SETNAME"}, {"CLIENT", "GETNAME"}, {"CLIENT", "SETNAME", "two words"}, {"CLIENT", "SETNAME", "me"}, {"CLIENT", "GETNAME"},
		{"CLIENT", "NOSUCH"}, {"WAIT", "0", "0"}, {"QUIT"},
	}
	server, behind := redisserver.Start(t), redisserver.Start(t)
	p := startProxy(t, behind, nil)
	s, c := direct(t, server), p.client()
	var pipeline string
	var want []string
	for _, call := range conversation {
		w := s.Do(call...)
		want = append(want, w)
		pipeline += request(call...)
		if got := c.Do(call...); got != w {
			t.Errorf("%q: %q, the server says %q", call, got, w)
		}
	}
	c.Gone()
	behind.Do("FLUSHALL")
	behind.Do("SCRIPT", "FLUSH")
	c = p.client()
	c.Send(pipeline)
	for i, w := range want {
		if got := c.Reply(); got != w {
			t.Fatalf("in a pipeline, %q: %q, the server says %q", conversation[i], got, w)
		}
	}
	c.Gone()
}

func TestTransactionsOfManyClientsDoNotMix(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("append", []string{appendBody}))
	const clients, rounds = 30, 40
	errs := make(chan error, clients)
	for i := range clients {
		c := p.redis()
		go func() {
			key := fmt.Sprint("list:", i)
			for n := range rounds {
				cmds, err := c.TxPipelined(background, func(tx redis.Pipeliner) error {
					tx.RPush(background, key, "x")
					tx.EvalSha(background, "append", []string{key}, "x")
					tx.LLen(background, key)
					return nil
				})
				if err != nil {
					errs <- err
					return
				}
				got := fmt.Sprint(cmds[0].(*redis.IntCmd).Val(), cmds[1].(*redis.Cmd).Val(), cmds[2].(*redis.IntCmd).Val())
				if want := fmt.Sprint(2*n+1, 2*n+2, 2*n+2); got != want {
					errs <- fmt.Errorf("%s: %s, want %s", key, got, want)
					return
				}
			}
			errs <- nil
		}()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestWatchMakesIncrementsOfManyClientsSafe(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil)
	const clients, increments = 10, 20
	errs := make(chan error, clients)
	for range clients {
		c := p.redis()
		go func() {
			for done := 0; done < increments; {
				err := c.Watch(background, func(tx *redis.Tx) error {
					n, err := tx.Get(background, "n").Int()
					if err != nil && err != redis.Nil {
						return err
					}
					_, err = tx.TxPipelined(background, func(pipe redis.Pipeliner) error {
						pipe.Set(background, "n", n+1, 0)
						return nil
					})
					return err
				}, "n")
				switch err {
				case nil:
					done++
				case redis.TxFailedErr:
				default:
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := server.Do("GET", "n"); got != fmt.Sprint(clients*increments) {
		t.Errorf("n is %v, want %d", got, clients*increments)
	}
}

func TestBlockedClientHoldsUpNobodyAndIsWokenByAWrite(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil)
	blocked, other := p.client(), p.client()
	blocked.Send(request("BLPOP", "queue", "0") + request("SET", "after", "1"))
	p.Eventually("pass the blocking command on", func() error {
		if n := server.Info("clients")["blocked_clients"]; n != "1" {
			return fmt.Errorf("%s blocked clients", n)
		}
		return nil
	})
	if got := other.Do("EXISTS", "after"); got != integer(0) {
		t.Errorf("what follows the blocking command ran before it: %q", got)
	}
	if got := other.Do("RPUSH", "queue", "job"); got != integer(1) {
		t.Errorf("another client's RPUSH: %q", got)
	}
	blocked.Want(array(bulk("queue"), bulk("job")), ok)
}

func TestBlockedClientThatGoesAwayTakesNothing(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil)
	blocked := p.client()
	blocked.Send(request("BLPOP", "queue", "0"))
	blockedClients := func(want string) func() error {
		return func() error {
			if n := server.Info("clients")["blocked_clients"]; n != want {
				return fmt.Errorf("%s blocked clients", n)
			}
			return nil
		}
	}
	p.Eventually("pass the blocking command on", blockedClients("1"))
	blocked.Conn.Close()
	p.Eventually("withdraw it", blockedClients("0"))
	other := p.client()
	other.Do("RPUSH", "queue", "job")
	if got := other.Do("LLEN", "queue"); got != integer(1) {
		t.Errorf("the job went to somebody who had gone: %q", got)
	}
}

func TestSubscribersGetEveryMessageInOrder(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil)
	for _, proto := range []string{"2", "3"} {
		s, c, publisher := direct(t, server), p.client(), p.client()
		for _, side := range []*client{s, c} {
			side.Do("HELLO", proto)
			side.Send(request("SUBSCRIBE", "a", "b") + request("PSUBSCRIBE", "n*"))
		}
		for range 3 {
			if got, want := c.Reply(), s.Reply(); got != want {
				t.Errorf("RESP%s: confirmation %q, the server says %q", proto, got, want)
			}
		}
		const messages = 1000
		var pipeline strings.Builder
		for i := range messages {
			pipeline.WriteString(request("PUBLISH", []string{"a", "b", "news"}[i%3], fmt.Sprint("message ", i)))
		}
		publisher.Send(pipeline.String())
		for i := range messages {
			want := s.Reply()
			if got := c.Reply(); got != want {
				t.Fatalf("RESP%s: message %d is %q, the server says %q", proto, i, got, want)
			}
			publisher.Want(integer(2))
		}
		for _, call := range [][]string{{"UNSUBSCRIBE", "a"}, {"PING"}, {"GET", "k"}, {"UNSUBSCRIBE"}, {"PUNSUBSCRIBE", "n*"}, {"GET", "k"}, {"UNSUBSCRIBE"}} {
			want := s.Do(call...)
			if got := c.Do(call...); got != want {
				t.Errorf("RESP%s: %q: %q, the server says %q", proto, call, got, want)
			}
		}
		for _, side := range []*client{s, c} {
			side.Do("RESET")
		}
		if got := c.Do("SET", "plain", "again"); got != ok {
			t.Errorf("after RESET: %q", got)
		}
		s.Conn.Close()
		c.Conn.Close()
	}
	p.Eventually("end subscriptions with their clients", func() error {
		if n := server.Info("stats")["pubsub_channels"]; n != "" && n != "0" {
			return fmt.Errorf("%s channels", n)
		}
		if got := fmt.Sprint(server.Do("PUBSUB", "NUMSUB", "a")); got != "[a 0]" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
}

func TestRESP3ClientsGetRESP3(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, script("map", []string{"redis.setresp(3); return redis.call('HGETALL', KEYS[1])"}))
	server.Do("HSET", "h", "f", "v")
	plain, c, s := p.client(), p.client(), direct(t, server)
	if got := c.Do("HELLO", "3"); !strings.HasPrefix(got, "%7\r\n") || !strings.Contains(got, "$5\r\nproto\r\n:3\r\n") {
		t.Errorf("HELLO 3: %q", got)
	}
	s.Do("HELLO", "3")
	for _, call := range [][]string{{"HGETALL", "h"}, {"GET", "none"}, {"ZADD", "z", "1", "m"}, {"ZSCORE", "z", "m"}, {"CONFIG", "GET", "maxclients"}} {
		want := s.Do(call...)
		if call[0] == "ZADD" {
			server.Do("DEL", "z")
		}
		if got := c.Do(call...); got != want {
			t.Errorf("%q: %q, the server says %q", call, got, want)
		}
	}
	if got := plain.Do("HGETALL", "h"); got != array(bulk("f"), bulk("v")) {
		t.Errorf("another client, in RESP2: %q", got)
	}
	if got := c.Do("EVALSHA", "map", "1", "h"); got != "%1\r\n"+bulk("f")+bulk("v") {
		t.Errorf("a script that answers with a map, in RESP3: %q", got)
	}
	if got := plain.Do("EVALSHA", "map", "1", "h"); got != array(bulk("f"), bulk("v")) {
		t.Errorf("the same in RESP2: %q", got)
	}
}

func TestDatabasesOfClientsDoNotMix(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("read", []string{readBody}), script("write", []string{writeBody}))
	var clients []*client
	for db := range 4 {
		c := p.client()
		if got := c.Do("SELECT", fmt.Sprint(db)); got != ok {
			t.Fatal(got)
		}
		clients = append(clients, c)
	}
	for db, c := range clients {
		c.Send(request("SET", "k", fmt.Sprint("db", db)) + request("EVALSHA", "write", "1", "s", fmt.Sprint("db", db)))
	}
	for db, c := range clients {
		c.Want(ok, ok)
		c.Send(request("GET", "k") + request("EVALSHA", "read", "1", "s") + request("MULTI") + request("GET", "k") + request("EXEC"))
		v := bulk(fmt.Sprint("db", db))
		c.Want(v, v, ok, queued, array(v))
	}
}

func TestUnknownCommandsGetTheServersAnswerAndKeepTheOrder(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil)
	s, c := direct(t, server), p.client()
	want := s.Do("NOSUCH", "a", "b")
	c.Send(request("SET", "k", "1") + request("NOSUCH", "a", "b") + request("INCR", "k") + request("NOSUCH", "a", "b") + request("GET", "k"))
	c.Want(ok, want, integer(2), want, bulk("2"))
}

func TestMonitorShowsWhatRuns(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil)
	m, c := p.client(), p.client()
	if got := m.Do("MONITOR"); got != ok {
		t.Fatalf("MONITOR: %q", got)
	}
	c.Do("SET", "watched-key", "1")
	deadline := time.Now().Add(patience)
	for {
		line := m.Reply()
		if strings.HasPrefix(line, "+") && strings.Contains(line, `"SET" "watched-key" "1"`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the SET was not shown")
		}
	}
}

func TestWaitSpeaksOfTheClientsOwnWrites(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, nil, script("write", []string{writeBody}))
	c := p.client()
	for i, call := range [][]string{{"SET", "k", "1"}, {"EVALSHA", "write", "1", "k", "2"}, {"SET", "k", "3"}} {
		redisserver.WaitReplica(t, primary, replica)
		// Replicas acknowledge once a second: wait for one that says all so far.
		p.Eventually("see the acknowledgement", func() error {
			info := primary.Info("replication")
			if !strings.Contains(info["slave0"], ",offset="+info["master_repl_offset"]+",") {
				return fmt.Errorf("%s, %s", info["master_repl_offset"], info["slave0"])
			}
			return nil
		})
		replica.Pause()
		c.Send(request(call...) + request("WAIT", "1", "100"))
		got := []string{c.Reply(), c.Reply()}
		replica.Continue()
		if got[0] != ok || got[1] != integer(0) {
			t.Errorf("call %d and WAIT with the replica stopped: %q, want OK and 0", i, got)
		}
		if got := c.Do("WAIT", "1", "10000"); got != integer(1) {
			t.Errorf("WAIT with the replica back: %q", got)
		}
	}
}

// TestClientCachingIsAboutTheCommandThatFollowsIt wants what a client asks to be told of to be just that: nothing that the proxy
// sends for itself comes in between.
func TestClientCachingIsAboutTheCommandThatFollowsIt(t *testing.T) {
	t.Parallel()
	const body = "return redis.call('GET', KEYS[1])"
	for name, read := range map[string][][]string{
		"a command":                 {{"GET", "k"}},
		"a transaction":             {{"MULTI"}, {"GET", "k"}, {"EXEC"}},
		"a script":                  {{"EVAL", body, "1", "k"}},
		"a script that only reads":  {{"EVAL_RO", body, "1", "k"}},
		"a script in a transaction": {{"MULTI"}, {"EVAL", body, "1", "k"}, {"EXEC"}},
	} {
		if name == "a script that only reads" && !since(t, 7, 0) {
			continue // there is no EVAL_RO
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProxy(t, redisserver.Start(t), nil)
			c, other := p.client(), p.client()
			c.Do("HELLO", "3")
			for i := range 4 { // the first may need what the later ones don't
				other.Do("SCRIPT", "FLUSH")
				other.Do("SET", "k", "1")
				if got := c.Do("CLIENT", "TRACKING", "ON", "OPTIN"); got != "+OK\r\n" {
					t.Fatal(got)
				}
				calls := append([][]string{{"CLIENT", "CACHING", "YES"}}, read...)
				var pipeline string
				for _, call := range calls {
					pipeline += request(call...)
				}
				oneByOne := i%2 == 1
				if !oneByOne {
					c.Send(pipeline)
				}
				for _, call := range calls {
					if oneByOne {
						c.Send(request(call...))
					}
					if got := c.Reply(); strings.HasPrefix(got, "-") {
						t.Fatalf("round %d: %v: %s", i, call, got)
					}
				}
				c.Do("GET", "not told of")
				other.Do("SET", "not told of", "1")
				other.Do("SET", "k", "2")
				c.Want(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n")
				if got := c.Do("CLIENT", "TRACKING", "OFF"); got != "+OK\r\n" {
					t.Fatal(got)
				}
			}
		})
	}
}
