//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// markBody counts how often it ran for ARGV[1].
const markBody = "return redis.call('HINCRBY', KEYS[1], ARGV[1], 1)"

// fate is what a client was told of a write.
type fate uint8

const (
	applied fate = iota
	didNotRun
	mayHaveRun
)

// told reads an answer to a write. Anything but success and the two refusals is an error.
func told(reply any, err error) (fate, error) {
	switch {
	case err == nil && reply == int64(1):
		return applied, nil
	case err == nil:
		return 0, fmt.Errorf("the reply is %v, want 1: it ran more than once", reply)
	case strings.HasPrefix(err.Error(), "UNAVAILABLE ") && strings.HasSuffix(err.Error(), "did not run"),
		strings.HasPrefix(err.Error(), "LOADING "):
		return didNotRun, nil
	case strings.HasPrefix(err.Error(), "UNAVAILABLE ") && strings.HasSuffix(err.Error(), "may have run"):
		return mayHaveRun, nil
	}
	return 0, err
}

// TestEveryAnswerIsTrueWhenThePrimaryIsKilledUnderLoad kills the primary with SIGKILL, twice, under writes of several kinds, and compares what
// clients were told with what its append-only file has.
func TestEveryAnswerIsTrueWhenThePrimaryIsKilledUnderLoad(t *testing.T) {
	primary := redisserver.Start(t, redisserver.AOF())
	p := startProxy(t, primary, nil, script("mark", []string{markBody}), script("large", []string{large(markBody)}))
	const writers = 32
	var mu sync.Mutex
	fates := map[string]fate{}
	note := func(id string, reply any, err error) error {
		f, err := told(reply, err)
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		mu.Lock()
		defer mu.Unlock()
		fates[id] = f
		return nil
	}
	var stop atomic.Bool
	var working sync.WaitGroup
	errs := make(chan error, writers)
	for w := range writers {
		c := p.redis()
		working.Go(func() {
			for n := 0; !stop.Load(); n++ {
				if err := write(c, fmt.Sprintf("%d:%d", w, n), n, note); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	for range 2 {
		time.Sleep(400 * time.Millisecond)
		primary.Kill()
		time.Sleep(200 * time.Millisecond)
		primary.Restart()
	}
	p.AwaitReady()
	time.Sleep(400 * time.Millisecond)
	stop.Store(true)
	working.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}

	// What counts is what the file has, not what the last process remembers.
	primary.Kill()
	primary.Restart()
	items, isArray := primary.Do("HGETALL", "ran").([]any)
	if !isArray {
		t.Fatalf("HGETALL: %v", items)
	}
	ran := map[string]any{}
	for i := 0; i < len(items); i += 2 {
		ran[items[i].(string)] = items[i+1]
	}
	count := map[fate]int{}
	for id, f := range fates {
		count[f]++
		times, there := ran[id]
		switch {
		case there && times != "1":
			t.Errorf("%s ran %v times", id, times)
		case f == applied && !there:
			t.Errorf("%s was answered and is lost", id)
		case f == didNotRun && there:
			t.Errorf("%s did run", id)
		}
		delete(ran, id)
	}
	for id := range ran {
		t.Errorf("%s ran and nobody was answered", id)
	}
	t.Logf("%d applied, %d did not run, %d may have run", count[applied], count[didNotRun], count[mayHaveRun])
	if count[applied] == 0 || count[didNotRun] == 0 || count[mayHaveRun] == 0 {
		t.Error("the load did not meet every case")
	}
}

// write makes one write, or a pipeline of them.
func write(c *redis.Client, id string, n int, note func(string, any, error) error) error {
	switch n % 5 {
	case 0:
		reply, err := c.EvalSha(background, "mark", []string{"ran"}, id).Result()
		return note(id, reply, err)
	case 1:
		reply, err := c.EvalSha(background, "large", []string{"ran"}, id).Result()
		return note(id, reply, err)
	case 2:
		reply, err := c.HIncrBy(background, "ran", id, 1).Result()
		return note(id, reply, err)
	}
	pipe := c.Pipeline()
	var cmds []*redis.Cmd
	for i := range 8 {
		arg := fmt.Sprint(id, ":", i)
		switch i % 3 {
		case 0:
			cmds = append(cmds, pipe.EvalSha(background, "mark", []string{"ran"}, arg))
		case 1:
			cmds = append(cmds, pipe.Do(background, "HINCRBY", "ran", arg, 1))
		case 2:
			cmds = append(cmds, pipe.EvalSha(background, "large", []string{"ran"}, arg))
		}
	}
	pipe.Exec(background) // its error is that of one of the commands
	for i, cmd := range cmds {
		reply, err := cmd.Result()
		if err := note(fmt.Sprint(id, ":", i), reply, err); err != nil {
			return err
		}
	}
	return nil
}

func TestTransactionOnALostServerIsToldTruly(t *testing.T) {
	t.Parallel()
	primary := redisserver.Start(t)
	p := startProxy(t, primary, nil)
	c := p.client()
	c.Send(request("MULTI") + request("SET", "k", "v"))
	c.Want(ok, queued)
	primary.Kill()
	// Redis's own clients lose their connection here; so do those of the proxy, or they are told.
	c.Send(request("EXEC"))
	got, err := c.ReplyWithin(patience)
	if err == nil && !strings.HasPrefix(got, "-") {
		t.Errorf("EXEC on a server that is gone: %q", got)
	}
}

func TestReadsAreServedByTheReplicaWhileThePrimaryIsGone(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	primary.Do("SET", "k", "value")
	redisserver.WaitReplica(t, primary, replica)
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("read", []string{readBody}), set("routing.max_lag", "0"))
	onReplica(p, replica, "read")
	primary.Kill()
	c := p.client()
	for i := range 100 {
		if got := c.Do("EVALSHA", "read", "1", "k"); got != bulk("value") {
			t.Fatalf("read %d: %q", i, got)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if got := c.Do("SET", "k", "v"); !strings.HasPrefix(got, "-UNAVAILABLE ") || !strings.HasSuffix(got, "did not run\r\n") {
		t.Errorf("a write: %q", got)
	}
}
