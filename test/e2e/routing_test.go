//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// calls is how often a server was asked to run a command since its start, by INFO commandstats; calls that it refused included.
func calls(s *redisserver.Server, command string) int {
	n := 0
	for field := range strings.SplitSeq(s.Info("commandstats")["cmdstat_"+command], ",") {
		name, value, _ := strings.Cut(field, "=")
		if name == "calls" || name == "rejected_calls" {
			count, err := strconv.Atoi(value)
			if err != nil {
				panic(fmt.Sprintf("commandstats: %q", field))
			}
			n += count
		}
	}
	return n
}

// onReplica waits until the proxy sends a read script to the replica: from then on it does so unless something changes.
func onReplica(p *proxy, replica *redisserver.Server, name string) {
	p.t.Helper()
	c := p.client()
	p.Eventually("send reads to the replica", func() error {
		before := readCalls(replica, p.t)
		c.Do("EVALSHA", name, "1", "k")
		if readCalls(replica, p.t) == before {
			return fmt.Errorf("the call of %s went elsewhere", name)
		}
		return nil
	})
}

const (
	readBody  = "return redis.call('GET', KEYS[1])"
	writeBody = "return redis.call('SET', KEYS[1], ARGV[1])"
)

func TestReadScriptsRunOnTheReplicaAsReadOnlyCalls(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	primary.Do("SET", "k", "value")
	redisserver.WaitReplica(t, primary, replica)
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("read", []string{readBody}))
	onReplica(p, replica, "read")
	primary.Do("CONFIG", "RESETSTAT")
	replica.Do("CONFIG", "RESETSTAT")
	c := p.client()
	forms := [][]string{
		{"EVALSHA", "read", "1", "k"}, {"EVALSHA", "read@v1", "1", "k"}, {"EVALSHA", shaOf(readBody), "1", "k"}, {"EVAL", readBody, "1", "k"},
	}
	if since(t, 7, 0) {
		forms = append(forms, []string{"EVALSHA_RO", "read", "1", "k"}, []string{"EVAL_RO", readBody, "1", "k"})
	}
	for _, call := range forms {
		if got := c.Do(call...); got != bulk("value") {
			t.Errorf("%.60q: %q", call, got)
		}
	}
	if got := readCalls(replica, t); got != len(forms) {
		t.Errorf("the replica ran %d read-only calls, want %d", got, len(forms))
	}
	for _, verb := range []string{"eval", "evalsha", "eval_ro", "evalsha_ro"} {
		if got := calls(primary, verb); got != 0 {
			t.Errorf("the primary ran %s %d times", verb, got)
		}
	}
}

func TestScriptsThatMayWriteRunOnThePrimary(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	// Each is a form in which a write hides from a search for redis.call('SET'.
	bodies := map[string]string{
		"plain":     writeBody,
		"alias":     "local call = redis.call; return call('SET', KEYS[1], ARGV[1])",
		"index":     "return redis['call']('SET', KEYS[1], ARGV[1])",
		"pcall":     "return redis.pcall('SET', KEYS[1], ARGV[1])",
		"lowercase": "return redis.call('set', KEYS[1], ARGV[1])",
		"dynamic":   "return redis.call(ARGV[2], KEYS[1], ARGV[1])",
		"table":     "local r = redis; return r.call('SET', KEYS[1], ARGV[1])",
	}
	opts := []option{script("read", []string{readBody})}
	for name, body := range bodies {
		opts = append(opts, script(name, []string{body}))
	}
	p := startProxy(t, primary, []*redisserver.Server{replica}, opts...)
	onReplica(p, replica, "read")
	replica.Do("CONFIG", "RESETSTAT")
	c := p.client()
	for name := range bodies {
		if got := c.Do("EVALSHA", name, "1", "key:"+name, "value", "SET"); got != ok {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, verb := range []string{"evalsha", "evalsha_ro", "eval", "eval_ro"} {
		if got := calls(replica, verb); got != 0 {
			t.Errorf("the replica got %s %d times", verb, got)
		}
	}
}

// TestBodyOfAReadScriptNeedsTheRightToEval: that a call goes to a replica by its sha gives nobody a right. The body of a registered
// script is another thing: who may call it may name it as they like.
func TestBodyOfAReadScriptNeedsTheRightToEval(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	for _, s := range []*redisserver.Server{primary, replica} {
		for user, rules := range map[string][]any{"shas": {"-eval", "-eval_ro"}, "plain": {"-eval_ro", "-evalsha_ro"}, "all": nil} {
			if !since(t, 7, 0) {
				rules = map[string][]any{"shas": {"-eval"}}[user]
			}
			s.Do(append([]any{"ACL", "SETUSER", user, "on", ">pw", "~*", "+@all"}, rules...)...)
		}
	}
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("read", []string{readBody}))
	onReplica(p, replica, "read")
	primary.Do("SET", "k", "value")
	redisserver.WaitReplica(t, primary, replica)
	unknown := readBody + " -- not registered"
	as := map[string]*client{}
	for _, user := range []string{"shas", "plain", "all"} {
		as[user] = p.client()
		as[user].Do("AUTH", user, "pw")
	}
	for user, call := range map[string][]string{"all": {"EVAL", unknown, "1", "k"}, "shas": {"EVALSHA", "read", "1", "k"}} {
		p.Eventually("run what "+user+" calls on the replica", func() error {
			before := readCalls(replica, t)
			if got := as[user].Do(call...); got != bulk("value") {
				return fmt.Errorf("answered %q", got)
			}
			if readCalls(replica, t) == before {
				return errors.New("it runs elsewhere")
			}
			return nil
		})
	}
	for range 2 {
		for user, call := range map[string][]string{"all": {"EVAL", unknown, "1", "k"}, "plain": {"EVAL", unknown, "1", "k"}, "shas": {"EVALSHA", "read", "1", "k"}} {
			if got := as[user].Do(call...); got != bulk("value") {
				t.Errorf("%s, %.20q: %q", user, call, got)
			}
		}
		if got := as["shas"].Do("EVAL", unknown, "1", "k"); !strings.HasPrefix(got, "-NOPERM ") {
			t.Errorf("a body of one who may only call by sha: %q", got)
		}
	}
}

func TestScriptsThatOnlyReadAreFoundOutInEveryForm(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	bodies := map[string]string{
		"alias":      "local call = redis.call; return call('GET', KEYS[1])",
		"index":      "return redis['call']('GET', KEYS[1])",
		"pcall":      "return redis.pcall('GET', KEYS[1])",
		"flag":       "#!lua flags=no-writes\nreturn redis.call(ARGV[1], KEYS[1])",
		"configured": "return redis.call(ARGV[1], KEYS[1])",
		"pure":       "return 7",
	}
	if !since(t, 7, 0) {
		delete(bodies, "flag")
	}
	var opts []option
	for name, body := range bodies {
		class := "auto"
		if name == "configured" {
			class = "read"
		}
		opts = append(opts, script(name, []string{body}, "class", class))
	}
	p := startProxy(t, primary, []*redisserver.Server{replica}, opts...)
	onReplica(p, replica, "pure")
	replica.Do("CONFIG", "RESETSTAT")
	c := p.client()
	for name := range bodies {
		c.Do("EVALSHA", name, "1", "k", "GET")
	}
	if got := readCalls(replica, t); got != len(bodies) {
		t.Errorf("the replica ran %d of %d scripts", got, len(bodies))
	}
}

func TestScriptConfiguredAsWriteRunsOnThePrimary(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica},
		script("read", []string{readBody}), script("fresh", []string{"return redis.call('GET', KEYS[1])  -- needs the newest"}, "class", "write"))
	onReplica(p, replica, "read")
	primary.Do("CONFIG", "RESETSTAT")
	p.client().Do("EVALSHA", "fresh", "1", "k")
	if got := calls(primary, "evalsha"); got != 1 {
		t.Errorf("the primary ran %d calls, want 1", got)
	}
}

func TestScriptThatAReplicaRefusesGoesToThePrimaryAndIsRemembered(t *testing.T) {
	t.Parallel()
	bodies := map[string]string{"without a shebang": writeBody}
	if since(t, 7, 0) {
		bodies["with a shebang"] = "#!lua\nreturn redis.call('SET', KEYS[1], ARGV[1])"
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			primary, replica := redisserver.StartPair(t)
			p := startProxy(t, primary, []*redisserver.Server{replica},
				script("read", []string{readBody}), script("wrong", []string{body}, "class", "read"))
			onReplica(p, replica, "read")
			replica.Do("CONFIG", "RESETSTAT")
			primary.Do("CONFIG", "RESETSTAT")
			for i := range 3 {
				c := p.client() // each new: it has no writes of its own that would keep it on the primary
				if got := c.Do("EVALSHA", "wrong", "1", "k", fmt.Sprint(i)); got != ok {
					t.Fatalf("call %d: %q", i, got)
				}
				if got := primary.Do("GET", "k"); got != fmt.Sprint(i) {
					t.Errorf("call %d left %v", i, got)
				}
			}
			if got := readCalls(replica, t); got != 1 {
				t.Errorf("the replica was asked %d times, want once", got)
			}
		})
	}
}

func TestPipelineBehindAScriptThatAReplicaRefusesSeesItsWrite(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica},
		script("read", []string{readBody}), script("wrong", []string{writeBody}, "class", "read"))
	onReplica(p, replica, "read")
	c := p.client()
	c.Send(request("EVALSHA", "read", "1", "k") + request("EVALSHA", "wrong", "1", "k", "new") + request("EVALSHA", "read", "1", "k") + request("EVALSHA", "read", "1", "k"))
	c.Want(null, ok, bulk("new"), bulk("new"))
}

func TestReadScriptsRunOnThePrimaryWhenNoReplicaWillDo(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	primary.Do("SET", "k", "value")
	redisserver.WaitReplica(t, primary, replica)
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("read", []string{readBody}))
	onReplica(p, replica, "read")
	c := p.client()
	replica.Kill()
	for range 20 {
		if got := c.Do("EVALSHA", "read", "1", "k"); got != bulk("value") {
			t.Fatalf("after the replica was killed: %q", got)
		}
	}
	if got := calls(primary, "evalsha"); got == 0 {
		t.Error("the primary ran no call")
	}
	replica.Restart()
	redisserver.WaitReplica(t, primary, replica)
	onReplica(p, replica, "read")
}

func TestRoutingFallbackErrorRefusesReadsWithoutAReplica(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("read", []string{readBody}), set("routing.fallback", "error"))
	onReplica(p, replica, "read")
	replica.Kill()
	c := p.client()
	p.Eventually("notice that the replica is gone", func() error {
		if got := c.Do("EVALSHA", "read", "1", "k"); !strings.HasPrefix(got, "-UNAVAILABLE ") || !strings.HasSuffix(got, "did not run\r\n") {
			return fmt.Errorf("answer %q", got)
		}
		return nil
	})
	if got := c.Do("SET", "k", "v"); got != ok {
		t.Errorf("a write: %q", got)
	}
}

func TestReplicaThatLagsGetsNoReads(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	primary.Do("SET", "k", "old")
	redisserver.WaitReplica(t, primary, replica)
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("read", []string{readBody}), set("routing.max_lag", "200ms"))
	onReplica(p, replica, "read")
	// The replica goes on serving what it has while the link to its primary is cut.
	replica.Do("REPLICAOF", "127.0.0.1", "1")
	primary.Do("SET", "k", "new")
	c := p.client()
	p.Eventually("turn to the primary", func() error {
		if got := c.Do("EVALSHA", "read", "1", "k"); got != bulk("new") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	before := readCalls(replica, t)
	for range 50 {
		if got := c.Do("EVALSHA", "read", "1", "k"); got != bulk("new") {
			t.Fatalf("after turning to the primary: %q", got)
		}
	}
	if after := readCalls(replica, t); after != before {
		t.Errorf("the replica ran %d calls, then %d", before, after)
	}
}

func TestClientReadsItsOwnWritesWhateverTheReplicaHas(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica},
		script("read", []string{readBody}), script("write", []string{writeBody}), set("routing.reads", "replica"))
	onReplica(p, replica, "read")
	const clients, rounds = 20, 300
	errs := make(chan error, clients)
	for i := range clients {
		c := p.redis()
		go func() {
			key := fmt.Sprint("own:", i)
			for n := range rounds {
				want := fmt.Sprint(n)
				if err := c.EvalSha(background, "write", []string{key}, want).Err(); err != nil {
					errs <- err
					return
				}
				var got string
				var err error
				if n%2 == 0 {
					got, err = c.EvalSha(background, "read", []string{key}).Text()
				} else {
					got, err = c.Get(background, key).Result()
				}
				if err != nil || got != want {
					errs <- fmt.Errorf("%s: wrote %s and read %q, %v", key, want, got, err)
					return
				}
				if n%50 == 0 {
					time.Sleep(250 * time.Millisecond) // long enough for the replica to be known to have it
				}
			}
			errs <- nil
		}()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if readCalls(replica, t) == 0 || calls(replica, "get") == 0 {
		t.Error("the replica served no read")
	}
}

func TestRoutingReadsSaysWherePlainCommandsRead(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	for reads, want := range map[string]*redisserver.Server{"primary": primary, "replica": replica} {
		p := startProxy(t, primary, []*redisserver.Server{replica}, set("routing.reads", reads), script("read", []string{readBody}))
		onReplica(p, replica, "read")
		primary.Do("CONFIG", "RESETSTAT")
		replica.Do("CONFIG", "RESETSTAT")
		c := p.redis()
		if err := c.Get(background, "nothing").Err(); err != redis.Nil {
			t.Fatal(err)
		}
		if got := calls(want, "get"); got != 1 {
			t.Errorf("reads: %s: that server got %d GETs", reads, got)
		}
	}
}
