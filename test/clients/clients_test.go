package clients

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/child"
	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// binary is the program under test, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(program.Main(m, &binary, nil)) }

// noAdmin is for proxies that nobody asks.
const noAdmin = "admin: {listen: \"\"}\n"

// site is a proxy in front of a primary and a replica.
type site struct {
	t       *testing.T
	port    string
	dir     string // has the proxy's files
	primary *redisserver.Server
	replica *redisserver.Server
}

// proxied starts a primary, a replica and the proxy, with more added to its configuration.
func proxied(t *testing.T, more string) *site {
	t.Helper()
	s := &site{t: t, port: strconv.Itoa(redisserver.FreePort(t)), dir: t.TempDir()}
	s.primary, s.replica = redisserver.StartPair(t)
	s.write("config.yaml", fmt.Sprintf("listen: [127.0.0.1:%s]\nupstream: {primary: %s, replicas: [%s]}\n%s", s.port, s.primary.Addr(), s.replica.Addr(), more))
	logFile, err := os.Create(s.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	defer logFile.Close()
	cmd := exec.Command(binary, "serve", "-config", s.path("config.yaml"))
	cmd.Stderr = logFile
	exited, err := child.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-exited
		if t.Failed() {
			log, _ := os.ReadFile(logFile.Name())
			t.Logf("the proxy's log:\n%s", log)
		}
	})
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if out, err := try("redis-cli", "-p", s.port, "PING"); err == nil && strings.TrimSpace(out) == "PONG" {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal("the proxy does not answer")
		}
	}
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// try runs a program for at most two minutes and returns what it printed.
func try(name string, args ...string) (string, error) { return tryIn("", nil, name, args...) }

func tryIn(dir string, in []byte, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if in != nil {
		cmd.Stdin = bytes.NewReader(in)
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		err = fmt.Errorf("%w: .ci/packages installs it", err)
	}
	return string(out), err
}

var passed = regexp.MustCompile(`(?m)^ok (\d+)$`)

// mustPass runs a program of the matrix and wants its "ok" with a count.
func mustPass(t *testing.T, least int, dir, name string, args ...string) {
	t.Helper()
	out, err := tryIn(dir, nil, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	m := passed.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("%s ended without saying ok:\n%s", name, out)
	}
	if n, _ := strconv.Atoi(m[1]); n < least {
		t.Fatalf("%s passed %d checks, want at least %d", name, n, least)
	}
	t.Logf("%s checks", m[1])
}

// goClients builds the program of the Go clients, once.
var goClients = sync.OnceValues(func() (program string, err error) {
	program = filepath.Join(filepath.Dir(binary), "golang")
	if out, err := tryIn("golang", nil, "go", "build", "-buildvcs=false", "-o", program, "."); err != nil {
		return "", fmt.Errorf("build the Go clients: %v\n%s", err, out)
	}
	return program, nil
})

// jsClients installs what the JavaScript programs need, once, and returns where they are.
var jsClients = sync.OnceValues(func() (dir string, err error) {
	dir = filepath.Join(filepath.Dir(binary), "js")
	if err := os.CopyFS(dir, os.DirFS("js")); err != nil {
		return "", err
	}
	if out, err := tryIn(dir, nil, "npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"); err != nil {
		return "", fmt.Errorf("npm install: %v\n%s", err, out)
	}
	return dir, nil
})

// Each library's program passes at least so many checks.
var (
	goLibraries = map[string]int{"go-redis": 30, "rueidis": 100, "redigo": 12}
	jsLibraries = map[string]int{"ioredis": 21, "node-redis": 24}
)

func useGo(t *testing.T, port, library string) {
	t.Helper()
	program, err := goClients()
	if err != nil {
		t.Fatal(err)
	}
	mustPass(t, goLibraries[library], "", program, library, port)
}

func useJavaScript(t *testing.T, port, library string) {
	t.Helper()
	dir, err := jsClients()
	if err != nil {
		t.Fatal(err)
	}
	mustPass(t, jsLibraries[library], dir, "node", library+".js", port)
}

func useBullMQ(t *testing.T, port string, jobs int) {
	t.Helper()
	dir, err := jsClients()
	if err != nil {
		t.Fatal(err)
	}
	mustPass(t, jobs+24, dir, "node", "bullmq.js", port, strconv.Itoa(jobs))
}

func usePython(t *testing.T, port string) {
	t.Helper()
	mustPass(t, 19, "", "/usr/bin/python3", "redispy.py", port)
}

func TestGoClients(t *testing.T) {
	for library := range goLibraries {
		t.Run(library, func(t *testing.T) { useGo(t, proxied(t, noAdmin).port, library) })
	}
}

func TestJavaScriptClients(t *testing.T) {
	for library := range jsLibraries {
		t.Run(library, func(t *testing.T) { useJavaScript(t, proxied(t, noAdmin).port, library) })
	}
	t.Run("bullmq", func(t *testing.T) { useBullMQ(t, proxied(t, noAdmin).port, 10000) })
}

func TestPythonRedis(t *testing.T) { usePython(t, proxied(t, noAdmin).port) }

func TestRedisCliTools(t *testing.T) {
	s := proxied(t, noAdmin)
	useRedisCli(t, s)
	out, err := tryIn("", []byte("nonsense\n"), "redis-cli", "-p", s.port)
	if err != nil || !strings.Contains(out, "ERR unknown command 'nonsense'") {
		t.Fatalf("nonsense: %v\n%s", err, out)
	}
}

func useRedisCli(t *testing.T, s *site) {
	t.Helper()
	p := s.port
	var load strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&load, "*3\r\n$3\r\nSET\r\n$%d\r\nkey:%d\r\n$1\r\nv\r\n", len(fmt.Sprintf("key:%d", i)), i)
	}
	out, err := tryIn("", []byte(load.String()), "redis-cli", "-p", p, "--pipe")
	if err != nil || !strings.Contains(out, "errors: 0, replies: 20000") {
		t.Fatalf("--pipe: %v\n%s", err, out)
	}
	if n := s.primary.Do("DBSIZE"); n != int64(20000) {
		t.Fatalf("the server holds %v keys", n)
	}
	out, err = try("redis-cli", "-p", p, "--scan", "--pattern", "key:1999*")
	if got := len(strings.Fields(out)); err != nil || got != 11 {
		t.Fatalf("--scan found %d keys: %v\n%s", got, err, out)
	}
	out, err = try("redis-cli", "-p", p, "--bigkeys", "-i", "0")
	if err != nil || !strings.Contains(out, "Sampled 20000 keys") {
		t.Fatalf("--bigkeys: %v\n%s", err, out)
	}
	out, err = try("timeout", "-s", "INT", "2", "redis-cli", "-p", p, "--latency", "-i", "1", "--raw")
	if out == "" {
		t.Fatalf("--latency said nothing: %v", err)
	}
	out, err = tryIn("", []byte("EVAL \"return {1,'two',{3}}\" 0\nMULTI\nSET a 1\nGET a\nEXEC\n"), "redis-cli", "-p", p)
	for _, want := range []string{"two", "QUEUED", "OK\n1"} {
		if err != nil || !strings.Contains(out, want) {
			t.Fatalf("interactive commands: %v: no %q in\n%s", err, want, out)
		}
	}
}

// TestRedisCliInteractive types at redis-cli in a terminal.
func TestRedisCliInteractive(t *testing.T) {
	port := proxied(t, noAdmin).port
	socket := filepath.Join(t.TempDir(), "tmux")
	tmux := func(args ...string) string {
		t.Helper()
		out, err := try("tmux", append([]string{"-S", socket}, args...)...)
		if err != nil {
			t.Fatalf("tmux %v: %v\n%s", args, err, out)
		}
		return out
	}
	tmux("new-session", "-d", "-s", "cli", "-x", "120", "-y", "40", "redis-cli -p "+port)
	defer try("tmux", "-S", socket, "kill-server")
	shows := func(want, after string) {
		t.Helper()
		var screen string
		for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if screen = tmux("capture-pane", "-p", "-t", "cli"); strings.Contains(screen, want) {
				return
			}
		}
		t.Fatalf("%s the screen has no %q:\n%s", after, want, screen)
	}
	typed := func(line, want string) {
		t.Helper()
		tmux("send-keys", "-t", "cli", line, "Enter")
		shows(want, "after "+line)
	}
	shows("127.0.0.1:"+port+">", "at the start")
	typed("SET greeting hello", "OK")
	typed("GET greeting", `"hello"`)
	typed("HELLO 3", "2# ")
	typed("EVAL \"return KEYS[1]\" 1 here", `"here"`)
	typed("MULTI", "(TX)>")
	typed("INCR n", "QUEUED")
	typed("EXEC", "1) (integer) 1")
}

func TestRedisBenchmarkDefaultRun(t *testing.T) { useRedisBenchmark(t, proxied(t, noAdmin).port) }

func useRedisBenchmark(t *testing.T, port string) {
	t.Helper()
	out, err := try("redis-benchmark", "-p", port, "-n", "2000", "--csv")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, test := range []string{"PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD", "HSET", "SPOP", "ZADD", "ZPOPMIN", "LRANGE_600", "MSET (10 keys)"} {
		if !strings.Contains(out, `"`+test) {
			t.Errorf("no result of %s in\n%s", test, out)
		}
	}
	if strings.Contains(strings.ToLower(out), "error") {
		t.Errorf("errors in\n%s", out)
	}
}
