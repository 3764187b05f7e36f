package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/goleak"

	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/redisstore"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silent{}) // it reports every failed attempt to connect
	goleak.VerifyTestMain(m)
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

var (
	background = context.Background()
	alice      = registry.Op{Who: "alice"}
)

// server is a redis-server of this test's own.
type server struct {
	t     testing.TB
	addr  string
	dir   string
	extra []string
	cmd   *exec.Cmd
}

func startServer(t testing.TB, extra ...string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("this test needs redis-server in PATH: install Redis 5 or later")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	s := &server{t: t, addr: addr, dir: t.TempDir(), extra: extra}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) start() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	args := append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", s.dir, "--save", "", "--logfile", filepath.Join(s.dir, "log")}, s.extra...)
	s.cmd = exec.Command("redis-server", args...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	c := s.client()
	defer func() { _ = c.Close() }()
	for deadline := time.Now().Add(20 * time.Second); c.Ping(background).Err() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Fatalf("redis-server at %s does not answer:\n%s", s.addr, log)
		}
	}
}

// kill ends the server with SIGKILL, if it runs.
func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // killed
		s.cmd = nil
	}
}

func (s *server) client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.addr, Protocol: 2, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
}

// do runs a command on the server, past the store.
func (s *server) do(args ...any) any {
	s.t.Helper()
	c := s.client()
	defer func() { _ = c.Close() }()
	v, err := c.Do(background, args...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		s.t.Fatalf("%v: %v", args, err)
	}
	return v
}

// content returns all keys but the heartbeats, serialised.
func (s *server) content() map[string]string {
	s.t.Helper()
	out := map[string]string{}
	for _, key := range s.do("KEYS", "*").([]any) {
		if key != "{test}:instances" {
			out[key.(string)] = s.do("DUMP", key).(string)
		}
	}
	return out
}

// open makes a registry over the server; change may adjust the store's options.
func (s *server) open(instance string, change ...func(*redisstore.Options)) *registry.Registry {
	s.t.Helper()
	r, err := s.tryOpen(instance, change...)
	if err != nil {
		s.t.Fatal(err)
	}
	closed := sync.OnceFunc(func() {
		if err := r.Close(); err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(closed)
	return r
}

func (s *server) tryOpen(instance string, change ...func(*redisstore.Options)) (*registry.Registry, error) {
	s.t.Helper()
	o := redisstore.Options{Redis: redis.UniversalOptions{Addrs: []string{s.addr}}, Namespace: "test", Instance: instance, Address: instance + ":6380"}
	for _, c := range change {
		c(&o)
	}
	store, err := redisstore.Open(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return registry.New(background, registry.Options{Store: store, Instance: instance})
}

func quick(o *redisstore.Options) {
	o.Poll, o.Heartbeat = 20*time.Millisecond, 20*time.Millisecond
}

func body(n int) []byte { return fmt.Appendf(nil, "return %d", n) }

// seed registers the script "pay" with v1 (active) to v3.
func seed(t testing.TB, r *registry.Registry) {
	t.Helper()
	for n := range 3 {
		load(t, r, "pay", n+1)
	}
	activate(t, r, "v1")
}

func load(t testing.TB, r *registry.Registry, name string, n int) {
	t.Helper()
	if _, err := r.LoadVersion(background, alice, registry.Load{Name: name, Version: fmt.Sprint("v", n), Body: body(n)}); err != nil {
		t.Fatal(err)
	}
}

func activate(t testing.TB, r *registry.Registry, version string) registry.Result {
	t.Helper()
	res, err := r.Activate(background, alice, "pay", version)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func active(r *registry.Registry) string {
	s := r.Snapshot().Script("pay")
	if s == nil {
		return "no script"
	}
	return s.Active
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within 20 s", what)
		}
	}
}

// same compares what two snapshots say.
func same(a, b *registry.Snapshot) error {
	if a.Revision != b.Revision || a.Token != b.Token {
		return fmt.Errorf("revisions %d (%s) and %d (%s)", a.Revision, a.Token, b.Revision, b.Token)
	}
	if len(a.Scripts) != len(b.Scripts) {
		return fmt.Errorf("%d and %d scripts", len(a.Scripts), len(b.Scripts))
	}
	describe := func(s *registry.Script) string {
		var out strings.Builder
		fmt.Fprintf(&out, "%s %s %s %d", s.Name, s.Active, s.Previous, s.Revision)
		for _, v := range s.Versions {
			fmt.Fprintf(&out, " %s=%s", v.ID, v.Body)
		}
		return out.String()
	}
	for i := range a.Scripts {
		if x, y := describe(a.Scripts[i]), describe(b.Scripts[i]); x != y {
			return fmt.Errorf("scripts %q and %q", x, y)
		}
	}
	return nil
}
