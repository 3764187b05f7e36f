package lua

import (
	"slices"
	"strings"
	"testing"
)

func analyse(t *testing.T, body string) *Analysis {
	t.Helper()
	a := Analyse([]byte(body), Options{ClassOnly: true, Timeout: longTimeout})
	if !a.Analysed {
		t.Fatalf("unanalysed: %s\n%s", a.Why, body)
	}
	return a
}

var classCases = []struct {
	name, body string
	class      Class
	commands   string
	dynamic    bool
}{
	{"no command at all", `return 1`, Read, "", false},
	{"a read", `return redis.call("GET", KEYS[1])`, Read, "GET", false},
	{"a write", `return redis.call("SET", KEYS[1], 1)`, Write, "SET", false},
	{"pcall", `return redis.pcall('set', KEYS[1], 1)`, Write, "SET", false},
	{"any case", `redis.call('gEt', KEYS[1])`, Read, "GET", false},
	{"string argument without brackets", `return redis.call'PING'`, Read, "PING", false},
	{"long string", `return redis.call([[GET]], KEYS[1])`, Read, "GET", false},
	{"index with a constant", `return redis['call']('get', KEYS[1])`, Read, "GET", false},
	{"index with a computed constant", `return redis['ca'..'ll']('get', KEYS[1])`, Write, "GET", true},
	{"name put together", `return redis.call('FLU'..'SHALL')`, Write, "FLUSHALL", true},
	{"both put together", `redis['ca'..'ll']('FLU'..'SHALL')`, Write, "FLUSHALL", true},
	{"Valkey's server", `return server.call('SET', KEYS[1], 1)`, Write, "SET", false},
	{"Valkey's server reads", `return server.pcall('GET', KEYS[1])`, Read, "GET", false},
	{"either table", `local api = server or redis; return api.call('GET', KEYS[1])`, Read, "GET", false},
	{"name from an argument", `return redis.call(ARGV[1])`, Write, "", true},
	{"name from a call", `return redis.call(string.upper('get'), KEYS[1])`, Write, "", true},
	{"unpacked name", `return redis.call(unpack(ARGV))`, Write, "", true},
	{"name from a number", `return redis.call(5)`, Write, "", true},
	{"no name", `return redis.call()`, Write, "", true},

	{"alias of call", `local call = redis.call; return call('GET', KEYS[1])`, Read, "GET", false},
	{"alias of call, writing", `local call = redis.call; return call('SET', KEYS[1], 1)`, Write, "SET", false},
	{"alias of redis", `local r = redis; return r.call('DEL', KEYS[1])`, Write, "DEL", false},
	{"alias of an alias", `local r = redis; local c = r.call; local d = c; d('DEL', KEYS[1])`, Write, "DEL", false},
	{"alias assigned later", `local c; c = redis.call; return c('INCR', KEYS[1])`, Write, "INCR", false},
	{"alias that changes", `local c = redis.call; if ARGV[1] then c = redis.pcall end; c('SET', KEYS[1], 1)`, Write, "SET", false},
	{"alias in a closure", `local c = redis.call; local function f() return c('SET', KEYS[1], 1) end; return f()`, Write, "SET", false},
	{"alias by a forward declaration", `local c, d; d = function() return c('SET', KEYS[1], 1) end; c = redis.call; return d()`, Write, "SET", false},
	{"alias given to a known function", `local function f(c, k) return c('SET', k, 1) end; return f(redis.call, KEYS[1])`, Write, "SET", false},
	{"redis given to a known function", `local function f(r) return r.call('SET', KEYS[1], 1) end; return f(redis)`, Write, "SET", false},
	{"two aliases in one local", `local c, p = redis.call, redis.pcall; c('GET', KEYS[1]); return p('SET', KEYS[1], 1)`, Write, "GET,SET", false},
	{"a shadowed redis is not redis", `local redis = {call = function() end}; return redis.call('SET', 1)`, Read, "", false},
	{"a shadow that ends", `do local redis = {}; end; return redis.call('SET', KEYS[1], 1)`, Write, "SET", false},
	{"alias used before its local exists", `local function f() return c('x') end local c = redis.call; return c('GET', KEYS[1])`, Read, "GET", false},
	{"a local sees itself only afterwards", `local redis = redis; return redis.call('SET', KEYS[1], 1)`, Write, "SET", false},
	{"repeat's condition sees the body", `repeat local c = redis.call until c('SET', KEYS[1], 1)`, Write, "SET", false},

	{"Lua's pcall", `local ok, v = pcall(redis.call, 'SET', KEYS[1], 1)`, Write, "SET", false},
	{"Lua's pcall of a read", `local ok, v = pcall(redis.call, 'GET', KEYS[1])`, Read, "GET", false},
	{"alias of Lua's pcall", `local try = pcall; return try(redis.call, 'SET', KEYS[1], 1)`, Write, "SET", false},
	{"pcall of pcall", `return pcall(pcall, redis.call, 'SET', KEYS[1], 1)`, Write, "", true},
	{"xpcall", `return xpcall(redis.call, print)`, Write, "", true},

	{"call in a table", `local t = {c = redis.call}; return t.c('SET', KEYS[1], 1)`, Write, "", true},
	{"call stored in a table", `local t = {}; t.c = redis.call; return t.c('SET', KEYS[1], 1)`, Write, "", true},
	{"redis in a table", `local t = {redis}; return t[1].call('SET', KEYS[1], 1)`, Write, "", true},
	{"call returned", `local function f() return redis.call end; return f()('SET', KEYS[1], 1)`, Write, "", true},
	{"call passed on", `return table.foreach({'SET'}, redis.call)`, Write, "", true},
	{"redis iterated", `for k, v in pairs(redis) do v('SET', KEYS[1], 1) end`, Write, "", true},
	{"rawget", `return rawget(redis, 'call')('SET', KEYS[1], 1)`, Write, "", true},
	{"method call", `return redis:call('SET', KEYS[1], 1)`, Write, "", true},
	{"replaced call", `redis.call = function() end; return redis.call('GET', KEYS[1])`, Write, "GET", true},
	{"through varargs", `local function f(...) local c = ...; return c('SET', KEYS[1], 1) end; return f(redis.call)`, Write, "", true},
	{"as a metatable's index", `local t = setmetatable({}, {__index = redis}); return t.call('SET', KEYS[1], 1)`, Write, "", true},
	{"computed member", `return redis[ARGV[1]]('SET', KEYS[1], 1)`, Write, "SET", true},
	{"coroutine", `return coroutine.wrap(redis.call)('SET', KEYS[1], 1)`, Write, "", true},
	{"testing for it is no escape", `if redis and redis.call and type(redis) == 'table' then return redis.call('GET', KEYS[1]) end`, Read, "GET", false},

	{"loadstring", `return loadstring('return redis.call("SET", KEYS[1], 1)')()`, Write, "", true},
	{"load aliased", `local l = loadstring; return l(ARGV[1])()`, Write, "", true},
	{"load in passing", `return pcall(load, ARGV[1])`, Write, "", true},
	{"dofile", `dofile('x')`, Write, "", true},
	{"getfenv", `return getfenv(0).redis.call('SET', KEYS[1], 1)`, Write, "", true},
	{"setfenv", `setfenv(1, {r = 1})`, Write, "", true},
	{"_G", `return _G['redis'].call('SET', KEYS[1], 1)`, Write, "", true},
	{"a local of such a name is harmless", `local load = 5; return load`, Read, "", false},
	{"a field of such a name is harmless", `local t = {load = 5}; return t.load`, Read, "", false},

	{"constant local", `local cmd = "GET"; return redis.call(cmd, KEYS[1])`, Read, "GET", false},
	{"constant local that changes to another constant", `local cmd = "GET"; if ARGV[1] == '1' then cmd = "SET" end; return redis.call(cmd, KEYS[1], 1)`, Write, "GET,SET", false},
	{"constant local that changes to anything", `local cmd = "GET"; cmd = ARGV[1]; return redis.call(cmd, KEYS[1])`, Write, "GET", true},
	{"choice of constants", `local cmd = ARGV[1] and "LPOP" or "RPOP"; return redis.call(cmd, KEYS[1])`, Write, "LPOP,RPOP", false},
	{"choice of reads", `return redis.call(ARGV[1] == 'r' and "ZREVRANGE" or "ZRANGE", KEYS[1], 0, 1)`, Read, "ZRANGE,ZREVRANGE", false},
	{"constant with a default", `local cmd = ARGV[1] or "GET"; return redis.call(cmd, KEYS[1])`, Write, "GET", true},
	{"name as a known parameter", `local function f(cmd) return redis.call(cmd, KEYS[1]) end; f('GET'); return f('STRLEN')`, Read, "GET,STRLEN", false},
	{"name as a parameter of what escapes", `local function f(cmd) return redis.call(cmd, KEYS[1]) end; f('GET'); return table.foreach(ARGV, f)`, Write, "", true},
	{"name as an unknown parameter", `local function f(cmd) return redis.call(cmd, KEYS[1]) end; f('GET'); return f(ARGV[1])`, Write, "GET", true},
	{"a wrapper with varargs", `local function f(...) return redis.call(...) end; return f('GET', KEYS[1])`, Read, "GET", false},
	{"a wrapper with varargs, writing", `local function f(x, ...) return redis.call(...) end; return f(1, 'SET', KEYS[1], 1)`, Write, "SET", false},
	{"a wrapper with varargs passed on", `local function g(...) return redis.call(...) end; local function f(...) return g(...) end; return f('GET', KEYS[1])`, Write, "", true},
	{"a collected command", `local c = {'ZADD', KEYS[1]}; for i = 1, #ARGV do table.insert(c, ARGV[i]) end; return redis.call(unpack(c))`, Write, "ZADD", false},
	{"a collected read", `local c = {'MGET'}; for i = 1, #KEYS do c[#c + 1] = KEYS[i] end; return redis.call(unpack(c))`, Read, "MGET", false},
	{"a collected command with a choice", `local c = {ARGV[1] and 'LPOP' or 'RPOP', KEYS[1]}; return redis.pcall(unpack(c))`, Write, "LPOP,RPOP", false},
	{"a collected command from an argument", `local c = {ARGV[1]}; return redis.call(unpack(c))`, Write, "", true},
	{"name as a loop variable", `for _, c in ipairs({'GET'}) do redis.call(c, KEYS[1]) end`, Write, "", true},
	{"name from a function", `local function n() return 'GET' end; return redis.call(n(), KEYS[1])`, Write, "", true},
	{"recursion", `local function f(c, n) if n == 0 then return redis.call(c, KEYS[1]) end return f(c, n - 1) end return f('GET', 3)`, Read, "GET", false},
	{"a circle of names", `local a, b = 'GET'; b = a; a = b; return redis.call(a, KEYS[1])`, Read, "GET", false},

	{"a container's subcommand", `return redis.call('OBJECT', 'encoding', KEYS[1])`, Read, "OBJECT|ENCODING", false},
	{"a container's write", `return redis.call('xgroup', 'create', KEYS[1], 'g', '$')`, Write, "XGROUP|CREATE", false},
	{"a container's unknown subcommand", `return redis.call('OBJECT', ARGV[1], KEYS[1])`, Write, "OBJECT", true},
	{"a container alone", `return redis.call('OBJECT')`, Write, "OBJECT", false},
	{"an unknown command", `return redis.call('JSON.GET', KEYS[1])`, Write, "JSON.GET", false},
	{"PUBLISH runs on primaries only", `return redis.call('PUBLISH', KEYS[1], 1)`, Write, "PUBLISH", false},
	{"PFCOUNT is refused in read-only scripts", `return redis.call('PFCOUNT', KEYS[1])`, Write, "PFCOUNT", false},
	{"SORT may store", `return redis.call('SORT', KEYS[1])`, Write, "SORT", false},

	{"text in comments and strings", "-- redis.call('SET')\n--[[ redis.call('DEL') ]] local s = \"redis.call('SET')\" return s", Read, "", false},
	{"other members of redis", `redis.log(redis.LOG_NOTICE, redis.sha1hex('x')); return redis.status_reply('OK')`, Read, "", false},
	{"a write in a branch never taken", `if false then redis.call('SET', KEYS[1], 1) end`, Write, "SET", false},
	{"a function library", "#!lua name=lib\nredis.register_function('f', function(keys, args) return redis.call('SET', keys[1], args[1]) end)", Write, "SET", false},
	{"a library that reads", "#!lua name=lib\nlocal function f(keys) return redis.call('GET', keys[1]) end\nredis.register_function{function_name='f', callback=f, flags={'no-writes'}}", Read, "GET", false},
}

func TestReadIsSaidOnlyOfScriptsThatProvablyDoNotWrite(t *testing.T) {
	for _, c := range classCases {
		t.Run(c.name, func(t *testing.T) {
			a := analyse(t, c.body)
			if a.Class != c.class || a.Dynamic != c.dynamic || strings.Join(a.Commands, ",") != c.commands {
				t.Errorf("class %v dynamic %v commands %v, want %v %v %v\n%s",
					a.Class, a.Dynamic, a.Commands, c.class, c.dynamic, c.commands, c.body)
			}
		})
	}
}

// repairedBodies are Lua 5.1 that gopher-lua's scanner refuses or reads otherwise.
var repairedBodies = map[string]string{
	"shebang":                  "#!lua flags=no-writes\nreturn redis.call('GET', KEYS[1])",
	"goto as a name":           "local goto = KEYS[1]; return redis.call('GET', goto)",
	"goto as a field":          "local t = {goto = KEYS[1]}; return redis.call('GET', t.goto)",
	"vertical tab":             "return\vredis.call('GET',\fKEYS[1])",
	"hexadecimal float":        "local x = 0x1p4; return redis.call('GET', KEYS[1])",
	"escape of a vertical tab": `local x = "\v\065\x41"; return redis.call('GET', KEYS[1])`,
	"comment that begins --[=": "--[= not a long comment\nreturn redis.call('GET', KEYS[1])",
	"a bracket after a line end": "local function f() return redis.call end local _ = 1\n" +
		"local g = (function(k) return function() return redis.call('GET', k) end end)(KEYS[1])\nreturn g()",
	"carriage returns":        "local a = 1\r\nlocal b = 2\rreturn redis.call('GET', KEYS[1])",
	"bytes that are not text": "local a = '\xff\x00\xfe'; return redis.call('GET', KEYS[1])",
	"semicolons":              "local t = {1; 2;}; return redis.call('GET', KEYS[1]);",
}

func TestBodiesThatGopherLuaRefusesAndRedisRunsAreAnalysed(t *testing.T) {
	for name, body := range repairedBodies {
		t.Run(name, func(t *testing.T) {
			if a := analyse(t, body); !slices.Contains(a.Commands, "GET") {
				t.Errorf("commands %v", a.Commands)
			}
		})
	}
}

// notLua are bodies that Redis refuses, with what is said of them.
var notLua = map[string]string{
	"return redis.call(":              `"(" is never closed`,
	"return )":                        `unexpected ")"`,
	"x = = 1":                         `syntax error near "="`,
	"if true then":                    "unexpected end of the script",
	"return 'abc":                     "unfinished string",
	"return [[abc":                    "unfinished long string",
	"--[[ abc":                        "unfinished long comment",
	"return 1e":                       `malformed number near "1e"`,
	"return 1..2":                     `malformed number near "1..2"`,
	"return '\\300'":                  "escape sequence too large",
	"return [=abc":                    "invalid long string delimiter",
	"return @":                        `unexpected symbol near "@"`,
	"for i=1,2 do goto done end":      "goto",
	"::done:: return 1":               "goto",
	"\x1bLuaQ":                        "unexpected symbol",
	"end redis.call('SET', 'a', 'b')": `syntax error near "end"`,
	";;; return 1":                    "no empty statement",
	"if true then ; end":              "no empty statement",
	"a.b":                             "syntax error",
}

func TestBodiesThatAreNotLuaAreUnanalysedAndWrites(t *testing.T) {
	for body, why := range notLua {
		a := Analyse([]byte(body), Options{})
		if a.Analysed || a.Class != Write || !strings.Contains(a.Why, why) {
			t.Errorf("%q: analysed %v class %v why %q, want %q", body, a.Analysed, a.Class, a.Why, why)
		}
	}
}

func TestTheShebangIsReadAsRedisReadsIt(t *testing.T) {
	for _, c := range []struct {
		line, engine, library string
		flags                 []string
		noWrites              bool
		problems              int
	}{
		{"#!lua", "lua", "", nil, false, 0},
		{"#!lua flags=no-writes,allow-stale", "lua", "", []string{"no-writes", "allow-stale"}, true, 0},
		{"#!lua name=mylib", "lua", "mylib", nil, false, 0},
		{"#!lua flags=readonly", "lua", "", []string{"readonly"}, false, 1},
		{"#!js name=x", "js", "x", nil, false, 1},
		{"#! lua", "", "", nil, false, 2},
		{"#!lua option", "lua", "", nil, false, 1},
	} {
		s := readShebang([]byte(c.line + "\nreturn 1"))
		a := analyse(t, c.line+"\nreturn 1")
		if !a.Shebang || a.Engine != c.engine || a.Library != c.library || !slices.Equal(a.Flags, c.flags) ||
			a.NoWrites != c.noWrites || len(s.problems) != c.problems {
			t.Errorf("%s: %+v %q", c.line, a, s.problems)
		}
	}
	if s := readShebang([]byte("#!lua")); len(s.problems) != 1 {
		t.Errorf("a shebang without a line end: %q", s.problems)
	}
}

func TestTheContractCountsKeysAndArguments(t *testing.T) {
	for _, c := range []struct {
		body           string
		maxKey, maxArg int
		want           Contract
	}{
		{`return 1`, 0, 0, Contract{}},
		{`return redis.call('GET', KEYS[1])`, 1, 0, Contract{MinKeys: 1}},
		{`return redis.call('SET', KEYS[2], ARGV[3])`, 2, 3, Contract{MinKeys: 2, MinArgs: 3}},
		{`if ARGV[2] then redis.call('SET', KEYS[1], ARGV[2]) end`, 1, 2, Contract{}},
		{`local ttl = ARGV[2] or 5; return redis.call('EXPIRE', KEYS[1], ttl)`, 1, 2, Contract{MinKeys: 1}},
		{`local n = tonumber(ARGV[1]); if n then return n end return redis.call('GET', KEYS[1])`, 1, 1, Contract{}},
		{`local n = tonumber(ARGV[1]); return n + 1`, 0, 1, Contract{MinArgs: 1}},
		{`if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end return redis.call('GET', KEYS[2])`, 2, 0, Contract{MinKeys: 1}},
		{`for i = 1, #KEYS do redis.call('DEL', KEYS[i]) end`, 0, 0, Contract{VariableKeys: true}},
		{`return redis.call('MSET', unpack(ARGV))`, 0, 0, Contract{VariableArgs: true}},
		{`for _, k in ipairs(KEYS) do redis.call('SADD', k, ARGV[1]) end`, 0, 1, Contract{VariableKeys: true}},
		{`local KEYS = {}; return KEYS[9]`, 0, 0, Contract{}},
	} {
		a := analyse(t, c.body)
		if a.MaxKey != c.maxKey || a.MaxArg != c.maxArg || a.Contract != c.want {
			t.Errorf("%s\n max %d %d %+v, want %d %d %+v", c.body, a.MaxKey, a.MaxArg, a.Contract, c.maxKey, c.maxArg, c.want)
		}
	}
}

func TestTheCallersTableDecidesWhatWrites(t *testing.T) {
	table := func(name, sub string) CommandInfo {
		return CommandInfo{Known: name == "JSON.GET" || name == "MY.WRITE", Write: name == "MY.WRITE"}
	}
	for body, want := range map[string]Class{
		`return redis.call('json.get', KEYS[1])`: Read,
		`return redis.call('my.write', KEYS[1])`: Write,
		`return redis.call('GET', KEYS[1])`:      Write,
	} {
		if a := Analyse([]byte(body), Options{Commands: table}); a.Class != want {
			t.Errorf("%s: %v", body, a.Class)
		}
	}
}
