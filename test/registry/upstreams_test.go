//go:build linux

package registry

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// site is a proxy in front of several sets of servers, each with a listener of its own.
type site struct {
	*proxy
	addrs map[string]string // of the listeners, by the names of the sets
}

// newSite has a listener for each set of servers, which is named by its place: u0, u1 and so on. settings may hold more.
func newSite(t *testing.T, settings object, primaries ...*redisserver.Server) *site {
	t.Helper()
	p := newProxy(t, object{}, primaries[0])
	s := &site{proxy: p, addrs: map[string]string{}}
	var listeners, sets []object
	for i, primary := range primaries {
		name, addr := "u"+strconv.Itoa(i), "127.0.0.1:"+strconv.Itoa(redisserver.FreePort(t))
		s.addrs[name] = addr
		listeners = append(listeners, object{"address": addr, "upstream": name})
		sets = append(sets, object{"name": name, "primary": primary.Addr()})
	}
	p.addr = s.addrs["u0"]
	whole := object{
		"listen": listeners, "upstreams": sets,
		"admin":  object{"listen": p.admin},
		"limits": object{"drain_timeout": "3s"},
	}
	for key, value := range settings {
		whole[key] = value
	}
	p.writeConfig(whole)
	return s
}

// on is a connection through the listener of a set.
func (s *site) on(name string) *redisserver.Client {
	s.t.Helper()
	c, err := redisserver.DialClient(s.addrs[name], "")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

func want(t *testing.T, got, expected any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(expected) {
		t.Fatalf("got %v, want %v", got, expected)
	}
}

// refused wants an error that says something.
func refused(t *testing.T, got any, says string) {
	t.Helper()
	if err, ok := got.(redisserver.Error); !ok || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want an error with %q", got, says)
	}
}

func TestEachListenerLeadsToItsOwnServersAndScriptsAreOnAll(t *testing.T) {
	a, b := redisserver.Start(t), redisserver.Start(t)
	s := newSite(t, object{"scripts": declare("set", "return redis.call('SET', KEYS[1], ARGV[1])", "return redis.call('SET', KEYS[1], ARGV[1] .. ' by v2')")}, a, b)
	s.start()
	one, two := s.on("u0"), s.on("u1")
	do(t, one, "SET", "plain", "in a")
	want(t, do(t, two, "GET", "plain"), nil)
	do(t, one, "EVALSHA", "set", 1, "k", "from a")
	do(t, two, "EVALSHA", "set", 1, "k", "from b")
	want(t, a.Do("GET", "k"), "from a")
	want(t, b.Do("GET", "k"), "from b")
	do(t, one, "MULTI")
	do(t, one, "INCR", "n")
	do(t, one, "EXEC")
	want(t, b.Do("EXISTS", "n"), 0)

	s.must("script", "activate", "set", "v2", "-yes")
	for name, server := range map[string]*redisserver.Server{"u0": a, "u1": b} {
		do(t, s.on(name), "EVALSHA", "set", 1, "k", "set")
		want(t, server.Do("GET", "k"), "set by v2")
	}
}

// TestClientsOfOneUpstreamSeeNothingOfAnother is about what a proxy answers itself: sessions, and the scripts that clients brought.
func TestClientsOfOneUpstreamSeeNothingOfAnother(t *testing.T) {
	a, b := redisserver.Start(t), redisserver.Start(t)
	s := newSite(t, object{}, a, b)
	s.start()
	one, two := s.on("u0"), s.on("u1")
	do(t, one, "CLIENT", "SETNAME", "first")
	do(t, two, "CLIENT", "SETNAME", "second")
	list := do(t, two, "CLIENT", "LIST").(string)
	if strings.Contains(list, "name=first") || !strings.Contains(list, "name=second") {
		t.Errorf("CLIENT LIST shows %s", list)
	}
	id := do(t, one, "CLIENT", "ID")
	want(t, do(t, two, "CLIENT", "KILL", "ID", id), 0)
	want(t, do(t, one, "PING"), "PONG")

	sha := do(t, one, "SCRIPT", "LOAD", "return 'brought'").(string)
	want(t, do(t, one, "EVALSHA", sha, 0), "brought")
	refused(t, do(t, two, "EVALSHA", sha, 0), "NOSCRIPT")
	do(t, two, "SCRIPT", "LOAD", "return 'brought'")
	do(t, one, "SCRIPT", "FLUSH")
	refused(t, do(t, one, "EVALSHA", sha, 0), "NOSCRIPT")
	b.Do("SCRIPT", "FLUSH")
	want(t, do(t, two, "EVALSHA", sha, 0), "brought")
}

// TestOneUpstreamThatIsDownTroublesNoOther also looks at what readiness says of it.
func TestOneUpstreamThatIsDownTroublesNoOther(t *testing.T) {
	a, b := redisserver.Start(t), redisserver.Start(t)
	s := newSite(t, object{"scripts": declare("one", "return 1"), "ping_grace": "100ms"}, a, b)
	s.start()
	one, two := s.on("u0"), s.on("u1")
	b.Kill()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		got := fmt.Sprint(do(t, two, "PING"))
		if strings.HasPrefix(got, "UNAVAILABLE") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("PING of a set that is down: %v", got)
		}
	}
	want(t, do(t, one, "PING"), "PONG")
	want(t, do(t, one, "EVALSHA", "one", 0), 1)
	refused(t, do(t, two, "GET", "k"), "did not run")
	status, text := s.readiness()
	if status != http.StatusOK || !strings.Contains(text, "warning: upstream u1: the primary "+b.Addr()+" is down") {
		t.Errorf("readiness while one set is down: %d %s", status, text)
	}
	a.Kill()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if status, text = s.readiness(); status == http.StatusServiceUnavailable && strings.Contains(text, "upstream u0: ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("readiness while all are down: %d %s", status, text)
		}
	}
}

// TestUsersMayLeadToUpstreams is the service mode, where a user's name says which servers are meant.
func TestUsersMayLeadToUpstreams(t *testing.T) {
	a, b := redisserver.Start(t), redisserver.Start(t, redisserver.Password("secret"))
	const digest = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8" // of "password"
	addr := "127.0.0.1:" + strconv.Itoa(redisserver.FreePort(t))
	s := newSite(t, object{}, a)
	s.addrs["u0"] = addr
	file := s.dir + "/secret"
	writeFile(t, file, "secret")
	s.writeConfig(object{
		"listen": []string{addr}, "admin": object{"listen": s.admin}, "upstream": object{"primary": a.Addr()},
		"upstreams": []object{{"name": "b", "primary": b.Addr(), "password_file": file}},
		"auth": object{"mode": "service", "users": []object{
			{"name": "ann", "password_sha256": digest}, {"name": "bob", "password_sha256": digest, "upstream": "b"},
		}},
		"limits": object{"drain_timeout": "3s"},
	})
	s.addr = addr
	s.start()
	c := s.on("u0")
	do(t, c, "AUTH", "bob", "password")
	do(t, c, "SET", "k", "bob's")
	want(t, b.Do("GET", "k"), "bob's")
	want(t, a.Do("GET", "k"), nil)
	do(t, c, "AUTH", "ann", "password")
	do(t, c, "SET", "k", "ann's")
	want(t, a.Do("GET", "k"), "ann's")
	do(t, c, "AUTH", "bob", "password")
	want(t, do(t, c, "GET", "k"), "bob's")
}

// TestOperatorsSeeWhichServersBelongTogether looks at the command line and at the metrics.
func TestOperatorsSeeWhichServersBelongTogether(t *testing.T) {
	a, b := redisserver.Start(t), redisserver.Start(t)
	s := newSite(t, object{}, a, b)
	s.start()
	text := s.must("nodes")
	for name, server := range map[string]*redisserver.Server{"u0": a, "u1": b} {
		shown := false
		for line := range strings.Lines(text) {
			words := strings.Fields(line)
			shown = shown || len(words) > 4 && words[0] == name && words[1] == server.Addr() && words[2] == "primary" && words[3] == "writes" && words[4] == "up"
		}
		if !shown {
			t.Errorf("scriptproxy nodes prints\n%s", text)
		}
		if want := fmt.Sprintf("scriptproxy_upstream_info{node=%q,upstream=%q}", server.Addr(), name); s.Metrics()[want] != 1 {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}
