//go:build linux

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// secretFile writes a password as operators do, with a newline at its end.
func secretFile(t *testing.T, password string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serviceMode has the proxy check clients itself: they are app, with the password app-pa55.
func serviceMode(s program.Settings) {
	sum := sha256.Sum256([]byte("app-pa55"))
	set("auth.mode", "service")(s)
	set("auth.users", []any{map[string]any{"name": "app", "password_sha256": hex.EncodeToString(sum[:])}})(s)
}

func TestServiceModeReachesTheServerWithUsernameAndPasswordFile(t *testing.T) {
	t.Parallel()
	const password = "service-pa55"
	server := redisserver.Start(t, redisserver.Password("default-pa55"), redisserver.ACL("svc on >"+password+" ~* "+allChannels(t)+"+@all"))
	p := startProxy(t, server, nil, serviceMode, set("upstream.username", "svc"), set("upstream.password_file", secretFile(t, password)),
		script("append", []string{appendBody}))
	c := p.client()
	const noAuth, wrongPass = "-NOAUTH Authentication required.\r\n", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	c.Send(request("EVALSHA", "append", "1", "list", "x") + request("PING") + request("AUTH", "app", "wrong") + request("AUTH", "svc", password) + request("AUTH", "app", "app-pa55"))
	c.Want(noAuth, noAuth, wrongPass, wrongPass, ok)
	if got := c.Do("EVALSHA", "append", "1", "list", "x"); got != integer(1) {
		t.Errorf("a script call: %q", got)
	}
	if got := c.Do("ACL", "WHOAMI"); got != bulk("app") {
		t.Errorf("ACL WHOAMI: %q", got)
	}
	if got := c.Do("CLIENT", "LIST"); !strings.Contains(got, "user=app") || strings.Contains(got, "pa55") {
		t.Errorf("CLIENT LIST: %q", got)
	}
	if users := fmt.Sprint(server.Do("CLIENT", "LIST")); !strings.Contains(users, "user=svc") {
		t.Errorf("the server's clients: %s", users)
	}
	c.Send(request("MULTI") + request("EVALSHA", "append", "1", "list", "x") + request("EXEC"))
	c.Want(ok, queued, array(integer(2)))
	if got := c.Do("HELLO", "3"); !strings.HasPrefix(got, "%") {
		t.Errorf("HELLO 3: %q", got)
	}
	if got := c.Do("EVALSHA", "append", "1", "list", "x"); got != integer(3) {
		t.Errorf("in RESP3: %q", got)
	}
	if log := p.Log(); strings.Contains(log, password) {
		t.Error("the log tells the password")
	}
}

func TestWrongPasswordOfTheProxyIsSaidAndNotShown(t *testing.T) {
	t.Parallel()
	const wrong = "not-the-pa55"
	server := redisserver.Start(t, redisserver.Password("right-pa55"))
	p := launch(t, server, nil, serviceMode, set("upstream.password_file", secretFile(t, wrong)))
	p.Eventually("say what is wrong", func() error {
		if _, body := p.Get("/readyz"); !strings.Contains(body, "WRONGPASS") {
			return fmt.Errorf("/readyz: %q", body)
		}
		return nil
	})
	c := p.client()
	if got := c.Do("AUTH", "app", "app-pa55"); got != ok {
		t.Errorf("AUTH: %q", got)
	}
	if got := c.Do("GET", "k"); !strings.HasPrefix(got, "-UNAVAILABLE ") || !strings.HasSuffix(got, "did not run\r\n") {
		t.Errorf("GET: %q", got)
	}
	if strings.Contains(p.Log(), wrong) {
		t.Error("the log tells the password")
	}
}

func TestPassthroughLetsTheServerCheckEachClient(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t, redisserver.Password("default-pa55"),
		redisserver.ACL("alice on >alice-pa55 ~alice:* "+allChannels(t)+"+@all -flushall", "bob on >bob-pa55 ~* "+allChannels(t)+"+@all -evalsha -eval", "proxy on >proxy-pa55 ~* "+allChannels(t)+"+@all"))
	p := startProxy(t, server, nil, set("upstream.username", "proxy"), set("upstream.password_file", secretFile(t, "proxy-pa55")),
		script("append", []string{appendBody}))

	alice, s := p.client(), direct(t, server)
	for _, call := range [][]string{
		{"GET", "k"}, {"EVALSHA", "append", "1", "alice:list", "x"}, {"PING"}, {"HELLO", "3"}, {"HELLO"}, {"NOSUCH"}, {"GET"}, {"MULTI"}, {"SUBSCRIBE", "c"},
		{"CLIENT", "SETNAME", "x"}, {"AUTH", "wrong"}, {"AUTH", "alice", "wrong"}, {"AUTH", "nobody", "x"}, {"AUTH"}, {"AUTH", "a", "b", "c"},
		{"HELLO", "3", "AUTH", "alice", "wrong"}, {"AUTH", "alice", "alice-pa55"},
		{"SET", "other", "v"}, {"FLUSHALL"}, {"ACL", "WHOAMI"},
	} {
		got, want := alice.Do(call...), s.Do(call...)
		if !since(t, 6, 2) && (call[0] == "NOSUCH" || call[0] == "HELLO") && got[0] == '-' && want[0] == '-' {
			continue // Redis 6.0 refuses these as well, in words that it changed with 6.2
		}
		if call[0] == "HELLO" {
			// Versions of the server differ in how they explain it.
			got, _, _ = strings.Cut(got, ",")
			want, _, _ = strings.Cut(want, ",")
		}
		if got != want {
			t.Errorf("%q: %q, the server says %q", call, got, want)
		}
	}
	if got := alice.Do("EVALSHA", "append", "1", "alice:list", "x"); got != integer(1) {
		t.Errorf("alice's script: %q", got)
	}
	if got := alice.Do("EVALSHA", "append", "1", "other", "x"); !strings.HasPrefix(got, "-NOPERM ") {
		t.Errorf("alice's script on another's key: %q", got)
	}

	bob := p.client()
	if got := bob.Do("HELLO", "3", "AUTH", "bob", "bob-pa55", "SETNAME", "b"); !strings.HasPrefix(got, "%") {
		t.Fatalf("HELLO 3 AUTH: %q", got)
	}
	if got := bob.Do("EVALSHA", "append", "1", "k", "x"); !strings.HasPrefix(got, "-NOPERM ") {
		t.Errorf("bob may not call scripts: %q", got)
	}
	if got := bob.Do("SET", "other", "v"); got != ok {
		t.Errorf("bob's SET: %q", got)
	}
	if got := bob.Do("ACL", "WHOAMI"); got != bulk("bob") {
		t.Errorf("bob is %q", got)
	}
	bob.Send(request("MULTI") + request("ACL", "WHOAMI") + request("EXEC"))
	bob.Want(ok, queued, array(bulk("bob")))

	// One connection changes its user, and leaves nothing of the former one behind.
	if got := bob.Do("AUTH", "alice", "alice-pa55"); got != ok {
		t.Errorf("AUTH as alice: %q", got)
	}
	if got := bob.Do("SET", "other", "v"); !strings.HasPrefix(got, "-NOPERM ") {
		t.Errorf("SET as alice: %q", got)
	}
	if since(t, 6, 2) {
		if got := bob.Do("RESET"); got != "+RESET\r\n" {
			t.Errorf("RESET: %q", got)
		}
		if got := bob.Do("GET", "k"); got != "-NOAUTH Authentication required.\r\n" {
			t.Errorf("after RESET: %q", got)
		}
	}
	for _, secret := range []string{"alice-pa55", "bob-pa55", "proxy-pa55"} {
		if strings.Contains(p.Log(), secret) {
			t.Errorf("the log tells %s", secret)
		}
	}
}

func TestDefaultUserWithAPasswordIsPassedThrough(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t, redisserver.Password("default-pa55"))
	p := startProxy(t, server, nil, set("upstream.password_file", secretFile(t, "default-pa55")), script("append", []string{appendBody}))
	c := p.client()
	c.Send(request("EVALSHA", "append", "1", "list", "x") + request("AUTH", "default-pa55") + request("EVALSHA", "append", "1", "list", "x"))
	c.Want("-NOAUTH Authentication required.\r\n", ok, integer(1))
}
