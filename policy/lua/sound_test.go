package lua

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	glua "github.com/yuin/gopher-lua"
)

// runRecorded runs a body in gopher-lua's own machine with a redis table that records what is called, and gives the
// upper-case commands. Errors of the script are of no interest.
func runRecorded(t *testing.T, body string) []string {
	t.Helper()
	vm := glua.NewState()
	defer vm.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	vm.SetContext(ctx)
	var called []string
	call := func(l *glua.LState) int {
		if l.GetTop() == 0 {
			l.RaiseError("no command")
		}
		called = append(called, strings.ToUpper(l.CheckString(1)))
		l.Push(glua.LString("1"))
		return 1
	}
	api := vm.NewTable()
	vm.SetField(api, "call", vm.NewFunction(call))
	vm.SetField(api, "pcall", vm.NewFunction(call))
	vm.SetGlobal("redis", api)
	vm.SetGlobal("server", api)
	for _, name := range []string{"KEYS", "ARGV"} {
		list := vm.NewTable()
		for i := range 4 {
			list.Append(glua.LString([]string{"GET", "SET", "call", "1"}[i]))
		}
		vm.SetGlobal(name, list)
	}
	_ = vm.DoString(body)
	return called
}

// checkSound fails when a run called what the analysis did not see.
func checkSound(t *testing.T, body string) {
	t.Helper()
	a := Analyse([]byte(body), Options{ClassOnly: true, Timeout: longTimeout})
	if !a.Analysed || a.Dynamic {
		if a.Class != Write {
			t.Errorf("class %v of a body that is not understood:\n%s", a.Class, body)
		}
		return
	}
	for _, name := range runRecorded(t, body) {
		seen := slices.ContainsFunc(a.Commands, func(c string) bool { return c == name || strings.HasPrefix(c, name+"|") })
		if !seen {
			t.Errorf("the script called %s, the analysis saw %v (class %v):\n%s", name, a.Commands, a.Class, body)
		}
	}
}

// evasions are ways to call a command without writing its name after redis.call.
var evasions = []string{
	`redis['ca'..'ll']('SET', 'k', 1)`,
	`redis[KEYS[3]]('SET', 'k', 1)`,
	`redis.call(ARGV[2], 'k', 1)`,
	`local c = redis.call; local t = {c}; t[1]('SET', 'k', 1)`,
	`local function f() return redis end f().call('SET', 'k', 1)`,
	`local t = setmetatable({}, {__index = redis}) t.call('SET', 'k', 1)`,
	`local t = setmetatable({}, {__call = redis.call}) t('SET')`,
	`local c c = redis.call c('SET', 'k', 1)`,
	`local c = redis.call local d = function(...) return c(...) end d('SET', 'k', 1)`,
	`loadstring("redis.call('SET','k',1)")()`,
	`assert(load(function() return nil end)) loadstring('redis.call("SET")')()`,
	`_G.redis.call('SET', 'k', 1)`,
	`getfenv().redis.call('SET', 'k', 1)`,
	`setfenv(1, {r = redis}) r.call('SET', 'k', 1)`,
	`pcall(redis.call, 'SET', 'k', 1)`,
	`pcall(pcall, redis.call, 'SET', 'k', 1)`,
	`xpcall(function() redis.call('SET', 'k', 1) end, function() end)`,
	`select(2, 1, redis).call('SET', 'k', 1)`,
	`select(2, 1, redis.call)('SET', 'k', 1)`,
	`coroutine.wrap(redis.call)('SET', 'k', 1)`,
	`coroutine.wrap(function() redis.call('SET', 'k', 1) end)()`,
	`for _, f in pairs(redis) do f('SET', 'k', 1) end`,
	`for _, f in next, redis do f('SET', 'k', 1) end`,
	`rawget(redis, 'call')('SET', 'k', 1)`,
	`string.gsub('SET', '.+', redis.call)`,
	`table.sort({'SET', 'SET'}, redis.call)`,
	`('x'):gsub('x', function() redis.call('SET', 'k', 1) end)`,
	`local a = {redis.call} a[1]('SET')`,
	`local a = {n = redis} a.n.call('SET')`,
	`local call = nil or redis.call call('SET')`,
	`local call = redis.call and redis.call call('SET')`,
	`(redis.call or redis.pcall)('SET', 'k', 1)`,
	`(redis or server).call('SET', 'k', 1)`,
	`redis.x = redis.call redis.x('SET', 'k', 1)`,
	`redis.log = redis.call redis.log('SET', 'k', 1)`,
	`local function f(a, ...) return a(...) end f(redis.call, 'SET', 'k')`,
	`local function f(...) local a, b = ... return a(b) end f(redis.call, 'SET')`,
	`local function f(...) return (...)('SET') end f(redis.call)`,
	`local function f(...) return arg[1]('SET') end f(redis.call)`,
	`local f f = function(n, c) if n > 0 then return f(n - 1, redis.call) end return c('SET') end f(1)`,
	`local a, b = redis.call a('GET') b = a b('SET')`,
	`local a, b = 1, redis.call b('SET')`,
	`local cmd = 'GET' local function set() cmd = 'SET' end set() redis.call(cmd)`,
	`local cmd = 'GET' for _, c in ipairs({'SET'}) do cmd = c end redis.call(cmd)`,
	`local cmd = 'GET' cmd = cmd:gsub('G', 'S') redis.call(cmd)`,
	`local cmd, other = 'GET' cmd, other = string.match('SET x', '(%a+) (%a+)') redis.call(cmd)`,
	`local cmd = 'GET' do local cmd = 'SET' redis.call(cmd) end redis.call(cmd)`,
	`local cmds = {'GET', 'SET'} redis.call(cmds[2])`,
	`local cmd = ({'GET', 'SET'})[2] redis.call(cmd)`,
	`redis.call(true and 'SET')`,
	`redis.call(false or 'SET')`,
	`redis.call(nil and 'GET' or 'SET')`,
	`redis.call((function() return 'SET' end)())`,
	`redis.call(('SET'))`,
	`redis.call [[SET]]`,
	`redis . call "SET"`,
	`redis["call"] "SET"`,
	`redis--[[x]].--[[y]]call--[[z]]('SET')`,
	"redis\n.call(\n'SET'\n)",
	`repeat local c = redis.call until c('SET')`,
	`while redis.call('SET') == 2 do end`,
	`if redis.call('SET') then end`,
	`local t = {[redis.call('SET')] = 1}`,
	`local t = {redis.call('SET')}`,
	`return redis.call('SET'), 1`,
	`local x = -redis.call('SET')`,
	`local x = #redis.call('SET')`,
	`local x = not redis.call('SET')`,
	`for i = redis.call('SET'), 1 do end`,
	`for i in function() redis.call('SET') end do end`,
	`local t = {} function t.f() redis.call('SET') end t.f()`,
	`local t = {} function t:f() redis.call('SET') end t:f()`,
	`local t = {} t[redis.call('SET')] = 1`,
	`local redis = redis redis.call('SET')`,
	`local server = redis server.call('SET')`,
	`local x = server x.pcall('SET')`,
	`tostring(redis.call('SET'))`,
	`getmetatable('').__index.r = redis.call; ('x').r('SET')`,
	`getmetatable('').__call = redis.call; ('SET')()`,
	`pcall = function(c, name) c('SET') end pcall(redis.call, 'GET')`,
	`function pcall(c, name) return c('SET') end pcall(redis.call, 'GET')`,
	`local t = {'GET', 'k'} t[1] = 'SET' redis.call(unpack(t))`,
	`local t = {'GET', 'k'} table.insert(t, 1, 'SET') redis.call(unpack(t))`,
	`local t = {'GET', 'SET'} table.remove(t, 1) redis.call(unpack(t))`,
	`local t = {'GET', 'SET'} table.sort(t, function(a, b) return a > b end) redis.call(unpack(t))`,
	`local t = {'GET', [1] = 'SET'} redis.call(unpack(t))`,
	`local t = {'GET'} local u = t u[1] = 'SET' redis.call(unpack(t))`,
	`local t = {'GET'} local function f(x) x[1] = 'SET' end f(t) redis.call(unpack(t))`,
	`local t = {'GET'} table.insert = function(x) x[1] = 'SET' end table.insert(t, 'k') redis.call(unpack(t))`,
	`local t = {'GET'} local x = table x.insert = function(x) x[1] = 'SET' end table.insert(t, 'k') redis.call(unpack(t))`,
	`unpack = function() return 'SET' end local t = {'GET'} redis.call(unpack(t))`,
	`local t = {'GET'} t = {'SET'} redis.call(unpack(t))`,
	`local t = {'GET', 'SET'} redis.call(unpack(t, 2))`,
	`local t = {} t[#t + 1] = 'SET' redis.call(unpack(t))`,
	`local t = {ARGV[2]} redis.call(unpack(t))`,
	`local t = {'GET'} setmetatable(t, {__len = function() return 0 end}) t[#t + 1] = 'SET' redis.call(unpack(t))`,
	`local t = {'GET'} for k in pairs(t) do t[k] = 'SET' end redis.call(unpack(t))`,
	`local t = {redis.call('SET') and 'GET'} redis.call(unpack(t))`,
	`local p = pcall p(redis.call, 'SET')`,
	`local function f(p) p(redis.call, 'SET') end f(pcall)`,
	`local function f(p, c) p(c, 'SET') end f(pcall, redis.call)`,
	`local c = redis.call local function g(h) h() end g(function() c('SET') end)`,
	`local goto_, goto__ = redis.call goto_('SET')`,
}

func TestNoEvasionIsTakenForARead(t *testing.T) {
	for _, body := range evasions {
		checkSound(t, body)
		if a := Analyse([]byte(body), Options{ClassOnly: true, Timeout: longTimeout}); a.Class != Write {
			t.Errorf("class %v:\n%s", a.Class, body)
		}
	}
}

// scriptGenerator writes random scripts that pass redis (in r1…), its functions (in c1…) and commands' names (in s1…)
// around. wild is how many in a hundred of the values are of the wrong kind or go where they can't be followed.
type scriptGenerator struct {
	*rand.Rand
	sb    strings.Builder
	wild  int
	depth int
}

func (g *scriptGenerator) pick(list ...string) string { return list[g.IntN(len(list))] }

func (g *scriptGenerator) name(kind string) string { return kind + g.pick("1", "2", "3") }

// value is an expression of a kind: r, c or s.
func (g *scriptGenerator) value(kind string) string {
	if g.IntN(100) < g.wild {
		kind = g.pick("r", "c", "s")
		switch g.IntN(6) {
		case 0:
			return "({" + g.value(kind) + "})[1]"
		case 1:
			return "(function() return " + g.value(kind) + " end)()"
		case 2:
			return "select(1, " + g.value(kind) + ")"
		case 3:
			return g.pick("nil", "1", "KEYS[1]", "ARGV[2]", "pcall", "{}")
		}
	}
	n := g.IntN(10)
	switch {
	case n < 4:
		return g.name(kind)
	case n == 4:
		return g.value(kind) + " or " + g.value(kind)
	case n == 5:
		return g.pick("nil", "1", "KEYS[1]") + " and " + g.value(kind) + " or " + g.value(kind)
	case kind == "r":
		return g.pick("redis", "server")
	case kind == "c":
		return g.pick("redis.call", "redis.pcall", "server['call']", g.name("r")+".call")
	}
	return g.pick("'GET'", "'set'", "'DEL'", "'TTL'", "'INCR'", "'STRLEN'", "'Type'")
}

func (g *scriptGenerator) block(n int) {
	if g.depth++; g.depth <= 4 {
		for range n {
			g.statement()
		}
	}
	g.depth--
}

// statement adds one; whatever may fail runs inside pcall.
func (g *scriptGenerator) statement() {
	w := func(format string, args ...any) { fmt.Fprintf(&g.sb, format+"\n", args...) }
	kind := g.pick("r", "c", "s")
	switch g.IntN(12) {
	case 0, 1:
		w("local %s = %s", g.name(kind), g.value(kind))
	case 2, 3:
		w("pcall(function() %s = %s end)", g.name(kind), g.value(kind))
	case 4:
		w("pcall(function() %s, %s = %s, %s end)", g.name("c"), g.name("s"), g.value("c"), g.value("s"))
	case 5, 6:
		w("pcall(function() %s(%s, 'k') end)", g.name("c"), g.value("s"))
	case 7:
		w("pcall(function() %s.call(%s, 'k') end)", g.name("r"), g.value("s"))
	case 8:
		w("pcall(%s, %s, 'k')", g.name("c"), g.value("s"))
	case 9:
		w("do")
		g.block(2)
		w("end")
	case 10:
		w("if %s then", g.value(kind))
		g.block(2)
		w("else")
		g.block(1)
		w("end")
	case 11:
		f := fmt.Sprintf("f%d", g.sb.Len())
		if g.IntN(3) == 0 {
			w("local function %s(c1, ...)", f)
			w("pcall(c1, ...)")
			w("pcall(function(...) redis.call(...) end, ...)")
		} else {
			w("local function %s(c1, s1)", f)
		}
		g.block(2)
		w("end")
		w("%s(%s, %s)", f, g.value("c"), g.value("s"))
		if g.IntN(2) == 0 {
			w("pcall(function() %s(%s, %s) end)", f, g.value("c"), g.value("s"))
		}
	}
}

// TestNoRandomScriptCallsWhatTheAnalysisDidNotSee compares the analysis with real runs of scripts that juggle the redis
// table.
func TestNoRandomScriptCallsWhatTheAnalysisDidNotSee(t *testing.T) {
	understood, reads := 0, 0
	for seed := range uint64(1_500) {
		g := &scriptGenerator{Rand: rand.New(rand.NewPCG(seed, 1)), wild: int(seed % 3 * 4)}
		g.sb.WriteString("local r1, r2, r3, c1, c2, c3, s1, s2, s3\n")
		g.block(4 + g.IntN(8))
		body := g.sb.String()
		checkSound(t, body)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		a := Analyse([]byte(body), Options{ClassOnly: true, Timeout: longTimeout})
		if a.Analysed && !a.Dynamic && len(a.Commands) > 0 {
			understood++
			if a.Class == Read {
				reads++
			}
		}
	}
	if understood < 200 || reads < 30 {
		t.Errorf("%d of the scripts were understood, %d reads: the generator is too wild to show anything", understood, reads)
	}
	t.Logf("%d understood, %d reads", understood, reads)
}

func TestFilesOfTheLintCallNothingUnseen(t *testing.T) {
	for _, r := range allReports(t) {
		if !strings.HasPrefix(r.File, "testdata/") || strings.Contains(r.File, "unbounded-loop") || strings.Contains(r.File, "print") {
			continue
		}
		checkSound(t, readFile(t, r.File))
	}
}
