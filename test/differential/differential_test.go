package differential

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

var (
	seedFlag     = flag.Uint64("seed", 0, "run the sequences of this seed only; 0: of a few seeds, always the same")
	seedsFlag    = flag.Int("seeds", 1, "run so many seeds, from -seed on; each runs in one configuration of the proxy, in turn")
	firstFlag    = flag.Uint64("first", 0, "the number of the first sequence")
	commandsFlag = flag.Int("count-commands", 0, "run so many commands, divided among the seeds; 0: a few thousand")
	lengthFlag   = flag.Int("length", 300, "the length of a sequence in commands")
	proxyFlag    = flag.String("proxy", "", "test this program instead of building one")
	shrinkFlag   = flag.Duration("shrink", time.Minute, "how long to look for a shorter sequence that shows the difference")
	timeoutFlag  = flag.Duration("reply-timeout", 10*time.Second, "how long to wait for a reply")
	sequenceFlag = flag.String("sequence", "", "run the sequence in this file instead of those that once showed a difference")
)

// binary is the program under test.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	binary = *proxyFlag
	os.Exit(program.Main(m, &binary, nil))
}

// variant is a configuration of the proxy that must not show.
type variant struct {
	name     string
	config   string
	password string
	rules    string // of a policy in force that lets everything pass
}

var variants = []variant{
	{name: "defaults"},
	// Few of everything: requests wait for links and for replies, and links change hands.
	{name: "narrow", config: "loops: 3\nlimits:\n  max_client_pending: 4\nscripts:\n  eval_below: 64B\n"},
	{name: "bodies", config: "loops: 1\nscripts:\n  eval_below: 1MiB\n"},
	{name: "password", password: "sesame", config: "loops: 2\nscripts:\n  eval_below: 0\n"},
	{name: "policy", rules: everyCondition},
}

// everyCondition asks all that rules can ask of a call, so that everything is looked at, analysed and counted before it passes.
const everyCondition = `
rules:
  - {name: findings, match: {findings: [note]}, action: audit}
  - {name: inside, match: {uses: [get, "@write"], min_keys: 1}, route: primary, deadline: 1h, max_concurrent: 100000}
  - {name: strangers, match: {registered: false, functions: [f*], classes: [read, write]}, rate: {per_user: 1000000/s, per_script: 1000000/s}}
  - {name: low, match: {classes: [read], min_arg_bytes: 1KiB}, priority: high}
  - {name: commands, match: {commands: ["*"], max_keys: 3, networks: [127.0.0.0/8], hours: ["00:00-24:00"]}, max_concurrent: 100000, rate: {per_user: 1000000/s}}
  - {name: nobody, match: {commands: [get], users: [nobody-at-all]}, action: deny}
  - {name: none, match: {shas: ["0000000000000000000000000000000000000000"]}, action: deny, message: not here}
`

// bed is a pair with the servers and the proxy that it is about.
type bed struct {
	*Pair
	proxy    *Proxy
	password string
	governed bool // by a policy in force
}

func newBed(t testing.TB, v variant) *bed {
	t.Helper()
	opts := []redisserver.Option{redisserver.Args(
		"enable-debug-command", "local", // DEBUG DIGEST, and DEBUG PROTOCOL's types
		"slowlog-log-slower-than", "-1", // what is slow differs by chance
		"set-max-intset-entries", "100000", "hash-max-listpack-entries", "100000", "hash-max-listpack-value", "100000",
	)}
	if v.password != "" {
		opts = append(opts, redisserver.Password(v.password))
	}
	direct, proxied := redisserver.Start(t, opts...), redisserver.Start(t, opts...)
	config := v.config
	upstream := proxied.Addr() + "\n"
	if v.password != "" {
		upstream += "  password: " + v.password + "\n"
	}
	if v.rules != "" {
		rules := filepath.Join(t.TempDir(), "rules.yaml")
		if err := os.WriteFile(rules, []byte(v.rules), 0o600); err != nil {
			t.Fatal(err)
		}
		config += fmt.Sprintf("policy: {mode: enforce, rules_file: %q}\n", rules)
	}
	proxy, err := StartProxy(binary, t.TempDir(), upstream, config)
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{proxy: proxy, password: v.password, governed: v.rules != "", Pair: &Pair{
		Direct:  &Side{Addr: direct.Addr(), Server: direct.Process},
		Proxied: &Side{Addr: proxy.Addr, Server: proxied.Process},
		Timeout: *timeoutFlag,
	}}
	if err := b.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		if err := proxy.Stop(); err != nil {
			t.Error(err)
		}
		if races := proxy.Races(); races != "" {
			t.Errorf("the proxy has data races:\n%s", races)
		}
	})
	return b
}

// generator makes a generator whose payloads come from the server.
func (b *bed) generator(t testing.TB, seed uint64) Generator {
	t.Helper()
	g := Generator{Seed: seed, Commands: *lengthFlag, Large: 5, Password: b.password}
	g.Users = seed%3 == 0 && !b.governed // see TestFoundDifferencesStayMended
	s := b.Direct
	s.do("FLUSHALL", "SYNC")
	s.do("SET", "s", "a value")
	s.do("RPUSH", "l", "one", "2", "three")
	s.do("HSET", "h", "f", "v", "g", "w")
	s.do("ZADD", "z", "1", "a", "2.5", "b")
	for _, k := range []string{"s", "l", "h", "z"} {
		dump, ok := s.do("DUMP", k).(string)
		if !ok {
			t.Fatalf("DUMP %s gives no text", k)
		}
		g.Dumps = append(g.Dumps, dump)
	}
	s.do("FUNCTION", "LOAD", libraries[0])
	if dump, ok := s.do("FUNCTION", "DUMP").(string); ok {
		g.FunctionDump = dump
	}
	return g
}

func TestRandomCommandsHaveTheSameRepliesThroughTheProxy(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	if *seedFlag != 0 {
		seeds = nil
		for i := range *seedsFlag {
			seeds = append(seeds, *seedFlag+uint64(i))
		}
	}
	total := *commandsFlag
	if total == 0 {
		total = 10000
	}
	for _, seed := range seeds {
		v := variants[int(seed)%len(variants)]
		t.Run(fmt.Sprintf("seed=%d/%s", seed, v.name), func(t *testing.T) { runSeed(t, v, seed, total/len(seeds)) })
	}
}

func runSeed(t *testing.T, v variant, seed uint64, commands int) {
	b := newBed(t, v)
	g := b.generator(t, seed)
	ran := 0
	for number := *firstFlag; ran < commands; number++ {
		s := g.Sequence(number)
		ran += s.Commands()
		if err := b.Run(s); err != nil {
			b.report(t, seed, number, s, err)
			return
		}
	}
	t.Logf("%d commands of seed %d, %d of them not sent to connections that were blocked, %d sequences ended early by what is not passed on", ran, seed, b.Skipped, b.Refused)
}

// report fails the test with the shortest sequence that shows the difference.
func (b *bed) report(t *testing.T, seed, number uint64, s Sequence, err error) {
	t.Helper()
	again := fmt.Sprintf("-run Random -seed=%d -first=%d -count-commands=1", seed, number)
	if !b.proxy.Running() {
		t.Fatalf("the proxy ended, at sequence %d of seed %d (%s): %v\n%s", number, seed, again, err, b.proxy.Log())
	}
	var d *Difference
	if !errors.As(err, &d) {
		t.Fatalf("sequence %d of seed %d (%s): %v\nlog of the proxy:\n%s", number, seed, again, err, tail(b.proxy.Log()))
	}
	last := d
	wait := b.Timeout
	b.Timeout = min(wait, 2*time.Second)
	defer func() { b.Timeout = wait }()
	fails := func(s Sequence) bool {
		err := b.Run(s)
		var d *Difference
		if errors.As(err, &d) {
			last = d
			return true
		}
		return false
	}
	if d.Step < len(s) {
		s = s[:d.Step+1]
	}
	if !fails(s) {
		t.Fatalf("sequence %d of seed %d (%s): %v\nIt is not seen again when the sequence runs again.\n%s", number, seed, again, d, s)
	}
	s = Shrink(s, *shrinkFlag, fails)
	t.Fatalf("sequence %d of seed %d (%s): %v\nThe shortest sequence found, %d commands:\n\n%s\nlog of the proxy:\n%s", number, seed, again, last, s.Commands(), s, tail(b.proxy.Log()))
}

// tail returns the last 4 KB of a log.
func tail(log string) string { return log[max(0, len(log)-4096):] }
