//go:build linux

package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// patience bounds every wait for something that takes milliseconds on an idle machine.
const patience = program.Patience

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

// site is one proxy in front of one server, with its files.
type site struct {
	*program.Process
	t     *testing.T
	redis *redisserver.Server
	dir   string
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
	s.t.Helper()
	s.Process = program.Start(s.t, binary, s.path("config.yaml"))
	s.AwaitServing()
	s.AwaitReady()
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// body asks the admin listener for something that is there.
func (s *site) body(path string) string {
	s.t.Helper()
	_, text := s.Get(path)
	return text
}

// reload has the proxy read its configuration anew, and returns the status and the answer.
func (s *site) reload() (int, string) {
	s.t.Helper()
	return s.Post("/-/reload")
}

// metric is the value of a series, written as in the text format; 0 for one that is not there.
func (s *site) metric(series string) float64 {
	s.t.Helper()
	return s.Metrics()[series]
}

// cli runs the program with the site's files, and returns what it printed and its exit status.
func (s *site) cli(args ...string) (out string, status int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = s.dir
	cmd.Env = append(program.Environ(), "SCRIPTPROXY_ADMIN=http://"+s.Admin)
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
