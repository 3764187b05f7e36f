//go:build linux

package proxy_test

import (
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/proxy"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// govern puts a policy in force, with the script "counter" in its catalog.
func (h *hot) govern(tb testing.TB, spec policy.Spec, learner *proxy.Learner) *proxy.Policy {
	tb.Helper()
	catalog := policy.Catalog{
		Scripts:   []policy.Script{{Name: "counter", Version: "v1", SHA: h.table.All()[0].SHA, Commands: []string{"INCRBY"}}},
		Listeners: []string{"main"},
	}
	for c := range command.Embedded().All() {
		catalog.Commands = append(catalog.Commands, policy.Command{Name: c.Name, Categories: c.Categories})
	}
	set, err := policy.Compile(spec, catalog)
	if err != nil {
		tb.Fatal(err)
	}
	g := proxy.NewGeneration(h.server.Generation().ID+1, h.settings, command.Embedded(), h.table)
	g.Policy = h.server.NewPolicy(proxy.PolicyOptions{Set: set, Catalog: catalog, Commands: command.Embedded(), Scripts: h.table, Learner: learner})
	h.server.Apply(g)
	return g.Policy
}

// ask sends a pipeline at once and returns the replies in their order.
func ask(tb testing.TB, c net.Conn, commands ...string) []string {
	tb.Helper()
	var out []byte
	for _, line := range commands {
		out = resp.AppendCommand(out, strings.Fields(line)...)
	}
	if _, err := c.Write(out); err != nil {
		tb.Fatal(err)
	}
	var replies []string
	var framer resp.Reply
	var buf []byte
	scanned := 0
	chunk := make([]byte, 64<<10)
	for len(replies) < len(commands) {
		n, err := c.Read(chunk)
		if err != nil {
			tb.Fatalf("after %q: %v", replies, err)
		}
		buf = append(buf, chunk[:n]...)
		for scanned < len(buf) {
			used, done, err := framer.Scan(buf[scanned:])
			if err != nil {
				tb.Fatal(err)
			}
			scanned += used
			if done {
				replies = append(replies, strings.TrimSuffix(string(buf[:scanned]), "\r\n"))
				buf, scanned = buf[scanned:], 0
			}
			if used == 0 {
				break
			}
		}
	}
	return replies
}

func want(tb testing.TB, got []string, want ...string) {
	tb.Helper()
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			tb.Errorf("reply %d is %q, want %q", i+1, got[i], want[i])
		}
	}
}

func denyCommands(names ...string) policy.Rule {
	return policy.Rule{Name: "no-" + names[0], Match: policy.Match{Commands: names}, Action: policy.Deny, Message: "ask first"}
}

func TestADeniedRequestIsAnsweredInItsPlaceOfThePipeline(t *testing.T) {
	h := startHot(t)
	p := h.govern(t, policy.Spec{Mode: policy.ModeEnforce, Rules: []policy.Rule{
		denyCommands("flushall", "config|set"),
		{Name: "no-counter", Match: policy.Match{Scripts: []string{"counter"}, MinKeys: ptr(2)}, Action: policy.Deny},
		{Name: "registered-only", Match: policy.Match{Registered: new(bool)}, Action: policy.Deny, Message: "register it"},
	}}, nil)
	c := h.dial(t)
	want(t, ask(t, c, "SET a 1", "FLUSHALL", "GET a", "CONFIG SET maxmemory 1", "CONFIG GET port", "EVALSHA counter 1 n 5",
		"EVALSHA counter 2 n m 5", "EVAL return(1) 0", "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0", "GET n", "PING"),
		"+OK", "-DENIED command 'flushall': rule 'no-flushall': ask first", "$1\r\n1",
		"-DENIED command 'config|set': rule 'no-flushall': ask first")
	got := ask(t, c, "EVALSHA counter 2 n m 5", "EVAL return(1) 0", "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0", "GET n")
	want(t, got, "-DENIED script 'counter' version v1: rule 'no-counter'",
		"-DENIED script '930269f31393d0be681588b6ab08dccee7d6bb67': rule 'registered-only': register it",
		"-DENIED script 'ffffffffffffffffffffffffffffffffffffffff': rule 'registered-only': register it", "$1\r\n5")
	counts := p.Counts()
	if counts[0].Denied != 2 || counts[1].Denied != 2 || counts[2].Denied != 4 {
		t.Errorf("the rules denied %+v", counts)
	}
}

func ptr[T any](v T) *T { return &v }

func TestADeniedRequestInsideMULTIMakesEXECFail(t *testing.T) {
	h := startHot(t)
	h.govern(t, policy.Spec{Mode: policy.ModeEnforce, Rules: []policy.Rule{
		denyCommands("flushall"),
		{Name: "no-counter", Match: policy.Match{Scripts: []string{"counter"}}, Action: policy.Deny},
	}}, nil)
	const abort = "-EXECABORT Transaction discarded because of previous errors."
	c := h.dial(t)
	want(t, ask(t, c, "MULTI", "SET a 1", "FLUSHALL", "SET b 1", "EXEC", "GET a"),
		"+OK", "+QUEUED", "-DENIED command 'flushall': rule 'no-flushall': ask first", "+QUEUED", abort, "$-1")
	want(t, ask(t, c, "MULTI", "SET a 1", "EVALSHA counter 1 n 1", "EXEC", "GET a"),
		"+OK", "+QUEUED", "-DENIED script 'counter' version v1: rule 'no-counter'", abort, "$-1")
	want(t, ask(t, c, "MULTI", "FLUSHALL", "DISCARD", "SET a 2", "MULTI", "GET a", "EXEC"),
		"+OK", "-DENIED command 'flushall': rule 'no-flushall': ask first", "+OK", "+OK", "+OK", "+QUEUED", "*1\r\n$1\r\n2")
}

func TestADeniedEXECEndsItsTransaction(t *testing.T) {
	h := startHot(t)
	h.govern(t, policy.Spec{Mode: policy.ModeEnforce, Rules: []policy.Rule{denyCommands("exec")}}, nil)
	c := h.dial(t)
	want(t, ask(t, c, "MULTI", "SET a 1", "EXEC", "GET a", "EXEC"),
		"+OK", "+QUEUED", "-EXECABORT Transaction discarded because of: DENIED command 'exec': rule 'no-exec': ask first", "$-1",
		"-DENIED command 'exec': rule 'no-exec': ask first")
}

func TestAuditLetsEverythingRunAndCountsWhatItWouldDeny(t *testing.T) {
	h := startHot(t)
	p := h.govern(t, policy.Spec{Mode: policy.ModeAudit, Rules: []policy.Rule{
		denyCommands("flushall"),
		{Name: "slowly", Match: policy.Match{Scripts: []string{"counter"}}, Rates: []policy.Rate{{Per: policy.PerUser, Limit: 0.01, Burst: 1}}},
	}}, nil)
	c := h.dial(t)
	want(t, ask(t, c, "SET a 1", "FLUSHALL", "GET a", "EVALSHA counter 1 n 1", "EVALSHA counter 1 n 1"), "+OK", "+OK", "$-1", ":1", ":2")
	if counts := p.Counts(); counts[0].Audited != 1 || counts[0].Denied != 0 || counts[1].Limited != 1 {
		t.Errorf("the rules counted %+v", counts)
	}
}

func TestARateRefusesWhatIsAboveIt(t *testing.T) {
	h := startHot(t)
	h.govern(t, policy.Spec{Mode: policy.ModeEnforce, Rules: []policy.Rule{
		{Name: "two", Match: policy.Match{Scripts: []string{"counter"}}, Rates: []policy.Rate{{Per: policy.PerScript, Limit: 0.001, Burst: 2}}},
		{Name: "keys", Match: policy.Match{Commands: []string{"keys"}}, Rates: []policy.Rate{{Per: policy.PerUser, Limit: 0.001, Burst: 1}}},
	}}, nil)
	c := h.dial(t)
	want(t, ask(t, c, "EVALSHA counter 1 n 1", "EVALSHA counter 1 n 1", "EVALSHA counter 1 n 1", "KEYS none", "KEYS none", "GET n"),
		":1", ":2", "-LIMIT script 'counter' version v1: rule 'two': at most 0.001/s per script", "*0",
		"-LIMIT command 'keys': rule 'keys': at most 0.001/s per user", "$1\r\n2")
}

func TestAPlaceUnderAConcurrencyLimitIsHeldUntilTheCallHasEnded(t *testing.T) {
	h := startHot(t)
	spec := policy.Spec{Mode: policy.ModeEnforce, Rules: []policy.Rule{
		{Name: "one", Match: policy.Match{Scripts: []string{"counter"}}, MaxConcurrent: 1},
		{Name: "one-pop", Match: policy.Match{Commands: []string{"blpop"}}, MaxConcurrent: 1},
	}}
	h.govern(t, spec, nil)
	const limited = "-LIMIT script 'counter' version v1: rule 'one': at most 1 at the same time"
	a, b := h.dial(t), h.dial(t)

	// A queued call holds its place until EXEC, DISCARD, or the end of the client.
	want(t, ask(t, a, "MULTI", "EVALSHA counter 1 n 1"), "+OK", "+QUEUED")
	want(t, ask(t, b, "EVALSHA counter 1 n 1"), limited)
	want(t, ask(t, a, "EXEC"), "*1\r\n:1")
	want(t, ask(t, b, "EVALSHA counter 1 n 1", "MULTI", "EVALSHA counter 1 n 1", "DISCARD"), ":2", "+OK", "+QUEUED", "+OK")
	want(t, ask(t, b, "EVALSHA counter 1 n 1"), ":3")
	want(t, ask(t, a, "MULTI", "EVALSHA counter 1 n 1"), "+OK", "+QUEUED")
	a.Close()
	waitFor(t, func() bool { return ask(t, b, "EVALSHA counter 1 n 0")[0] == ":3" })

	// A command that blocks holds it until it is answered or its client goes.
	a = h.dial(t)
	if _, err := a.Write(resp.AppendCommand(nil, "BLPOP", "list", "0")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return h.redis.Info("clients")["blocked_clients"] == "1" })
	want(t, ask(t, b, "BLPOP list 0.001"), "-LIMIT command 'blpop': rule 'one-pop': at most 1 at the same time")
	a.Close()
	waitFor(t, func() bool { return ask(t, b, "BLPOP list 0.001")[0] == "*-1" })
}

// waitFor returns when a condition holds, and fails the test when it does not.
func waitFor(tb testing.TB, holds func() bool) {
	tb.Helper()
	for range 5000 {
		if holds() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	tb.Fatal("it did not come to what was waited for")
}

func TestTheDefaultDeniesNoGreeting(t *testing.T) {
	h := startHot(t)
	h.govern(t, policy.Spec{Mode: policy.ModeEnforce, DefaultCommands: policy.Deny, Rules: []policy.Rule{
		{Name: "get", Match: policy.Match{Commands: []string{"get"}}, Action: policy.Allow},
	}}, nil)
	c := h.dial(t)
	const no = ": no rule allows the command, and the default is deny"
	want(t, ask(t, c, "PING", "GET a", "SET a 1", "NOSUCH a", "CLIENT ID", "RESET", "QUIT"),
		"+PONG", "$-1", "-DENIED command 'set'"+no, "-DENIED command 'nosuch'"+no, "-DENIED command 'client|id'"+no, "+RESET", "+OK")
}

func TestWhatWasLearnedIsWhatIsAllowed(t *testing.T) {
	h := startHot(t)
	learner := proxy.NewLearner(policy.RecorderOptions{})
	h.govern(t, policy.Spec{}, learner)
	c := h.dial(t)
	used := []string{"SET a 1", "GET a", "CLIENT ID", "EVALSHA counter 1 n 1", "EVAL return(1) 0", "EVAL return(2) 1 k"}
	ask(t, c, used...)
	h.govern(t, policy.Spec{}, nil)
	h.server.Pass()
	learner.Stop()
	spec, notes := learner.Recorder().Spec()
	if len(notes) > 0 {
		t.Fatal(notes)
	}
	spec.Mode = policy.ModeEnforce
	h.govern(t, spec, nil)
	for i, r := range ask(t, c, used...) {
		if strings.HasPrefix(r, "-") {
			t.Errorf("%s, which was learned, is answered %s", used[i], r)
		}
	}
	other := []string{"DEL a", "CLIENT LIST", "EVALSHA counter 2 n m 1", "EVAL return(3) 0", "EVAL return(2) 0", "FLUSHALL"}
	for i, r := range ask(t, c, other...) {
		if !strings.HasPrefix(r, "-DENIED ") {
			t.Errorf("%s, which was not learned, is answered %s", other[i], r)
		}
	}
}

// hotSpec speaks of everything that the hot calls do.
var hotSpec = policy.Spec{Mode: policy.ModeEnforce, Rules: []policy.Rule{
	denyCommands("flushall", "keys"),
	{Name: "get", Match: policy.Match{Commands: []string{"get"}, Hours: []string{"00:00-24:00"}}, MaxConcurrent: 1000},
	{Name: "counter", Match: policy.Match{Scripts: []string{"counter"}, MaxArgBytes: ptr[int64](1000)}, MaxConcurrent: 1000,
		Rates: []policy.Rate{{Per: policy.PerScript, Limit: 1e6}, {Per: policy.PerUser, Limit: 1e6}}, Action: policy.Allow},
}}

func TestDecidingAllocatesNothingInTheSteadyState(t *testing.T) {
	h := startHot(t)
	h.govern(t, hotSpec, nil)
	c := h.dial(t)
	prepareHot(t, c)
	for _, call := range hotCalls {
		requests := []byte(strings.Repeat(call.request, call.depth))
		expected := strings.Repeat(call.reply, call.depth)
		replies := make([]byte, len(expected))
		for range 200 {
			exchange(t, c, requests, replies)
		}
		if string(replies) != expected {
			t.Fatalf("%s: answered %q", call.name, replies)
		}
		const rounds = 2000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			exchange(t, c, requests, replies)
		}
		runtime.ReadMemStats(&after)
		if each := float64(after.Mallocs-before.Mallocs) / rounds; each > 0.5 && !raceEnabled {
			t.Errorf("%s: %.2f allocations for each exchange of %d", call.name, each, call.depth)
		}
	}
}

func BenchmarkExchangeUnderAPolicy(b *testing.B) {
	for _, call := range hotCalls {
		b.Run(call.name, func(b *testing.B) {
			h := startHot(b)
			h.govern(b, hotSpec, nil)
			c := h.dial(b)
			prepareHot(b, c)
			requests := []byte(strings.Repeat(call.request, call.depth))
			replies := make([]byte, len(call.reply)*call.depth)
			b.ReportAllocs()
			for b.Loop() {
				exchange(b, c, requests, replies)
			}
		})
	}
}

func TestALargeRequestIsDecidedToo(t *testing.T) {
	h := startHot(t)
	value := strings.Repeat("x", 3<<20)
	large := policy.Rule{Name: "not-so-large", Match: policy.Match{Commands: []string{"set"}, MinArgBytes: ptr[int64](1 << 20)}, Action: policy.Deny}
	for _, c := range []struct {
		spec policy.Spec
		want string
	}{
		{policy.Spec{Mode: policy.ModeEnforce, Rules: []policy.Rule{denyCommands("set")}}, "-DENIED command 'set': rule 'no-set': ask first"},
		{policy.Spec{Mode: policy.ModeEnforce, Rules: []policy.Rule{large}}, "-DENIED command 'set': rule 'not-so-large'"},
		{policy.Spec{Mode: policy.ModeEnforce, DefaultCommands: policy.Deny, Rules: []policy.Rule{
			{Name: "set", Match: policy.Match{Commands: []string{"set"}}, Action: policy.Allow},
		}}, "+OK"},
	} {
		p := h.govern(t, c.spec, nil)
		conn := h.dial(t)
		want(t, ask(t, conn, "SET k "+value, "PING"), c.want, "+PONG")
		if n := p.Counts()[0]; n.Allowed+n.Denied != 1 {
			t.Errorf("the rule counted %+v", n)
		}
	}
	if n := h.redis.Do("STRLEN", "k"); n != int64(len(value)) {
		t.Errorf("the value has %v bytes", n)
	}
}

func TestSeveralSessionsWaitForOneAnalysis(t *testing.T) {
	h := startHot(t)
	h.govern(t, policy.Spec{Mode: policy.ModeEnforce, Rules: []policy.Rule{
		{Name: "no-flush", Match: policy.Match{Uses: []string{"flushall"}}, Action: policy.Deny},
	}}, nil)
	const body = "return(9)"
	var conns []net.Conn
	for range 20 {
		c := h.dial(t)
		if _, err := c.Write(resp.AppendCommand(nil, "EVAL", body, "0")); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		want(t, ask(t, c, "PING"), ":9")
	}
}
