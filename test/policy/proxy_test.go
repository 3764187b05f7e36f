//go:build linux

package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/child"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// patience bounds every wait for something that takes milliseconds on an idle machine.
const patience = 20 * time.Second

// incr and friends are registered with every proxy.
const scripts = `
scripts:
  list:
    - name: incr
      active: v1
      versions:
        v1: {body: "return redis.call('INCRBY', KEYS[1], ARGV[1])"}
        v2: {body: "return redis.call('INCRBY', KEYS[1], ARGV[1] * 100)"}
    - name: get
      tags: [reads]
      versions: {v1: {body: "return redis.call('GET', KEYS[1])"}}
    - name: shop
      versions: {v1: {body: "#!lua name=shop\nredis.register_function('discount', function(keys, args) return args[1] / 2 end)\nredis.register_function('refund', function(keys, args) return 0 end)"}}
    - name: spin
      versions: {v1: {body: "local n = tonumber(ARGV[1]) for i = 1, n do local x = i * i end return n"}}
`

// users are the servers' users: the proxy's own, and those that clients come as. A password is its user's name.
var users = []redisserver.Option{
	redisserver.Password("default"),
	redisserver.ACL(
		"loader on >loader ~* &* +@all",
		"app on >app ~* &* +@all",
		"batch on >batch ~* &* +@all",
	),
}

// site is one proxy in front of one server, with its files. It ends with its test, which fails when the proxy did not
// end in order, or when it reported a data race.
type site struct {
	t       *testing.T
	redis   *redisserver.Server
	dir     string
	addr    string // for clients
	admin   string // for HTTP
	cmd     *exec.Cmd
	exited  <-chan struct{}
	stopped bool
}

// start runs a proxy with a policy in a mode, in front of redis; more is added to its configuration.
func start(t *testing.T, redis *redisserver.Server, mode, rules, more string) *site {
	t.Helper()
	s := &site{t: t, redis: redis, dir: t.TempDir()}
	s.write("password", "loader")
	s.write("rules.yaml", rules)
	s.write("config.yaml", fmt.Sprintf(`
listen: [{address: "127.0.0.1:0", name: main}]
admin: {listen: "127.0.0.1:0"}
upstream: {primary: %q, username: loader, password_file: password}
policy: {mode: %q, rules_file: rules.yaml}
log: {format: json}
limits: {drain_timeout: 5s}
%s%s`, redis.Addr(), mode, scripts, more))
	s.launch()
	return s
}

// launch runs the proxy and waits until it is ready.
func (s *site) launch() {
	t := s.t
	t.Helper()
	log, err := os.Create(s.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(binary, "serve", "-config", s.path("config.yaml"))
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = append(os.Environ(), "GORACE=exitcode=66 atexit_sleep_ms=0")
	if s.exited, err = child.Start(s.cmd); err != nil {
		t.Fatalf("start scriptproxy: %v", err)
	}
	t.Cleanup(s.stop)
	s.eventually("get ready", func() error {
		select {
		case <-s.exited:
			t.Fatalf("scriptproxy ended while starting:\n%s", s.log())
		default:
		}
		if err := s.serving(); err != nil {
			return err
		}
		if text := s.get("/readyz"); !strings.HasPrefix(text, "ok\n") {
			return fmt.Errorf("/readyz says %q", text)
		}
		return nil
	})
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// serving finds in the log where the proxy listens.
func (s *site) serving() error {
	for line := range strings.Lines(s.log()) {
		var entry struct {
			Msg       string
			Addresses []string
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" && len(entry.Addresses) == 2 {
			s.addr, s.admin = entry.Addresses[0], entry.Addresses[1]
			return nil
		}
	}
	return fmt.Errorf("no line in the log says where it serves")
}

// eventually waits until f returns nil.
func (s *site) eventually(what string, f func() error) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the proxy did not %s within %v: %v", what, patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// stop ends the proxy in order, and fails the test when that fails.
func (s *site) stop() {
	if s.stopped {
		return
	}
	s.stopped = true
	syscall.Kill(-s.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-s.exited:
		if code := s.cmd.ProcessState.ExitCode(); code != 0 {
			s.t.Errorf("scriptproxy ended with status %d (%v)", code, s.cmd.ProcessState)
		}
	case <-time.After(patience):
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.exited
		s.t.Errorf("scriptproxy was still running %v after SIGTERM", patience)
	}
	log := s.log()
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if at := strings.Index(log, bad); at >= 0 {
			s.t.Errorf("scriptproxy reports: %s", log[at:min(len(log), at+4000)])
		}
	}
	if s.t.Failed() {
		s.t.Logf("the end of scriptproxy's log:\n%s", log[max(0, len(log)-6000):])
	}
}

// log is what the proxy has written so far.
func (s *site) log() string {
	b, err := os.ReadFile(s.path("log"))
	if err != nil {
		s.t.Fatalf("read scriptproxy's log: %v", err)
	}
	return string(b)
}

var httpClient = &http.Client{Timeout: patience}

// get asks the admin listener and returns the body.
func (s *site) get(path string) string {
	s.t.Helper()
	r, err := httpClient.Get("http://" + s.admin + path)
	if err != nil {
		s.t.Fatalf("GET %s: %v", path, err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatalf("GET %s: %v", path, err)
	}
	return string(b)
}

// reload has the proxy read its configuration anew, and returns the status and the answer.
func (s *site) reload() (int, string) {
	s.t.Helper()
	r, err := httpClient.Post("http://"+s.admin+"/-/reload", "", nil)
	if err != nil {
		s.t.Fatalf("reload: %v", err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatalf("reload: %v", err)
	}
	return r.StatusCode, string(b)
}

// metric is the value of a series, written as in the text format; 0 for one that is not there.
func (s *site) metric(series string) float64 {
	s.t.Helper()
	for line := range strings.Lines(s.get("/metrics")) {
		rest, ok := strings.CutPrefix(line, series+" ")
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
		if err != nil {
			s.t.Fatalf("/metrics has the line %q", line)
		}
		return v
	}
	return 0
}

// cli runs the program with the site's files, and returns what it printed and its exit status.
func (s *site) cli(args ...string) (out string, status int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "SCRIPTPROXY_ADMIN=http://"+s.admin, "GORACE=exitcode=66 atexit_sleep_ms=0")
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	err := cmd.Run()
	if ctx.Err() != nil {
		s.t.Fatalf("scriptproxy %v did not end: %s", args, text.String())
	}
	if _, failed := err.(*exec.ExitError); err != nil && !failed {
		s.t.Fatalf("scriptproxy %v: %v", args, err)
	}
	return text.String(), cmd.ProcessState.ExitCode()
}

// applyACL has the program set the servers' ACLs for the users.
func (s *site) applyACL(names ...string) {
	s.t.Helper()
	args := []string{"policy", "acl", "-config", "config.yaml", "-apply"}
	for _, name := range names {
		args = append(args, "-user", name)
	}
	if out, status := s.cli(args...); status != 0 {
		s.t.Fatalf("policy acl: %s", out)
	}
}

// read returns one of the site's files.
func (s *site) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func errorUnless(ok bool, text string) error {
	if ok {
		return nil
	}
	return errors.New(text)
}

// restart runs a proxy anew with the files of one that was stopped.
func restart(t *testing.T, old *site) *site {
	t.Helper()
	s := &site{t: t, redis: old.redis, dir: old.dir}
	s.launch()
	return s
}
