//go:build linux

package registry

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// manyScripts declares n scripts beside which.
func manyScripts(n int) object {
	list := []object{{"name": "which", "active": "v1", "versions": versions("return 'v1'", "return redis.call('GET', KEYS[1]) or 'none'")}}
	for i := range n {
		list = append(list, object{"name": "s" + strconv.Itoa(i), "versions": versions(fmt.Sprintf("return %d + %d", i, i))})
	}
	return object{"list": list}
}

// cached is how many scripts a server holds.
func cached(t *testing.T, s *redisserver.Server) int {
	t.Helper()
	n, err := strconv.Atoi(s.Info("memory")["number_of_cached_scripts"])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// junk loads n scripts that nobody calls, behind the proxy's back.
func junk(t *testing.T, s *redisserver.Server, n int) {
	t.Helper()
	c := s.Client()
	for i := range n {
		if err := c.Send("SCRIPT", "LOAD", fmt.Sprintf("return 'junk %d'", i)); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		if v, err := c.Receive(); err != nil {
			t.Fatal(v, err)
		}
	}
}

// load is clients that call in every form, and take note of each answer that is not what it should be.
type load struct {
	stop  atomic.Bool
	wg    sync.WaitGroup
	mu    sync.Mutex
	calls atomic.Int64
	wrong map[string]int
}

func (l *load) note(what string, reply any, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wrong == nil {
		l.wrong = map[string]int{}
	}
	l.wrong[fmt.Sprintf("%s: %v %v", what, reply, err)]++
}

// client runs one round after the other; a round sends requests together and wants the replies.
func (l *load) client(addr string, round func(i int) (requests [][]any, replies []any)) {
	l.wg.Go(func() {
		c, err := redisserver.DialClient(addr, "")
		if err != nil {
			l.note("dial", nil, err)
			return
		}
		defer c.Close()
		for i := 0; !l.stop.Load(); i++ {
			requests, replies := round(i)
			for _, r := range requests {
				if err := c.Send(r...); err != nil {
					l.note("send", nil, err)
					return
				}
			}
			for j, want := range replies {
				got, err := c.Receive()
				if err != nil {
					l.note("receive", nil, err)
					return
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					l.note(fmt.Sprintf("%v", requests[min(j, len(requests)-1)]), got, nil)
				}
				l.calls.Add(1)
			}
		}
	})
}

// forgive drops notes that contain a text.
func (l *load) forgive(text string) {
	l.stop.Store(true)
	l.wg.Wait()
	for what := range l.wrong {
		if strings.Contains(what, text) {
			delete(l.wrong, what)
		}
	}
}

func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop.Store(true)
	l.wg.Wait()
	for what, n := range l.wrong {
		t.Errorf("%d times %s", n, what)
	}
	t.Logf("%d calls", l.calls.Load())
}

func TestCompactionUnderLoadIsSeenByNoClient(t *testing.T) {
	primary, replica := redisserver.StartPair(t)
	const registered = 600
	p := newProxy(t, object{
		"scripts": manyScripts(registered),
		"routing": object{"reads": "replica", "fallback": "error", "max_lag": "10s", "consistency": "eventual"},
	}, primary, replica).start()
	warm := p.client()
	await(t, "the replica takes reads", func() bool { return fmt.Sprint(do(t, warm, "EVALSHA", "s1", 0)) == "2" })
	l := &load{}
	sum := func(i int) string { return "s" + strconv.Itoa(i%registered) }
	for k := range 8 {
		own := fmt.Sprintf("return 'own %d'", k)
		l.client(p.addr, func(i int) ([][]any, []any) { // by name, all of them in turn
			i = i*7 + k
			return [][]any{{"EVALSHA", sum(i), 0}}, []any{2 * (i % registered)}
		})
		l.client(p.addr, func(int) ([][]any, []any) { // a client's own script, by body and by sha
			return [][]any{{"EVAL", own, 0}, {"EVALSHA", registry.SHA([]byte(own)), 0}}, []any{fmt.Sprintf("own %d", k), fmt.Sprintf("own %d", k)}
		})
		l.client(p.addr, func(i int) ([][]any, []any) { // a pipeline
			var r [][]any
			var want []any
			for j := range 10 {
				r = append(r, []any{"EVALSHA", sum(i + j), 0})
				want = append(want, 2*((i+j)%registered))
			}
			return r, want
		})
		l.client(p.addr, func(i int) ([][]any, []any) { // a transaction
			return [][]any{{"MULTI"}, {"EVALSHA", sum(i), 0}, {"SET", "k", i}, {"EVALSHA", sum(i), 0}, {"EXEC"}},
				[]any{"OK", "QUEUED", "QUEUED", "QUEUED", []any{int64(2 * (i % registered)), "OK", int64(2 * (i % registered))}}
		})
	}
	time.Sleep(300 * time.Millisecond)
	for round := range 4 {
		junk(t, primary, 1000)
		junk(t, replica, 1000)
		out := p.must("script", "compact", "-yes")
		if lines := strings.Count(out, "loaded again"); lines != 2 || strings.Index(out, replica.Addr()) > strings.Index(out, primary.Addr()) {
			t.Errorf("round %d: it says\n%s", round, out)
		}
		for _, s := range []*redisserver.Server{primary, replica} {
			if n := cached(t, s); n < registered || n > registered+100 {
				t.Errorf("round %d: %s holds %d scripts after the compaction", round, s.Addr(), n)
			}
		}
	}
	// A machine that stands still for half a second makes a node look busy, with or without a compaction.
	if strings.Contains(p.Log(), "node is busy") {
		l.forgive("no replica is fit for a read")
	}
	l.end(t)
	t.Log(p.must("script", "cache", "-limit", "3"))
}

func TestCompactionDoesNotLoseScriptsThatOnlyTheServersKnow(t *testing.T) {
	primary := redisserver.Start(t)
	p := newProxy(t, object{"scripts": manyScripts(3)}, primary).start()
	body := "return 'only here'"
	primary.Do("SCRIPT", "LOAD", body)
	c := p.client()
	if v := do(t, c, "EVALSHA", registry.SHA([]byte(body)), 0); v != "only here" {
		t.Fatalf("the server's own script answers %v", v)
	}
	r := p.cli("script", "compact", "-yes")
	if r.code != 1 || !strings.Contains(r.stderr, registry.SHA([]byte(body))) || !strings.Contains(r.stderr, "-force") {
		t.Errorf("status %d: %s", r.code, r.stderr)
	}
	if v := do(t, c, "EVALSHA", registry.SHA([]byte(body)), 0); v != "only here" {
		t.Errorf("it was lost: %v", v)
	}
	p.must("script", "compact", "-yes", "-force")
	if v := do(t, c, "EVALSHA", registry.SHA([]byte(body)), 0); fmt.Sprint(v) != "NOSCRIPT No matching script. Please use EVAL." {
		t.Errorf("after a compaction by force it answers %v", v)
	}
	do(t, c, "EVAL", body, 0)
	p.must("script", "compact", "-yes")
	if v := do(t, c, "EVALSHA", registry.SHA([]byte(body)), 0); v != "only here" {
		t.Errorf("the client brought it, and it answers %v", v)
	}
	if r := p.cli("script", "compact", "-yes", "-node", "127.0.0.1:1"); r.code != 1 || !strings.Contains(r.stderr, "there are "+primary.Addr()) {
		t.Errorf("a node that is none: status %d, %s", r.code, r.stderr)
	}
}

func TestCacheThatGrowsIsCompactedByItself(t *testing.T) {
	primary := redisserver.Start(t)
	scripts := manyScripts(50)
	scripts["compact"] = object{"max_scripts": 300, "keep": "200ms", "check_interval": "100ms"}
	p := newProxy(t, object{"scripts": scripts}, primary).start()
	l := &load{}
	l.client(p.addr, func(i int) ([][]any, []any) {
		return [][]any{{"EVALSHA", "s" + strconv.Itoa(i%50), 0}}, []any{2 * (i % 50)}
	})
	c := p.client()
	most := 0
	for i, deadline := 0, time.Now().Add(patience); ; i++ {
		// Data in the body, as some clients have it: another script each time.
		if v := do(t, c, "EVAL", fmt.Sprintf("return redis.call('GET', 'user:%d') or 'none'", i), 0); v != "none" {
			t.Fatalf("EVAL answers %v", v)
		}
		if i%50 != 0 {
			continue
		}
		n := cached(t, primary)
		most = max(most, n)
		if most > 300 && n < 250 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server holds %d scripts, and held up to %d", n, most)
		}
	}
	l.end(t)
	_, cache := p.api(http.MethodGet, "/api/v1/cache", nil)
	shapes := cache["shapes"].([]any)
	if len(shapes) == 0 || shapes[0].(object)["shape"] != "return redis.call('GET', ?) or ?" {
		t.Errorf("the shapes are %v", shapes)
	}
	if !strings.Contains(p.Log(), "differ only in literals") {
		t.Error("nobody is warned of data in bodies")
	}
}

func TestRetiredVersionIsRefusedAndUnloaded(t *testing.T) {
	primary := redisserver.Start(t)
	p := newProxy(t, object{"scripts": declare("which", "return 'v1'", "return 'v2'")}, primary).start()
	c := p.client()
	old := registry.SHA([]byte("return 'v1'"))
	do(t, c, "EVALSHA", "which@v1", 0)
	if r := p.cli("script", "retire", "-yes", "which", "v1"); r.code != 1 || !strings.Contains(r.stderr, "is the active version") {
		t.Errorf("the active version: status %d, %s", r.code, r.stderr)
	}
	p.must("script", "activate", "-yes", "which", "v2")
	out := p.must("script", "retire", "-yes", "-compact", "which", "v1")
	if !strings.Contains(out, "retire v1") || !strings.Contains(out, "loaded again") {
		t.Errorf("it says %s", out)
	}
	for _, call := range [][]any{{"EVALSHA", "which@v1", 0}, {"EVALSHA", old, 0}} {
		if v := do(t, c, call...); fmt.Sprint(v) != "NOSCRIPT No matching script. Please use EVAL." {
			t.Errorf("%v answers %v", call, v)
		}
	}
	if v := do(t, c, "EVALSHA", "which", 0); v != "v2" {
		t.Errorf("the active version answers %v", v)
	}
	if there := primary.Do("SCRIPT", "EXISTS", old); fmt.Sprint(there) != "[0]" {
		t.Errorf("the server says %v of the retired version", there)
	}
	p.must("script", "retire", "-yes", "-answer", "denied", "which", "v1")
	if v := do(t, c, "EVALSHA", "which@v1", 0); fmt.Sprint(v) != "DENIED script 'which' version v1 is retired" {
		t.Errorf("it answers %v", v)
	}
	p.must("script", "retire", "-yes", "-undo", "which", "v1")
	if v := do(t, c, "EVALSHA", "which@v1", 0); v != "v1" {
		t.Errorf("taken back into use it answers %v", v)
	}
}
