//go:build linux

package policy

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/test/child"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// traffic is what two services of different ways do: scripts by name, sha and body, functions, pipelines, transactions,
// pub/sub, blocking reads, and plain commands.
func traffic(t *testing.T, s *site) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	check := func(what string, err error) {
		t.Helper()
		if err != nil && err != redis.Nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	app := redis.NewClient(&redis.Options{Addr: s.Addr, Username: "app", Password: "app", MaxRetries: -1, ReadTimeout: patience})
	defer app.Close()
	hash := redis.NewScript("return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])")
	check("a script's helper", hash.Run(ctx, app, []string{"h"}, "field", "value").Err())
	check("the same again", hash.Run(ctx, app, []string{"h"}, "field", strings.Repeat("v", 200)).Err())
	check("a script by name", app.EvalSha(ctx, "incr", []string{"n"}, 5).Err())
	check("a version by name", app.EvalSha(ctx, "incr@v2", []string{"n"}, 5).Err())
	check("a read by name", app.EvalShaRO(ctx, "get", []string{"n"}).Err())
	check("a function", app.FCall(ctx, "twice", []string{}, 4).Err())
	pipe := app.Pipeline()
	for range 20 {
		pipe.Set(ctx, "k", "v", time.Minute)
		pipe.Get(ctx, "k")
		pipe.Eval(ctx, "return ARGV[1]", nil, "x")
	}
	_, err := pipe.Exec(ctx)
	check("a pipeline", err)
	_, err = app.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.IncrBy(ctx, "n", 1)
		p.EvalSha(ctx, "incr", []string{"n"}, 1)
		return nil
	})
	check("a transaction", err)
	check("WATCH", app.Watch(ctx, func(tx *redis.Tx) error { return tx.Get(ctx, "n").Err() }, "n"))
	sub := app.Subscribe(ctx, "news")
	_, err = sub.Receive(ctx)
	check("SUBSCRIBE", err)
	check("PUBLISH", app.Publish(ctx, "news", "x").Err())
	_, err = sub.ReceiveMessage(ctx)
	check("a message", err)
	sub.Close()
	check("BLPOP", app.BLPop(ctx, time.Second, "k2", "list").Err())

	batch := s.as("batch")
	for _, r := range batch.pipeline("LPUSH list a b c", "LRANGE list 0 -1", "XADD events * a 1", "XREAD COUNT 1 STREAMS events 0", "MGET k n", "ACL WHOAMI", "CONFIG GET maxmemory", "SELECT 0") {
		if strings.HasPrefix(r, "-") {
			t.Errorf("batch is answered %s", r)
		}
	}
}

// startLearning runs policy learn until the returned function ends it as Ctrl-C does, and returns what it printed.
func startLearning(t *testing.T, s *site, args ...string) (end func() string) {
	t.Helper()
	out, err := os.Create(s.path("learn.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(binary, append([]string{"policy", "learn", "-admin", "http://" + s.Admin}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, out, out
	exited, err := child.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	s.Eventually("learn", func() error {
		var state struct{ Learning struct{ Running bool } }
		return errorUnless(json.Unmarshal([]byte(s.body("/api/v1/policy")), &state) == nil && state.Learning.Running, "no run is under way")
	})
	return func() string {
		t.Helper()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		select {
		case <-exited:
		case <-time.After(patience):
			t.Fatal("policy learn did not end")
		}
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			t.Fatalf("policy learn ended with status %d: %s", code, s.read("learn.log"))
		}
		return s.read("learn.log")
	}
}

func TestALearnedFileAllowsTheSameTrafficAndNothingElse(t *testing.T) {
	server := redisserver.Start(t, users...)
	server.Do("FUNCTION", "LOAD", "#!lua name=mylib\nredis.register_function('twice', function(keys, args) return args[1] * 2 end)")
	s := start(t, server, "off", "rules: []\n", "")
	end := startLearning(t, s, "-for", "1h", "-out", "learned.yaml")
	traffic(t, s)
	if t.Failed() {
		t.FailNow()
	}
	if text := end(); !strings.Contains(text, "wrote learned.yaml: ") {
		t.Fatalf("policy learn says %s", text)
	}

	// The same rules in force: the same traffic passes, also a second time.
	s.write("rules.yaml", s.read("learned.yaml"))
	s.write("config.yaml", strings.Replace(s.read("config.yaml"), `mode: "off"`, `mode: "enforce"`, 1))
	if out, status := s.cli("policy", "check", "-config", "config.yaml"); status != 0 {
		t.Fatalf("the learned rules are refused: %s", out)
	}
	if status, text := s.reload(); status != 200 {
		t.Fatal(text)
	}
	for range 2 {
		server.Do("FLUSHALL")
		traffic(t, s)
	}
	if t.Failed() {
		t.Logf("the rules:\n%s", s.read("learned.yaml"))
	}

	// Anything else is denied.
	app, batch := s.as("app"), s.as("batch")
	for _, line := range []string{
		"DEL k", "FLUSHALL", "KEYS *", "CONFIG SET maxmemory 1", "CONFIG GET maxmemory", "LPUSH list a", "EVALSHA spin 0 1", "EVALSHA incr 2 n m 1",
		"EVAL return(1) 0", "FCALL thrice 0 4", "FCALL twice 1 k 4", "EVALSHA 1111111111111111111111111111111111111111 0", "SCRIPT FLUSH", "CLIENT LIST", "NOSUCH a",
	} {
		if got := app.pipeline(line)[0]; !strings.HasPrefix(got, "-DENIED ") {
			t.Errorf("%s of app, which was not learned, is answered %s", line, got)
		}
	}
	for _, line := range []string{"GET k", "SET k v", "EVALSHA incr 1 n 1", "CONFIG SET maxmemory 1", "XLEN events", "FCALL twice 0 4"} {
		if got := batch.pipeline(line)[0]; !strings.HasPrefix(got, "-DENIED ") {
			t.Errorf("%s of batch, which was not learned, is answered %s", line, got)
		}
	}
	if got := app.do("EVALSHA", "incr", "1", "n", strings.Repeat("1", 100)); !strings.HasPrefix(got, "-DENIED ") {
		t.Errorf("a call with more than was learned is answered %s", got)
	}
	out, _ := s.cli("policy", "explain", "-json", "-user", "app", "-addr", "127.0.0.1", "-script", "incr", "-keys", "1", "-arg-bytes", "2", "-class", "write")
	if !strings.Contains(out, `"verdict": "allow"`) || !strings.Contains(out, `"rule": "learned incr`) {
		t.Errorf("explain says %s", out)
	}
}

func TestALearningRunEndsByItself(t *testing.T) {
	s := start(t, redisserver.Start(t, users...), "enforce", "rules: [{name: no-keys, match: {commands: [keys]}, action: deny}]\n", "")
	c := s.as("app")
	done := make(chan string, 1)
	go func() {
		cmd := exec.Command(binary, "policy", "learn", "-admin", "http://"+s.Admin, "-for", "2s", "-no-networks")
		out, _ := cmd.Output()
		done <- string(out)
	}()
	s.Eventually("learn", func() error {
		return errorUnless(strings.Contains(s.body("/api/v1/policy"), `"running": true`), "no run is under way")
	})
	want(t, c.pipeline("GET a", "KEYS none"), "$-1", "-DENIED command 'keys'…")
	if out, status := s.cli("policy", "learn", "-for", "1m"); status != 1 || !strings.Contains(out, "a learning run is under way; stop it first") {
		t.Errorf("a second run is answered %d %s", status, out)
	}
	select {
	case text := <-done:
		if !strings.Contains(text, "commands: [get]") || strings.Contains(text, "keys") || strings.Contains(text, "networks") {
			t.Errorf("it learned\n%s", text)
		}
	case <-time.After(patience):
		t.Fatal("policy learn did not end")
	}
	if text := s.body("/api/v1/policy"); !strings.Contains(text, `"running": false`) {
		t.Errorf("the run goes on: %s", text)
	}
}
