//go:build linux

package edge

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// passthrough is a proxy that leaves the checking to its server, which has the given users beside default.
func passthrough(t testing.TB, options ...redisserver.Option) (*proxy, *redisserver.Server) {
	t.Helper()
	server := redisserver.Start(t, append([]redisserver.Option{redisserver.Password("pw"), redisserver.ACL(
		"alice on >alice-pw ~a:* &* +@all", "bob on >bob-pw ~b:* &* +@all", "eve off >eve-pw ~* +@all")}, options...)...)
	return start(t, fmt.Sprintf(`
listen: ["127.0.0.1:PORT"]
upstream: {primary: "%s", password: pw}
scripts: {list: [{name: take, active: v1, versions: {v1: {body: "return redis.call('INCR', KEYS[1])"}}}]}
`, server.Addr())), server
}

// both runs a command on the server and through the proxy, and wants the same reply.
func both(t *testing.T, direct, through *client, args ...any) {
	t.Helper()
	want, got := direct.do(args...), through.do(args...)
	if fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", want) {
		t.Errorf("%v: through the proxy %#v, direct %#v", args, got, want)
	}
}

func directly(t testing.TB, server *redisserver.Server) *client {
	t.Helper()
	nc := server.Conn()
	must(t, nc.SetDeadline(time.Now().Add(patient)))
	return newClient(t, nc)
}

func TestRepliesToUnknownClientsAreTheServers(t *testing.T) {
	p, server := passthrough(t)
	direct, through := directly(t, server), p.client()
	for _, command := range [][]any{
		{"PING"}, {"GET", "a"}, {"GET"}, {"NOSUCH", "a", strings.Repeat("b", 200), "c\r\nd"}, {"CLIENT", "NOSUCH"}, {"CLIENT", "KILL"},
		{"AUTH"}, {"AUTH", "wrong"}, {"AUTH", "alice", "wrong"}, {"AUTH", "nobody", "x"}, {"AUTH", "eve", "eve-pw"}, {"AUTH", "a", "b", "c"},
		{"HELLO"}, {"HELLO", "3"}, {"HELLO", "4"}, {"HELLO", "x"}, {"HELLO", "3", "AUTH", "alice", "wrong"}, {"HELLO", "3", "AUTH", "alice"},
		{"HELLO", "3", "NOSUCH"}, {"MULTI"}, {"EXEC"}, {"SUBSCRIBE", "x"}, {"MONITOR"}, {"EVALSHA", strings.Repeat("0", 40), "0"}, {"RESET"}, {"RESET", "x"},
		{"AUTH", "pw"}, {"PING"}, {"ACL", "WHOAMI"}, {"AUTH", "default", "pw"}, {"AUTH", "default", "wrong"}, {"ACL", "WHOAMI"},
		{"AUTH", "alice", "alice-pw"}, {"ACL", "WHOAMI"}, {"SET", "a:1", "x"}, {"SET", "b:1", "x"},
		{"EVAL", "return redis.call('GET', 'b:1')", "0"},
		{"EVAL", "return redis.call('GET', KEYS[1])", "1", "a:1"}, {"EVAL", "return redis.call('GET', KEYS[1])", "1", "b:1"},
		{"AUTH", "eve", "eve-pw"}, {"ACL", "WHOAMI"}, {"RESET"}, {"GET", "a:1"}, {"AUTH", "bob", "bob-pw"}, {"GET", "a:1"}, {"ACL", "WHOAMI"},
	} {
		both(t, direct, through, command...)
	}
}

func TestLimitsOfUnknownClientsAreTheServers(t *testing.T) {
	p, server := passthrough(t)
	for _, send := range []string{"*11\r\n", "*2\r\n$3\r\nGET\r\n$16385\r\n"} {
		var got [2]string
		for i, c := range []*client{directly(t, server), p.client()} {
			_, err := io.WriteString(c.conn, send)
			must(t, err)
			b, err := io.ReadAll(c.conn)
			must(t, err)
			got[i] = string(b)
		}
		if got[0] != got[1] || got[0] == "" {
			t.Errorf("%q: through the proxy %q, direct %q", send, got[1], got[0])
		}
	}
}

func TestUsersAreApartOnEverything(t *testing.T) {
	p, _ := passthrough(t)
	alice, bob := p.client(), p.client()
	alice.want("OK", "AUTH", "alice", "alice-pw")
	bob.want("OK", "AUTH", "bob", "bob-pw")
	const denied = "-NOPERM this user has no permissions to access one of the keys used as arguments"
	for i := range 50 {
		alice.want(i+1, "EVALSHA", "take", 1, "a:n")
		bob.want(denied, "EVALSHA", "take", 1, "a:n")
		alice.want("OK", "SET", "a:1", "x")
		bob.want(denied, "GET", "a:1")
		if got := fmt.Sprint(bob.do("EVAL", "return redis.call('GET', 'a:1')", 0)); !strings.Contains(got, "can't access at least one of the keys") {
			t.Fatalf("a script of bob's reads a:1: %s", got)
		}
	}
	for name, c := range map[string]*client{"alice": alice, "bob": bob} {
		c.want("OK", "MULTI")
		c.want("QUEUED", "ACL", "WHOAMI")
		c.want("QUEUED", "EVALSHA", "take", 1, name[:1]+":multi")
		if got := fmt.Sprint(c.do("EXEC")); got != fmt.Sprintf("[%s 1]", name) {
			t.Errorf("EXEC: %s", got)
		}
		if _, ok := c.do("HELLO", "3").(redisserver.Map); !ok {
			t.Error("HELLO 3 did not answer with a map")
		}
		c.want(name, "ACL", "WHOAMI")
	}
	// HELLO's AUTH changes the user, and a failed one does not.
	alice.want(wrongPass, "HELLO", "2", "AUTH", "bob", "wrong")
	alice.want("alice", "ACL", "WHOAMI")
	alice.do("HELLO", "2", "AUTH", "bob", "bob-pw")
	alice.want("bob", "ACL", "WHOAMI")
}

func TestUserOfAWatchingSessionCanChange(t *testing.T) {
	p, server := passthrough(t)
	c := p.client()
	c.want("OK", "AUTH", "alice", "alice-pw")
	c.want("OK", "WATCH", "a:1")
	c.want("OK", "AUTH", "bob", "bob-pw")
	server.Do("SET", "a:1", "changed")
	c.want("OK", "MULTI")
	c.want("QUEUED", "ACL", "WHOAMI")
	c.want(nil, "EXEC") // still watched
	c.want("bob", "ACL", "WHOAMI")
	c.want("OK", "MULTI")
	c.want("QUEUED", "ACL", "WHOAMI")
	if got := fmt.Sprint(c.do("EXEC")); got != "[bob]" {
		t.Errorf("EXEC: %s", got)
	}
}

func TestDeletedUserIsDisconnected(t *testing.T) {
	p, server := passthrough(t)
	idle, busy, blocked, fresh, bob := p.client(), p.client(), p.client(), p.client(), p.client()
	for _, c := range []*client{idle, busy, blocked, fresh} {
		c.want("OK", "AUTH", "alice", "alice-pw")
	}
	bob.want("OK", "AUTH", "bob", "bob-pw")
	idle.want("OK", "SET", "a:1", "x")
	busy.want("OK", "MULTI")
	must(t, blocked.Send("BLPOP", "a:list", 0))
	eventually(t, "the client does not block", func() bool { return server.Info("clients")["blocked_clients"] == "1" })
	time.Sleep(200 * time.Millisecond) // a link that was lost at once would not be tried again at once
	if n := server.Do("ACL", "DELUSER", "alice"); n != int64(1) {
		t.Fatalf("ACL DELUSER: %v", n)
	}
	idle.ended("idle, of a deleted user")
	busy.ended("in a transaction, of a deleted user")
	fresh.ended("after AUTH only, of a deleted user")
	// The blocked one is told first what became of its command.
	if reply, err := blocked.Receive(); err == nil {
		if e, ok := reply.(redisserver.Error); !ok || !strings.HasPrefix(string(e), "UNAVAILABLE ") {
			t.Errorf("the blocked client got %v", reply)
		}
		blocked.ended("blocked, of a deleted user")
	}
	bob.want("OK", "SET", "b:1", "x")
	p.client().want(wrongPass, "AUTH", "alice", "alice-pw")
	server.Do("ACL", "SETUSER", "alice", "on", ">again", "~a:*", "+@all")
	again := p.client()
	again.want("OK", "AUTH", "alice", "again")
	again.want("x", "GET", "a:1")
}

func TestChangedPassword(t *testing.T) {
	p, server := passthrough(t)
	old := p.client()
	old.want("OK", "AUTH", "alice", "alice-pw")
	old.want("OK", "SET", "a:1", "x")
	server.Do("ACL", "SETUSER", "alice", "resetpass", ">new-pw")
	old.want("x", "GET", "a:1") // as with Redis, it goes on
	p.client().want(wrongPass, "AUTH", "alice", "alice-pw")
	c := p.client()
	c.want("OK", "AUTH", "alice", "new-pw")
	c.want("x", "GET", "a:1")
	old.want("x", "GET", "a:1")

	// Without its link the old session can't go on: its password is worth nothing now.
	time.Sleep(200 * time.Millisecond)
	server.Do("CLIENT", "KILL", "USER", "alice")
	old.ended("after its link was lost")
	eventually(t, "the session with the new password was ended, too", func() bool {
		return c.do("GET", "a:1") == "x"
	})
}

func TestAuthOfOthersSurvivesADeletedUser(t *testing.T) {
	p, server := passthrough(t)
	for i := range 20 {
		name := fmt.Sprintf("u%d", i)
		server.Do("ACL", "SETUSER", name, "on", ">pw", "~*", "+@all")
		p.client().want("OK", "AUTH", name, "pw")
		server.Do("ACL", "DELUSER", name) // ends the connection that AUTH is checked on
		p.client().want("OK", "AUTH", "bob", "bob-pw")
	}
}

func TestPasswordOfTheDefaultUserAlone(t *testing.T) {
	server := redisserver.Start(t, redisserver.Password("pw"))
	p := start(t, fmt.Sprintf("listen: [\"127.0.0.1:PORT\"]\nupstream: {primary: \"%s\", password: pw}\n", server.Addr()))
	direct, through := directly(t, server), p.client()
	for _, command := range [][]any{
		{"GET", "a"}, {"AUTH", "wrong"}, {"AUTH", "pw"}, {"SET", "a", "1"}, {"GET", "a"}, {"ACL", "WHOAMI"}, {"AUTH", "wrong"}, {"GET", "a"},
	} {
		both(t, direct, through, command...)
	}
	c := p.client()
	must(t, c.Send("AUTH", "pw")) // a pipeline goes on behind its AUTH
	must(t, c.Send("GET", "a"))
	for _, want := range []string{"OK", "1"} {
		if got, err := c.Receive(); got != want || err != nil {
			t.Errorf("got %v, %v; want %s", got, err, want)
		}
	}
}

func TestServerWithoutPassword(t *testing.T) {
	server := redisserver.Start(t)
	p := start(t, fmt.Sprintf("listen: [\"127.0.0.1:PORT\"]\nupstream: {primary: \"%s\"}\n", server.Addr()))
	direct, through := directly(t, server), p.client()
	for _, command := range [][]any{{"GET", "a"}, {"AUTH", "x"}, {"AUTH", "default", "x"}, {"AUTH", "nobody", "x"}, {"ACL", "WHOAMI"}, {"GET", "a"}} {
		both(t, direct, through, command...)
	}
}

func TestPasswordSetAtRunTimeBindsNewClients(t *testing.T) {
	server := redisserver.Start(t)
	p := start(t, fmt.Sprintf("listen: [\"127.0.0.1:PORT\"]\nupstream: {primary: \"%s\"}\n", server.Addr()))
	before := p.client()
	before.want("OK", "SET", "a", "1")
	admin := server.Client()
	if reply, err := admin.Do("CONFIG", "SET", "requirepass", "pw"); reply != "OK" {
		t.Fatalf("CONFIG SET: %v, %v", reply, err)
	}
	eventually(t, "new clients are served without AUTH", func() bool {
		reply := p.client().do("GET", "a")
		return reply == redisserver.Error(noAuth[1:])
	})
	before.want("1", "GET", "a") // who was there before stays, as with Redis
	c := p.client()
	c.want(wrongPass, "AUTH", "wrong")
	c.want("OK", "AUTH", "pw")
	c.want("1", "GET", "a")
}
