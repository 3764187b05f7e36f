//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// scriptCalls are the series of scriptproxy_script_calls_total, by "script version route outcome".
func scriptCalls(p *proxy) map[string]float64 {
	p.t.Helper()
	got := map[string]float64{}
	for series, v := range p.Metrics() {
		labels, ok := strings.CutPrefix(series, "scriptproxy_script_calls_total{")
		if !ok {
			continue
		}
		value := map[string]string{}
		for pair := range strings.SplitSeq(strings.TrimSuffix(labels, "}"), ",") {
			name, quoted, _ := strings.Cut(pair, "=")
			value[name] = strings.Trim(quoted, `"`)
		}
		got[strings.Join(strings.Fields(value["script"]+" "+value["version"]+" "+value["route"]+" "+value["outcome"]), " ")] = v
	}
	return got
}

func TestScriptCallsAreCountedExactly(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica}, set("loops", 2),
		script("which", twoVersions, "class", "write"), script("read", []string{readBody}),
		script("fails", []string{"return redis.call('INCR', KEYS[1])"}), script("pooled", []string{appendBody}))
	onReplica(p, replica, "read")
	before := scriptCalls(p)
	p.redis().Set(background, "text", "abc", 0)
	c := p.client()
	times := func(n int, args ...string) {
		t.Helper()
		for range n {
			c.Do(args...)
		}
	}
	times(5, "EVALSHA", "which", "1", "k", "a")
	times(4, "EVALSHA", "which@v1", "1", "k", "a")
	times(3, "EVALSHA", shaOf(twoVersions[0]), "1", "k", "a")
	times(2, "EVAL", twoVersions[1], "1", "k", "a")
	times(6, "EVALSHA", "fails", "1", "text")
	times(7, "EVALSHA", "nobody", "0")
	times(8, "EVALSHA", shaOf("nothing"), "0")
	times(9, "EVAL", "return redis.call('SET', KEYS[1], 'x')", "1", "k")
	p.client().Do("EVALSHA", "read", "1", "k")
	c.Send(request("MULTI") + request("EVALSHA", "pooled", "1", "list", "x") + request("EVALSHA", "pooled", "1", "list", "x") + request("EXEC"))
	for range 4 {
		c.Reply()
	}
	const clients, each = 20, 50
	errs := make(chan error, clients)
	for range clients {
		r := p.redis()
		go func() {
			pipe := r.Pipeline()
			for range each {
				pipe.EvalSha(background, "pooled", []string{"list"}, "x")
			}
			_, err := pipe.Exec(background)
			errs <- err
		}()
	}
	for range clients {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]float64{
		"which v2 primary ok": 10, "which v1 primary ok": 4, "fails v1 primary error": 6,
		"unregistered local noscript": 7, "unregistered primary noscript": 8, "unregistered primary ok": 9,
		"read v1 replica ok": before["read v1 replica ok"] + 1, "read v1 primary ok": before["read v1 primary ok"],
		"pooled v1 primary ok": clients*each + 2,
	}
	got := scriptCalls(p)
	for series, n := range want {
		if got[series] != n {
			t.Errorf("%s: %v, want %v", series, got[series], n)
		}
		delete(got, series)
	}
	for series, n := range got {
		t.Errorf("%s: %v, want none", series, n)
	}
	if n := p.Metrics()[`scriptproxy_script_duration_seconds_count{route="primary",script="which"}`]; n != 14 {
		t.Errorf("%v durations of which, want 14", n)
	}
}

func TestMetricsTellWhatIsThere(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("which", twoVersions))
	a, b := p.client(), p.client()
	a.Do("PING")
	b.Do("SET", "k", "v")
	b.Do("GET", "k")
	b.Send(request("SUBSCRIBE", "news"))
	b.Reply()
	m := p.Metrics()
	for series, want := range map[string]float64{
		"scriptproxy_sessions":                                                                                             2,
		`scriptproxy_ping_total{answer="pong"}`:                                                                            1,
		`scriptproxy_requests_total{class="write"}`:                                                                        1,
		`scriptproxy_requests_total{class="read"}`:                                                                         2, // GET, SUBSCRIBE
		`scriptproxy_requests_total{class="local"}`:                                                                        1, // PING
		"scriptproxy_config_last_reload_successful":                                                                        1,
		"scriptproxy_registry_revision":                                                                                    m["scriptproxy_registry_revision"],
		fmt.Sprintf(`scriptproxy_upstream_up{node="%s",role="primary"}`, primary.Addr()):                                   1,
		fmt.Sprintf(`scriptproxy_upstream_up{node="%s",role="replica"}`, replica.Addr()):                                   1,
		fmt.Sprintf(`scriptproxy_upstream_busy{node="%s"}`, primary.Addr()):                                                0,
		fmt.Sprintf(`scriptproxy_links{kind="shared",node="%s"}`, primary.Addr()):                                          1,
		fmt.Sprintf(`scriptproxy_links{kind="dedicated",node="%s"}`, primary.Addr()):                                       1,
		fmt.Sprintf(`scriptproxy_script_active_version_info{script="which",sha="%s",version="v2"}`, shaOf(twoVersions[1])): 1,
	} {
		if got, there := m[series]; !there || got != want {
			t.Errorf("%s is %v (there: %v), want %v", series, got, there, want)
		}
	}
	for _, name := range []string{"go_goroutines", "process_open_fds", "process_resident_memory_bytes"} {
		if m[name] <= 0 {
			t.Errorf("%s is %v", name, m[name])
		}
	}
	primary.Do("SCRIPT", "FLUSH")
	a.Do("EVALSHA", "which", "1", "k", "a")
	if got := p.Metrics()[fmt.Sprintf(`scriptproxy_script_heals_total{node="%s"}`, primary.Addr())]; got != 1 {
		t.Errorf("%v heals after one", got)
	}
}

// slowEntry is one entry of the slow log.
type slowEntry struct {
	When                                            time.Time
	Name, Version, SHA, Node, Client, User, Outcome string
	Duration                                        time.Duration `json:"duration_ns"`
	Keys                                            int
	Args                                            []string
}

func slowLog(p *proxy) (entries []slowEntry, text string) {
	p.t.Helper()
	status, text := p.Get("/api/v1/slowlog")
	var answer struct{ Entries []slowEntry }
	if err := json.Unmarshal([]byte(text), &answer); status != 200 || err != nil {
		p.t.Fatalf("/api/v1/slowlog: %d %v %s", status, err, text)
	}
	return answer.Entries, text
}

func TestSlowLogTellsOfACallButNotItsArguments(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	slow := "for i = 1, 20000000 do end; return redis.call('SET', KEYS[1], ARGV[1])"
	failing := "for i = 1, 20000000 do end; return redis.error_reply('OOPS it failed')"
	p := startProxy(t, server, nil, set("scripts.slow_after", "10s"),
		script("slow", []string{"return 1", slow}, "slow_after", "20ms"), script("failing", []string{failing}, "slow_after", "20ms"),
		script("quick", []string{appendBody}))
	c := p.client()
	before := time.Now()
	c.Do("EVALSHA", "slow", "2", "secret-key", "another", "secret-argument")
	c.Do("EVALSHA", "failing", "0", "secret-argument")
	c.Do("EVALSHA", "quick", "1", "list", "x")
	entries, text := slowLog(p)
	if len(entries) != 2 {
		t.Fatalf("%d entries, want 2: %s", len(entries), text)
	}
	if strings.Contains(text, "secret") || strings.Contains(text, "another") {
		t.Errorf("the slow log tells keys or arguments: %s", text)
	}
	failed, slowed := entries[0], entries[1]
	if failed.Name != "failing" {
		failed, slowed = slowed, failed
	}
	want := slowEntry{Name: "slow", Version: "v2", SHA: shaOf(slow), Node: server.Addr(), Client: c.Conn.LocalAddr().String(), User: slowed.User, Outcome: "ok", Keys: 2}
	want.When, want.Duration = slowed.When, slowed.Duration
	if fmt.Sprint(slowed) != fmt.Sprint(want) {
		t.Errorf("the entry is %+v, want %+v", slowed, want)
	}
	if slowed.When.Before(before) || slowed.When.After(time.Now()) || slowed.Duration < 20*time.Millisecond || slowed.Duration > time.Since(before) {
		t.Errorf("when %v, for %v", slowed.When, slowed.Duration)
	}
	if failed.Name != "failing" || failed.Outcome != "error" || failed.Keys != 0 {
		t.Errorf("the failed call: %+v", failed)
	}
	m := p.Metrics()
	if m[`scriptproxy_slow_scripts_total{script="slow"}`] != 1 || m[`scriptproxy_slow_scripts_total{script="failing"}`] != 1 || m[`scriptproxy_slow_scripts_total{script="quick"}`] != 0 {
		t.Error("scriptproxy_slow_scripts_total does not say so")
	}
}

func TestSlowLogTellsArgumentsWhenAskedTo(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, set("slowlog.arguments", true),
		script("slow", []string{"for i = 1, 20000000 do end"}, "slow_after", "20ms"))
	p.client().Do("EVALSHA", "slow", "1", "the-key", "the-argument")
	entries, text := slowLog(p)
	if len(entries) != 1 || !strings.Contains(text, "the-key") || !strings.Contains(text, "the-argument") {
		t.Errorf("%s", text)
	}
}

func TestTimeOfACallIsThatOnTheNodeAndNotInTheQueue(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("slow", []string{"for i = 1, 50000000 do end"}, "slow_after", "20ms"), script("quick", []string{appendBody}, "slow_after", "20ms"))
	a, b := p.client(), p.client()
	a.Send(request("EVALSHA", "slow", "0"))
	time.Sleep(10 * time.Millisecond)
	b.Do("EVALSHA", "quick", "1", "list", "x")
	a.Reply()
	entries, text := slowLog(p)
	if len(entries) != 1 || entries[0].Name != "slow" {
		t.Errorf("waiting behind another script was charged to the quick one: %s", text)
	}
}

func TestAdminTokensGuardTheMetrics(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte("s3cret-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProxy(t, redisserver.Start(t), nil, set("admin.tokens.read_file", file), set("admin.tokens.admin_file", file))
	for _, path := range []string{"/metrics", "/api/v1/slowlog"} {
		if status, _ := p.Get(path); status != 401 {
			t.Errorf("GET %s without a token: %d", path, status)
		}
	}
	if status, _ := p.Get("/livez"); status != 200 {
		t.Errorf("GET /livez: %d", status)
	}
	if strings.Contains(p.Log(), "s3cret-token") {
		t.Error("the log tells the token")
	}
}

func TestRequestsAreCountedOnceAlsoWhenTheyHaveToWait(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, set("limits.max_client_pending", 3), set("upstream.links.max_pending", 5), script("append", []string{large(appendBody)}))
	c := p.client()
	c.Send(strings.Repeat(request("GET", "k")+request("EVALSHA", "append", "1", "list", "x")+request("PING"), 300) + request("MULTI") + strings.Repeat(request("SET", "k", "v"), 100) + request("EXEC"))
	for range 3*300 + 102 {
		c.Reply()
	}
	m := p.Metrics()
	for class, want := range map[string]float64{"read": 300, "script": 300, "local": 300, "write": 102} {
		if got := m[fmt.Sprintf(`scriptproxy_requests_total{class="%s"}`, class)]; got != want {
			t.Errorf("%v %s requests, want %v", got, class, want)
		}
	}
}
