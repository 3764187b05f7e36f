package clients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/child"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// matrix runs the programs of the matrix once, on servers that hold nothing, so that each run does the same.
func matrix(t *testing.T, s *site) {
	t.Helper()
	s.primary.Do("FLUSHALL")
	s.primary.Do("SCRIPT", "FLUSH")
	redisserver.WaitReplica(t, s.primary, s.replica)
	useRedisCli(t, s) // first, since it counts all keys
	for library := range goLibraries {
		useGo(t, s.port, library)
	}
	for library := range jsLibraries {
		useJavaScript(t, s.port, library)
	}
	useBullMQ(t, s.port, 1000)
	usePython(t, s.port)
	useRedisBenchmark(t, s.port)
}

// governed is a site whose policy is asked by its admin listener.
type governed struct {
	*site
	admin string
}

func TestRulesLearnedFromTheClientsAllowThemAndNothingElse(t *testing.T) {
	s := governed{admin: fmt.Sprintf("127.0.0.1:%d", redisserver.FreePort(t))}
	s.site = proxied(t, fmt.Sprintf("admin: {listen: %q}\npolicy: {mode: \"off\"}\n", s.admin))
	for _, server := range []*redisserver.Server{s.primary, s.replica} {
		server.Do("ACL", "SETUSER", "stranger", "on", ">stranger", "~*", "&*", "+@all")
	}
	end := s.learn(t)
	matrix(t, s.site)
	unknown := leftOut(end())

	learned, err := os.ReadFile(s.path("learned.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("the rules:\n%s", learned)
		}
	}()
	config, err := os.ReadFile(s.path("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("config.yaml", strings.Replace(string(config), `mode: "off"`, "mode: enforce, rules_file: learned.yaml", 1))
	if status, text := s.post(t, "/-/reload", nil); status != 200 {
		t.Fatalf("the learned rules are refused: %s", text)
	}
	matrix(t, s.site)
	for _, command := range s.denied(t) {
		if !slices.Contains(unknown, command) {
			t.Errorf("%s was denied, although it was learned", command)
		}
	}
	s.wantEachRuleToDecide(t, string(learned))
	s.wantTheRestDenied(t)
}

// learn begins a learning run, which the returned function ends as Ctrl-C does; it
// returns what the command said.
func (s governed) learn(t *testing.T) (end func() string) {
	t.Helper()
	cmd := exec.Command(binary, "policy", "learn", "-admin", "http://"+s.admin, "-for", "1h", "-out", s.path("learned.yaml"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	exited, err := child.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if strings.Contains(s.get(t, "/api/v1/policy"), `"running": true`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no learning run is under way")
		}
	}
	return func() string {
		t.Helper()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		select {
		case <-exited:
		case <-time.After(15 * time.Second):
			t.Fatal("policy learn did not end")
		}
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			t.Fatalf("policy learn ended with status %d: %s", code, out.String())
		}
		t.Logf("%s", strings.TrimSpace(out.String()))
		return out.String()
	}
}

var left = regexp.MustCompile(`the command (\S+) is left out: the server does not have it`)

// leftOut are the commands of which a learning run says that rules can't name them: clients try what servers may not have.
func leftOut(text string) (commands []string) {
	for _, m := range left.FindAllStringSubmatch(text, -1) {
		commands = append(commands, m[1])
	}
	return commands
}

var deniedLine = regexp.MustCompile(`msg="the policy denies a call" .*(?:command|script|function)=(\S+)`)

// denied is what the proxy's log tells of calls that were denied.
func (s governed) denied(t *testing.T) (called []string) {
	t.Helper()
	log, err := os.ReadFile(s.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range deniedLine.FindAllStringSubmatch(string(log), -1) {
		called = append(called, m[1])
	}
	return called
}

// explanation is what policy explain says of a call.
type explanation struct {
	Verdict, Rule string
	Certain       bool
}

// wantEachRuleToDecide asks about every call that the rules allow.
func (s governed) wantEachRuleToDecide(t *testing.T, file string) {
	t.Helper()
	asked := 0
	for _, rule := range splitRules(t, file) {
		for kind, subjects := range map[string][]string{"script": rule.list["shas"], "command": rule.list["commands"]} {
			for _, subject := range subjects {
				query := map[string]any{"user": rule.list["users"][0], "addr": "127.0.0.1", kind: strings.TrimSuffix(strings.Replace(subject, "|", " ", 1), " ")}
				if kind == "script" {
					query["class"], query["keys"], query["arg_bytes"] = rule.list["classes"][0], rule.number(t, "min_keys"), rule.number(t, "max_arg_bytes")
				}
				status, text := s.post(t, "/api/v1/policy/explain", query)
				var got explanation
				if err := json.Unmarshal([]byte(text), &got); err != nil || status != 200 {
					t.Fatalf("explain %v: %d %s", query, status, text)
				}
				if got != (explanation{"allow", rule.name, true}) {
					t.Errorf("explain %v says %+v, want rule %q to allow it", query, got, rule.name)
				}
				asked++
			}
		}
	}
	if asked < 50 { // it was 62, of them 16 scripts
		t.Errorf("the rules speak of %d calls only", asked)
	}
}

// wantTheRestDenied tries what nobody did while it was learned, and asks why it is denied.
func (s governed) wantTheRestDenied(t *testing.T) {
	t.Helper()
	const learned = "return redis.call('INCRBY', KEYS[1], ARGV[1])" // what all libraries call
	s.write("learned.lua", learned)
	s.write("other.lua", "return redis.call('GET', KEYS[1])")
	local := dial(t, s.port, "127.0.0.1")
	far := dial(t, s.port, "127.9.9.9")
	stranger := dial(t, s.port, "127.0.0.1")
	if got := do(t, stranger, "AUTH", "stranger", "stranger"); got != "OK" {
		t.Fatalf("AUTH: %v", got)
	}
	long := strings.Repeat("1", 10000)
	for _, c := range []struct {
		from    *redisserver.Client
		user    string
		addr    string
		call    []any
		explain []string
		denied  bool
	}{
		{local, "default", "127.0.0.1", []any{"GET", "a"}, []string{"-command", "get"}, false},
		{local, "default", "127.0.0.1", []any{"EVAL", learned, 1, "n", 1}, []string{"-file", s.path("learned.lua"), "-keys", "1", "-arg-bytes", "2", "-class", "write"}, false},
		{local, "default", "127.0.0.1", []any{"FLUSHALL"}, []string{"-command", "flushall"}, true},
		{local, "default", "127.0.0.1", []any{"KEYS", "*"}, []string{"-command", "keys"}, true},
		{local, "default", "127.0.0.1", []any{"CONFIG", "SET", "maxmemory", "1"}, []string{"-command", "config set"}, true},
		{local, "default", "127.0.0.1", []any{"DEBUG", "SLEEP", "0"}, []string{"-command", "debug sleep"}, true},
		{local, "default", "127.0.0.1", []any{"SCRIPT", "KILL"}, []string{"-command", "script kill"}, true},
		{local, "default", "127.0.0.1", []any{"GETDEL", "a"}, []string{"-command", "getdel"}, true},
		{local, "default", "127.0.0.1", []any{"ACL", "LIST"}, []string{"-command", "acl list"}, true},
		{local, "default", "127.0.0.1", []any{"EVAL", "return redis.call('GET', KEYS[1])", 1, "n"}, []string{"-file", s.path("other.lua"), "-keys", "1", "-arg-bytes", "1"}, true},
		{local, "default", "127.0.0.1", []any{"EVALSHA", strings.Repeat("1", 40), 0}, []string{"-script", strings.Repeat("1", 40), "-keys", "0", "-arg-bytes", "0", "-class", "write"}, true},
		{local, "default", "127.0.0.1", []any{"EVAL", learned, 2, "n", "m", 1}, []string{"-file", s.path("learned.lua"), "-keys", "2", "-arg-bytes", "3", "-class", "write"}, true},
		{local, "default", "127.0.0.1", []any{"EVAL", learned, 1, "n", long}, []string{"-file", s.path("learned.lua"), "-keys", "1", "-arg-bytes", "10001", "-class", "write"}, true},
		{local, "default", "127.0.0.1", []any{"FCALL", "none", 0}, []string{"-function", "none", "-keys", "0", "-arg-bytes", "0", "-class", "write"}, true},
		{far, "default", "127.9.9.9", []any{"GET", "a"}, []string{"-command", "get"}, true},
		{far, "default", "127.9.9.9", []any{"EVAL", learned, 1, "n", 1}, []string{"-file", s.path("learned.lua"), "-keys", "1", "-arg-bytes", "2", "-class", "write"}, true},
		{stranger, "stranger", "127.0.0.1", []any{"GET", "a"}, []string{"-command", "get"}, true},
	} {
		got := fmt.Sprint(do(t, c.from, c.call...))
		if denied := strings.HasPrefix(got, "DENIED "); denied != c.denied {
			t.Errorf("%.60q of %s from %s is answered %s", c.call, c.user, c.addr, got)
		}
		out, err := try(binary, append([]string{"policy", "explain", "-json", "-admin", "http://" + s.admin, "-user", c.user, "-addr", c.addr}, c.explain...)...)
		var why explanation
		if err != nil || json.Unmarshal([]byte(out), &why) != nil {
			t.Fatalf("explain %v: %v\n%s", c.explain, err, out)
		}
		switch {
		case !why.Certain,
			c.denied && (why.Verdict != "deny" || why.Rule != "" || !strings.HasSuffix(got, "the default is deny")),
			!c.denied && (why.Verdict != "allow" || !strings.HasPrefix(why.Rule, "learned ")):
			t.Errorf("explain says of %.60q of %s from %s: %+v", c.call, c.user, c.addr, why)
		}
	}
}

func dial(t *testing.T, port, from string) *redisserver.Client {
	t.Helper()
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return redisserver.NewClient(conn)
}

func do(t *testing.T, c *redisserver.Client, call ...any) any {
	t.Helper()
	reply, err := c.Do(call...)
	if err != nil {
		t.Fatalf("%.60q: %v", call, err)
	}
	return reply
}

var httpClient = &http.Client{Timeout: 15 * time.Second}

func (s governed) get(t *testing.T, path string) string {
	t.Helper()
	r, err := httpClient.Get("http://" + s.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (s governed) post(t *testing.T, path string, body any) (int, string) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := httpClient.Post("http://"+s.admin+path, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if b, err = io.ReadAll(r.Body); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// learnedRule is a rule as the learning run writes it: a name, and lists.
type learnedRule struct {
	name string
	list map[string][]string
}

func (r learnedRule) number(t *testing.T, key string) int {
	t.Helper()
	if len(r.list[key]) != 1 {
		t.Fatalf("rule %q has no %s", r.name, key)
	}
	text, unit := r.list[key][0], 1
	for suffix, size := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
		if strings.HasSuffix(text, suffix) {
			unit = size
		}
	}
	n, err := strconv.Atoi(strings.TrimRight(text, "KMiB"))
	if err != nil {
		t.Fatalf("rule %q: %s: %v", r.name, key, err)
	}
	return n * unit
}

var ruleLine = regexp.MustCompile(`^\s*(- )?([a-z_]+): ?(.*)$`)

// splitRules reads what a learning run writes, which is simpler than YAML: a key and a value on a line, lists in brackets on it
// or with a dash on the lines after it.
func splitRules(t *testing.T, file string) (rules []learnedRule) {
	t.Helper()
	key := ""
	for line := range strings.Lines(file) {
		line = strings.TrimRight(line, "\n")
		if m := ruleLine.FindStringSubmatch(line); m != nil {
			if key = m[2]; key == "name" && m[1] != "" {
				rules = append(rules, learnedRule{unquoted(m[3]), map[string][]string{}})
				continue
			}
			if len(rules) > 0 && m[3] != "" {
				for item := range strings.SplitSeq(strings.Trim(m[3], "[]"), ", ") {
					rules[len(rules)-1].list[key] = append(rules[len(rules)-1].list[key], unquoted(item))
				}
			}
			continue
		}
		if item, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok && len(rules) > 0 {
			rules[len(rules)-1].list[key] = append(rules[len(rules)-1].list[key], unquoted(item))
		}
	}
	if !slices.ContainsFunc(rules, func(r learnedRule) bool { return len(r.list["shas"]) > 0 }) {
		t.Fatalf("no rule is about scripts:\n%s", file)
	}
	return rules
}

func unquoted(text string) string { return strings.Trim(text, `"'`) }
