package acl

import (
	"fmt"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// serverCommands returns what a server says of its commands, and the least number of arguments of each.
func serverCommands(t *testing.T, s *redisserver.Server) ([]policy.Command, map[string]int) {
	t.Helper()
	var commands []policy.Command
	arity := make(map[string]int)
	var add func(list any)
	add = func(list any) {
		for _, entry := range list.([]any) {
			fields := entry.([]any)
			c := policy.Command{Name: strings.ToLower(fields[0].(string))}
			for _, category := range fields[6].([]any) {
				c.Categories = append(c.Categories, strings.TrimPrefix(category.(string), "@"))
			}
			commands = append(commands, c)
			arity[c.Name] = int(max(fields[1].(int64), -fields[1].(int64)))
			if len(fields) > 9 {
				add(fields[9])
			}
		}
	}
	add(s.Do("COMMAND"))
	if len(commands) < 200 {
		t.Fatalf("the server has only %d commands", len(commands))
	}
	return commands, arity
}

// login returns a connection of that user, whose password is its name.
func login(t *testing.T, s *redisserver.Server, user string) *redisserver.Client {
	t.Helper()
	c, err := s.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if reply := do(t, c, "AUTH", user, user); reply != "OK" {
		t.Fatalf("user %s cannot log in: %v", user, reply)
	}
	return c
}

func do(t *testing.T, c *redisserver.Client, args ...any) any {
	t.Helper()
	reply, err := c.Do(args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// apply sets the plan up on the server.
func apply(t *testing.T, s *redisserver.Server, p *Plan) {
	t.Helper()
	for _, command := range p.Commands() {
		args := make([]any, len(command))
		for i, word := range command {
			args[i] = word
		}
		if reply := s.Do(args...); reply != "OK" {
			t.Fatalf("%v: %v", command, reply)
		}
	}
}

// gapsOf checks the plan against the server.
func gapsOf(t *testing.T, s *redisserver.Server, p *Plan, users ...string) []string {
	t.Helper()
	var states []State
	for _, name := range users {
		state, err := ParseGetUser(name, s.Do("ACL", "GETUSER", name))
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, state)
	}
	gaps, err := p.Check(states)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, g := range gaps {
		texts = append(texts, g.Text)
	}
	return texts
}

// refused reports whether a reply is the server's refusal by its ACL, from outside or inside of a script.
func refused(reply any) bool {
	text, isError := reply.(redisserver.Error)
	for _, sign := range []string{"NOPERM", "can't run this command", "has no permissions to run"} {
		if isError && strings.Contains(string(text), sign) {
			return true
		}
	}
	return false
}

func newUser(t *testing.T, s *redisserver.Server, name string) {
	t.Helper()
	if reply := s.Do("ACL", "SETUSER", name, "on", ">"+name, "~*", "&*", "+@all"); reply != "OK" {
		t.Fatal(reply)
	}
}

// compileFor compiles rules for a server.
func compileFor(t *testing.T, commands []policy.Command, spec policy.Spec, scripts ...policy.Script) (*policy.Set, policy.Catalog) {
	t.Helper()
	catalog := policy.Catalog{Scripts: scripts, Commands: commands}
	set, err := policy.Compile(spec, catalog)
	if err != nil {
		t.Fatal(err)
	}
	return set, catalog
}

func plan(t *testing.T, set *policy.Set, catalog policy.Catalog, options Options) *Plan {
	t.Helper()
	p, err := Generate(set, catalog, options)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// evasions are scripts that a reader does not see to call FLUSHALL.
var evasions = map[string]struct {
	body string
	args []any
}{
	"plain":             {"return redis.call('FLUSHALL')", nil},
	"computed names":    {"return redis['ca'..'ll']('FLU'..'SHALL')", nil},
	"loadstring":        {"return loadstring('return redis.call(\"FLUSHALL\")')()", nil},
	"argument":          {"return redis.call(ARGV[1])", []any{"FLUSHALL"}},
	"string building":   {"local s = '' for i, c in ipairs({70,76,85,83,72,65,76,76}) do s = s .. string.char(c) end return redis.call(s)", nil},
	"string.reverse":    {"return redis.call(string.reverse('LLAHSULF'))", nil},
	"a table of calls":  {"local t = {f = redis.call} return t['f']('flushall')", nil},
	"_G":                {"return _G['red'..'is'].call('FlushAll')", nil},
	"a value read":      {"return redis.call(redis.call('GET', KEYS[1]))", []any{"verb"}},
	"a coroutine":       {"return coroutine.wrap(function() return redis.call('FLUSHALL', 'ASYNC') end)()", nil},
	"load with a table": {"local parts = {'return redis', '.call(\"FLUSH', 'ALL\")'} local i = 0 return load(function() i = i + 1 return parts[i] end)()", nil},
	"setmetatable":      {"local t = setmetatable({}, {__index = function(_, k) return redis.call end}) return t.anything('FLUSHALL')", nil},
	"unpack":            {"return redis.call(unpack({'FLUSHALL'}))", nil},
	"a function":        {"local function f(...) return redis.call(...) end return f('FLUSHALL')", nil},
	"server.call":       {"local api = rawget(_G, 'server') or redis return api['call']('FLUSHALL')", nil}, // Valkey's name for redis
	"cjson":             {"return redis.call(cjson.decode('[\"FLUSHALL\"]')[1])", nil},
	"a swallowed error": {"local r = redis.pcall('FLUSHALL') if r.err then return redis.error_reply('swallowed ' .. r.err) end return r", nil},
}

// keysOf gives the number of keys of an evasion: the one that reads its command from the data has one.
func keysOf(name string) int {
	if name == "a value read" {
		return 1
	}
	return 0
}

func TestTheServerRefusesWhatEvadesTheAnalysis(t *testing.T) {
	s := redisserver.Start(t, redisserver.Args("enable-debug-command", "yes", "enable-module-command", "yes"))
	commands, _ := serverCommands(t, s)
	newUser(t, s, "app")
	newUser(t, s, "loader")
	set, catalog := compileFor(t, commands, policy.Spec{Mode: policy.ModeEnforce, Rules: []policy.Rule{
		{Name: "no-flush", Action: policy.Deny, Match: policy.Match{Uses: []string{"FLUSHALL", "FLUSHDB", "SWAPDB"}}},
		{Name: "no-danger", Action: policy.Deny, Match: policy.Match{Users: []string{"app"}, Commands: []string{"KEYS", "CONFIG"}}},
	}})
	p := plan(t, set, catalog, Options{Users: []User{{Name: "app", Callers: []string{"app"}}}, Loader: "loader"})

	app, loader := login(t, s, "app"), login(t, s, "loader")
	prepare := func() {
		s.Do("SET", "verb", "FLUSHALL")
		s.Do("SET", "money", "100")
	}
	call := func(name, sha string) any {
		args := append([]any{"EVALSHA", sha, keysOf(name)}, evasions[name].args...)
		return do(t, app, args...)
	}
	shas := map[string]string{}
	for name, e := range evasions {
		shas[name] = do(t, loader, "SCRIPT", "LOAD", e.body).(string)
		prepare()
		if reply := call(name, shas[name]); s.Do("EXISTS", "money") != int64(0) {
			t.Errorf("%s: without an ACL it flushes nothing: %v", name, reply)
		}
	}
	if gaps := gapsOf(t, s, p, "app", "loader"); !strings.Contains(strings.Join(gaps, "\n"),
		"the server lets user 'app' run FLUSHALL, FLUSHDB, SWAPDB, also inside scripts, although rule 'no-flush' denies it; set the ACL with: scriptproxy policy acl -apply") {
		t.Errorf("the missing wall is not reported:\n%s", strings.Join(gaps, "\n"))
	}

	apply(t, s, p)
	prepare()
	for name := range evasions {
		reply := call(name, shas[name])
		if !refused(reply) || s.Do("GET", "money") != "100" {
			t.Errorf("%s: %v", name, reply)
		}
	}
	if gaps := gapsOf(t, s, p, "app", "loader"); len(gaps) > 0 {
		t.Errorf("with the wall standing:\n%s", strings.Join(gaps, "\n"))
	}
	checkLoading(t, app, loader)
	if reply := do(t, app, "EVALSHA", do(t, loader, "SCRIPT", "LOAD", "return redis.call('GET', KEYS[1])"), 1, "money"); reply != "100" {
		t.Errorf("a sound script does not run: %v", reply)
	}
}

// checkLoading holds that clients run what is loaded, and load nothing.
func checkLoading(t *testing.T, app, loader *redisserver.Client) {
	t.Helper()
	library := "#!lua name=lib\nredis.register_function('add', function(keys, args) return 42 end)\n" +
		"redis.register_function('wipe', function(keys, args) return redis['ca'..'ll'](args[1]) end)"
	for _, command := range [][]any{
		{"EVAL", "return 1", 0}, {"EVAL_RO", "return 1", 0}, {"SCRIPT", "LOAD", "return 1"}, {"SCRIPT", "FLUSH"}, {"SCRIPT", "KILL"},
		{"FUNCTION", "LOAD", library}, {"FUNCTION", "FLUSH"}, {"FUNCTION", "RESTORE", "x"}, {"SCRIPT", "DEBUG", "YES"},
		{"ACL", "SETUSER", "app", "+@all"}, {"CONFIG", "SET", "maxclients", "1"}, {"DEBUG", "SLEEP", "0"}, {"REPLICAOF", "NO", "ONE"},
		{"MODULE", "LOAD", "/nosuch.so"}, {"KEYS", "*"}, {"FLUSHALL"},
	} {
		if reply := do(t, app, command...); !refused(reply) {
			t.Errorf("%v: %v", command, reply)
		}
	}
	if reply := do(t, loader, "FUNCTION", "LOAD", library); reply != "lib" {
		t.Errorf("the loader cannot load functions: %v", reply)
	}
	if reply := do(t, app, "FCALL", "wipe", 0, "FLUSHALL"); !refused(reply) {
		t.Errorf("a function evades the ACL: %v", reply)
	}
	for _, command := range [][]any{{"FCALL", "add", 0}, {"SCRIPT", "EXISTS", "x"}, {"SET", "a", "b"}, {"ACL", "WHOAMI"}} {
		if reply := do(t, app, command...); refused(reply) {
			t.Errorf("%v: %v", command, reply)
		}
	}
}

func TestALearnedPolicyBecomesAListOfWhatIsAllowed(t *testing.T) {
	s := redisserver.Start(t)
	commands, _ := serverCommands(t, s)
	newUser(t, s, "app")
	set, catalog := compileFor(t, commands, policy.Spec{Default: policy.Deny, DefaultCommands: policy.Deny, Rules: []policy.Rule{
		{Name: "commands", Action: policy.Allow, Match: policy.Match{Users: []string{"app"}, Commands: []string{"get", "command|", "client|info"}}},
		{Name: "scripts", Action: policy.Allow, Match: policy.Match{Users: []string{"app"}, Scripts: []string{"transfer"}}},
		{Name: "others", Action: policy.Allow, Match: policy.Match{Users: []string{"batch"}, Scripts: []string{"wipe"}}},
	}}, policy.Script{Name: "transfer", Version: "v1", Commands: []string{"GET", "INCRBY"}},
		policy.Script{Name: "wipe", Version: "v1", Commands: []string{"FLUSHALL"}},
		policy.Script{Name: "other", Version: "v1", Commands: []string{"LPUSH"}})
	p := plan(t, set, catalog, Options{Users: []User{{Name: "app", Callers: []string{"app"}}}})
	if gaps := gapsOf(t, s, p, "app"); len(gaps) == 0 {
		t.Error("a user who may do everything is not reported")
	}
	apply(t, s, p)
	app := login(t, s, "app")
	transfer := s.Do("SCRIPT", "LOAD", "return redis.call('INCRBY', KEYS[1], 5)")
	wipe := s.Do("SCRIPT", "LOAD", "return redis.call('FLUSHALL')")
	for _, c := range []struct {
		command []any
		refused bool
	}{
		{[]any{"GET", "a"}, false}, {[]any{"EVALSHA", transfer, 1, "n"}, false}, {[]any{"COMMAND"}, false}, {[]any{"CLIENT", "INFO"}, false},
		{[]any{"PING"}, false}, {[]any{"SELECT", "1"}, false}, {[]any{"CLIENT", "SETNAME", "x"}, false},
		{[]any{"SET", "a", "b"}, true}, {[]any{"EVALSHA", wipe, 0}, true}, {[]any{"COMMAND", "DOCS"}, true}, {[]any{"CLIENT", "LIST"}, true},
		{[]any{"LPUSH", "l", "x"}, true}, {[]any{"EVAL", "return 1", 0}, true}, {[]any{"INFO"}, true},
	} {
		if reply := do(t, app, c.command...); refused(reply) != c.refused {
			t.Errorf("%v: %v", c.command, reply)
		}
	}
	if gaps := gapsOf(t, s, p, "app"); len(gaps) > 0 {
		t.Errorf("gaps after applying: %v", gaps)
	}
}

func TestUsersBesideThePlanThatNeedNoPasswordAreReported(t *testing.T) {
	s := redisserver.Start(t)
	commands, _ := serverCommands(t, s)
	set, catalog := compileFor(t, commands, policy.Spec{})
	p := plan(t, set, catalog, Options{Users: []User{{Name: "app"}}})
	want := []string{
		"the server's user 'default' needs no password and may run scripts of its own: who reaches the server directly is bound by no policy; give it a password, or switch it off with ACL SETUSER default off",
		"the server has no user 'app'; scriptproxy policy acl prints the rules for it",
	}
	if got := gapsOf(t, s, p, "default", "app"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q", got)
	}
	apply(t, s, p)
	if got := gapsOf(t, s, p, "app"); len(got) != 1 || !strings.Contains(got[0], "user 'app' is off") {
		t.Errorf("a user that is off: %q", got)
	}
}

// What Check reads out of ACL rules must be what the server makes of them.
func TestRulesAreReadAsTheServerReadsThem(t *testing.T) {
	s := redisserver.Start(t)
	commands, arity := serverCommands(t, s)
	m := newModel(commands)
	p := &Plan{model: m}
	for i, rules := range [][]string{
		{"+@all"}, {"-@all"}, {"+@all", "-@dangerous"}, {"+@read", "+@write", "-@keyspace", "+keys"}, {"allcommands", "-config", "+config|get"},
		{"+@all", "-config|set", "-script|load", "-eval"}, {"+@slow", "-@admin"}, {"nocommands", "+client", "-client|kill"},
		{"+@scripting", "-eval"}, {"-@all", "+get", "(+set ~*)", "(+@hash -hgetall ~*)"}, {"+@connection", "-@fast", "+@pubsub"},
	} {
		name := fmt.Sprintf("u%d", i)
		args := []any{"ACL", "SETUSER", name, "~*", "&*"}
		for _, r := range rules {
			args = append(args, r)
		}
		if reply := s.Do(args...); reply != "OK" {
			t.Fatalf("%v: %v", rules, reply)
		}
		state, err := ParseGetUser(name, s.Do("ACL", "GETUSER", name))
		if err != nil {
			t.Fatal(err)
		}
		permitted, err := p.permitted(state)
		if err != nil {
			t.Fatal(err)
		}
		for _, command := range m.names {
			parent, sub, isSub := strings.Cut(command, "|")
			if len(m.subs[command]) > 0 && !isSub && arity[command] > 1 {
				continue // cannot be run without a subcommand
			}
			dry := []any{"ACL", "DRYRUN", name, parent}
			if isSub {
				dry = append(dry, sub)
			}
			for len(dry) < 3+arity[command] {
				dry = append(dry, "1")
			}
			reply := s.Do(dry...)
			if _, isError := reply.(redisserver.Error); isError {
				t.Fatalf("%v: %v", dry, reply)
			}
			if (reply == "OK") != permitted[command] {
				t.Errorf("%v: %s: the server says %v, the rules %q are read as %v", rules, command, reply, state.Commands, permitted[command])
			}
		}
	}
}
