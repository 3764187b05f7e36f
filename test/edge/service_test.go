//go:build linux

package edge

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/certificates"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

const (
	noAuth    = "-NOAUTH Authentication required."
	wrongPass = "-WRONGPASS invalid username-password pair or user is disabled."
	helloAuth = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
	noDefault = "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
)

// service is a proxy that checks its clients itself, before a server that lets in only its users: svc, who is the
// proxy, and shop, who may only do what begins with shop.
func service(t testing.TB) (*proxy, *redisserver.Server) {
	t.Helper()
	server := redisserver.Start(t, redisserver.Password("server-secret"), redisserver.ACL(
		"svc on >svc-secret ~* &* +@all", "shop on >shop-secret ~shop:* +@all"))
	dir := t.TempDir()
	certificates.WriteFile(t, filepath.Join(dir, "svc"), []byte("svc-secret\n"))
	certificates.WriteFile(t, filepath.Join(dir, "shop"), []byte("shop-secret\n"))
	return startIn(t, dir, serviceConfig(server, "default-pw", true)), server
}

func serviceConfig(server *redisserver.Server, password string, bob bool) string {
	users := fmt.Sprintf(`
    - {name: default, password_sha256: %s}
    - {name: alice, password_sha256: %s}
    - {name: shopper, password_sha256: %s, upstream_username: shop, upstream_password_file: shop}`,
		sha256hex(password), sha256hex("alice-pw"), sha256hex("shopper-pw"))
	if bob {
		users += fmt.Sprintf("\n    - {name: bob, password_sha256: %s}", sha256hex("bob-pw"))
	}
	return fmt.Sprintf(`
listen: ["127.0.0.1:PORT"]
upstream: {primary: "%s", username: svc, password_file: svc}
auth:
  mode: service
  users:%s
`, server.Addr(), users)
}

func TestServiceModeChecksUsersItself(t *testing.T) {
	p, server := service(t)
	c := p.client()
	c.want(noAuth, "GET", "a")
	c.want(noAuth, "PING")
	c.want(wrongPass, "AUTH", "wrong")
	c.want(wrongPass, "AUTH", "alice", "default-pw")
	c.want(wrongPass, "AUTH", "nobody", "alice-pw")
	c.want(wrongPass, "AUTH", "svc", "svc-secret") // the server's user is none here
	c.want(noAuth, "SET", "a", "1")
	c.want("OK", "AUTH", "default-pw")
	c.want("OK", "SET", "a", "1")
	c.want("default", "ACL", "WHOAMI")
	c.want("OK", "AUTH", "alice", "alice-pw")
	c.want("alice", "ACL", "WHOAMI")
	c.want(wrongPass, "AUTH", "alice", "wrong")
	c.want("alice", "ACL", "WHOAMI") // a failed AUTH changes nothing
	c.want("1", "GET", "a")
	if info := c.do("CLIENT", "INFO").(string); !strings.Contains(info, " user=alice ") {
		t.Errorf("CLIENT INFO: %q", info)
	}
	c.want("OK", "MULTI")
	c.want("QUEUED", "ACL", "WHOAMI")
	if got := fmt.Sprint(c.do("EXEC")); got != "[svc]" {
		t.Errorf("the server names %s", got)
	}
	c.want("RESET", "RESET")
	c.want(noAuth, "GET", "a")
	c.want("OK", "AUTH", "alice", "alice-pw")
	c.want("1", "GET", "a")
	if got := server.Do("ACL", "WHOAMI"); got != "default" {
		t.Errorf("the server's own user is %v", got)
	}
	for _, secret := range []string{"alice-pw", "default-pw", "svc-secret", "shop-secret", sha256hex("alice-pw")} {
		if p.logged(secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

func TestServiceModeHello(t *testing.T) {
	p, _ := service(t)
	c := p.client()
	c.want(helloAuth, "HELLO")
	c.want(helloAuth, "HELLO", "3")
	c.want(wrongPass, "HELLO", "3", "AUTH", "alice", "wrong")
	c.want(noAuth, "GET", "a")
	m, ok := c.do("HELLO", "3", "AUTH", "alice", "alice-pw", "SETNAME", "me").(redisserver.Map)
	if !ok || len(m) < 6 || m[0] != "server" {
		t.Fatalf("HELLO: %v", m)
	}
	c.want("alice", "ACL", "WHOAMI")
	c.want("me", "CLIENT", "GETNAME")
	c.want(nil, "GET", "nothing")
	if got := c.do("HELLO", "2", "AUTH", "default", "default-pw"); fmt.Sprintf("%T", got) != "[]interface {}" {
		t.Errorf("HELLO 2: %v", got)
	}
	c.want("default", "ACL", "WHOAMI")
}

func TestServiceModeUserWithAServerUserOfItsOwn(t *testing.T) {
	p, _ := service(t)
	c := p.client()
	c.want("OK", "AUTH", "shopper", "shopper-pw")
	c.want("shopper", "ACL", "WHOAMI")
	c.want("OK", "SET", "shop:a", "1")
	c.want("-NOPERM this user has no permissions to access one of the keys used as arguments", "SET", "a", "1")
	c.want("1", "EVAL", "return redis.call('GET', KEYS[1])", 1, "shop:a")
	if got := fmt.Sprint(c.do("EVAL", "return redis.call('GET', 'secret')", 0)); !strings.Contains(got, "can't access at least one of the keys") {
		t.Errorf("a script reads what the user may not: %s", got)
	}
	c.want("OK", "MULTI")
	c.want("QUEUED", "INCR", "shop:n")
	c.want("QUEUED", "ACL", "WHOAMI")
	if got := fmt.Sprint(c.do("EXEC")); got != "[1 shop]" {
		t.Errorf("EXEC: %s", got)
	}
	// The server keeps what is watched for its user shop: it can't become svc's.
	c.want("OK", "WATCH", "shop:a")
	if got, ok := c.do("AUTH", "alice", "alice-pw").(redisserver.Error); !ok || !strings.HasPrefix(string(got), "ERR ") {
		t.Errorf("AUTH while watching: %v", got)
	}
	c.want("shopper", "ACL", "WHOAMI")
	c.want("OK", "UNWATCH")
	c.want("OK", "AUTH", "alice", "alice-pw")
	c.want("OK", "SET", "a", "1")
}

func TestServersUsersCannotBeTriedInServiceMode(t *testing.T) {
	p, server := service(t)
	c := p.client()
	c.want("OK", "AUTH", "alice", "alice-pw")
	server.Do("CONFIG", "RESETSTAT")
	for _, try := range [][]any{{"AUTH", "shop", "shop-secret"}, {"AUTH", "server-secret"}, {"HELLO", "2", "AUTH", "default", "server-secret"}} {
		c.want(wrongPass, try...)
		c.want("OK", "WATCH", "a") // with a connection of its own
		c.want(wrongPass, try...)
		c.want("OK", "MULTI")
		c.want("-ERR AUTH is not available inside MULTI: the proxy checks its clients itself", try...)
		c.want("QUEUED", "SET", "a", "1")
		c.want("-EXECABORT Transaction discarded because of previous errors.", "EXEC")
		c.want("alice", "ACL", "WHOAMI")
	}
	stats := server.Info("commandstats")
	if auth := stats["cmdstat_auth"]; !strings.HasSuffix(auth, "failed_calls=0") || stats["cmdstat_hello"] != "" {
		t.Errorf("the server was asked: AUTH %s, HELLO %s", auth, stats["cmdstat_hello"])
	}
	c.want(nil, "GET", "a")
}

func TestUnknownClientsReachNothingInServiceMode(t *testing.T) {
	p, server := service(t)
	server.Do("CONFIG", "RESETSTAT")
	c := p.client()
	c.want("-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ", "NOSUCH", "a", "b")
	c.want("-ERR wrong number of arguments for 'get' command", "GET")
	c.want("-ERR wrong number of arguments for 'client|kill' command", "CLIENT", "KILL")
	c.want("-ERR unknown subcommand 'nosuch'. Try CLIENT HELP.", "CLIENT", "nosuch")
	for _, command := range [][]any{
		{"SUBSCRIBE", "news"}, {"MONITOR"}, {"MULTI"}, {"EVAL", "return 1", 0}, {"SCRIPT", "LOAD", "return 1"}, {"CLIENT", "LIST"},
		{"CONFIG", "GET", "*"}, {"ACL", "WHOAMI"}, {"SELECT", "1"}, {"FLUSHALL"}, {"BLPOP", "l", "0"}, {"COMMAND", "COUNT"},
	} {
		c.want(noAuth, command...)
	}
	if stats := server.Info("commandstats"); stats["cmdstat_eval"] != "" || stats["cmdstat_subscribe"] != "" || stats["cmdstat_flushall"] != "" || stats["cmdstat_monitor"] != "" {
		t.Errorf("the server was asked: %v", stats)
	}
	c.want("OK", "AUTH", "default-pw") // the connection is as good as any
	c.want("PONG", "PING")
	c.want("OK", "QUIT")
	c.ended("after QUIT")
}

func TestUnknownClientsMaySendLittle(t *testing.T) {
	p, _ := service(t)
	for send, want := range map[string]string{
		"*11\r\n":                       "-ERR Protocol error: unauthenticated multibulk length\r\n",
		"*2\r\n$3\r\nGET\r\n$16385\r\n": "-ERR Protocol error: unauthenticated bulk length\r\n",
	} {
		nc := p.raw("tcp", p.Addr)
		_, err := io.WriteString(nc, send)
		must(t, err)
		if got, err := io.ReadAll(nc); string(got) != want || err != nil {
			t.Errorf("%q: got %q, %v; want %q and the end", send, got, err, want)
		}
	}
	c := p.client()
	c.want("OK", "AUTH", "default-pw")
	c.want("OK", "MSET", "1", "1", "2", "2", "3", "3", "4", "4", "5", "5", "6", strings.Repeat("x", 20000))
}

func TestReloadChangesUsers(t *testing.T) {
	p, server := service(t)
	def, alice, bob := p.client(), p.client(), p.client()
	def.want("OK", "AUTH", "default-pw")
	alice.want("OK", "AUTH", "alice", "alice-pw")
	bob.want("OK", "AUTH", "bob", "bob-pw")
	p.configure(serviceConfig(server, "new-pw", false))
	if !p.reload() {
		t.Fatal("the configuration was refused")
	}
	bob.ended("after the user was removed")
	def.want("OK", "SET", "a", "1") // the password changed, the session goes on
	alice.want("1", "GET", "a")
	c := p.client()
	c.want(wrongPass, "AUTH", "default-pw")
	c.want(wrongPass, "AUTH", "bob", "bob-pw")
	c.want("OK", "AUTH", "new-pw")
}

func TestServerUserThatIsRefusedIsNotTriedAtOnce(t *testing.T) {
	p, server := service(t)
	server.Do("ACL", "SETUSER", "shop", "resetpass", ">another")
	server.Do("CONFIG", "RESETSTAT")
	c, other := p.client(), p.client()
	c.want("OK", "AUTH", "shopper", "shopper-pw")
	other.want("OK", "AUTH", "default-pw")
	const calls = 300
	for range calls {
		reply := c.do("GET", "shop:a")
		if e, ok := reply.(redisserver.Error); !ok || !strings.Contains(string(e), "WRONGPASS") || !strings.HasSuffix(string(e), "did not run") {
			t.Fatalf("got %v", reply)
		}
		other.want(nil, "GET", "a") // whose links are another user's
	}
	var tries int
	fmt.Sscanf(server.Info("commandstats")["cmdstat_auth"], "calls=%d", &tries)
	if tries == 0 || tries > calls/3 {
		t.Errorf("the refused user was tried %d times for %d commands", tries, calls)
	}
	server.Do("ACL", "SETUSER", "shop", ">shop-secret")
	eventually(t, "the user is not tried again", func() bool { return c.do("GET", "shop:a") == nil })
}
