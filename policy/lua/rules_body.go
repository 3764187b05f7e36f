package lua

import (
	"errors"
	"slices"
)

const (
	unanalysedRule = "unanalysed"
	syntaxRule     = "syntax-error"
	shebangRule    = "bad-shebang"
)

// bodyRules are about the body as a whole and its first line.
var bodyRules = []Rule{
	{
		ID: unanalysedRule, Level: Note,
		Summary: "The script could not be analysed",
		Explanation: "The body is beyond the limits of the analysis: too long, nested too deeply, or out of time. Nothing is known about " +
			"it, so it counts as a write and no other rule has looked at it. Redis may well run it.",
		Fix: "Make the script smaller: data belongs into arguments or keys, not into the body.",
		Bad: deepExample, Good: "return redis.call('GET', KEYS[1])\n",
	},
	{
		ID: syntaxRule, Level: Warning,
		Summary: "The body is not Lua 5.1",
		Explanation: "Redis runs Lua 5.1 and would refuse this body when it is loaded. The analysis can't look into it either, so it counts " +
			"as a write. Labels and `goto`, integer division and bitwise operators belong to later versions of Lua.",
		Fix: "Correct the syntax; `redis-cli SCRIPT LOAD` gives Redis's own message.",
		Bad: "if KEYS[1] then\n  return 1\n", Good: "if KEYS[1] then\n  return 1\nend\n",
	},
	{
		ID: shebangRule, Level: Error,
		Summary: "Redis refuses the script's first line",
		Explanation: "From Redis 7.0 a script may begin with `#!lua`, followed by `flags=` and a list of no-writes, allow-oom, allow-stale, " +
			"no-cluster and allow-cross-slot-keys; a function library has `name=` too. Redis refuses anything else there before the script starts.",
		Fix: "Write the first line as #!lua or #!lua flags=FLAG,FLAG.",
		Bad: "#!lua flags=readonly\nreturn redis.call('GET', KEYS[1])\n", Good: "#!lua flags=no-writes\nreturn redis.call('GET', KEYS[1])\n",
		check: func(l *linter) { l.a.addShebang(l.head) },
	},
	{
		ID: "missing-flag", Level: Note,
		Summary: "The script could have a shebang flag that it lacks",
		Explanation: "A script that only reads can say so in its first line: with `#!lua flags=no-writes` Redis 7 itself refuses any write, " +
			"runs the script on read-only replicas and while writes are paused, and can always kill it. A script that has a shebang and only " +
			"removes data can have `allow-oom`: without it Redis refuses to start it when memory is full, when it is needed most.\n\n" +
			"Redis 6 and earlier don't know the line and refuse the script.",
		Fix:   "Add the flag to the first line; the script's sha changes with it.",
		Bad:   "return redis.call('GET', KEYS[1])\n",
		Good:  "#!lua flags=no-writes\nreturn redis.call('GET', KEYS[1])\n",
		check: checkMissingFlag,
	},
	{
		ID: "write-in-read-script", Level: Error,
		Summary: "A script declared read calls a command that writes",
		Explanation: "The configuration or the flag `no-writes` says that the script only reads, but it calls a command that writes. On a replica " +
			"or with the flag the call fails, possibly after others have succeeded. PUBLISH, SPUBLISH and PFCOUNT count as writes: Redis " +
			"refuses them in read-only scripts.",
		Fix:   "Take the command out, or declare the script a write.",
		Bad:   "#!lua flags=no-writes\nredis.call('INCR', KEYS[2])\nreturn redis.call('GET', KEYS[1])\n",
		Good:  "#!lua flags=no-writes\nreturn redis.call('GET', KEYS[1])\n",
		check: checkWriteInRead,
	},
	{
		ID: "global-variable", Level: Error,
		Summary: "A global variable is assigned",
		Explanation: "Redis protects the global table: assigning a global fails with \"Attempt to modify a readonly table\" or \"Script attempted " +
			"to create global variable\". Usually a `local` is missing.",
		Fix:   "Write local before the name.",
		Bad:   "count = redis.call('GET', KEYS[1])\nreturn count\n",
		Good:  "local count = redis.call('GET', KEYS[1])\nreturn count\n",
		check: checkGlobalWrites,
	},
	{
		ID: "undefined-global", Level: Error,
		Summary: "A global variable is read that Redis does not have",
		Explanation: "Reading a global that does not exist fails with \"Script attempted to access nonexistent global variable\". Usually the name " +
			"is misspelt, or declared in another block. `print` exists only up to Redis 6, and prints to the server's terminal.",
		Fix:   "Declare it with local, or correct the name.",
		Bad:   "local total = redis.call('GET', KEYS[1])\nreturn totl\n",
		Good:  "local total = redis.call('GET', KEYS[1])\nreturn total\n",
		check: checkGlobalReads,
	},
}

const deepExample = "return ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((\n" +
	"((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((\n" +
	"1))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))\n" +
	"))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))\n"

// bodyFinding is a finding about the first line, for which nothing of the body need be known.
func bodyFinding(rule, message string) Finding {
	r := ruleByID(rule)
	return Finding{Rule: rule, Level: r.Level, Line: 1, Column: 1, EndLine: 1, EndColumn: 1,
		Message: message, Fix: r.Fix, Page: r.Page()}
}

func (a *Analysis) addUnanalysed(why string) {
	a.Findings = append(a.Findings, bodyFinding(unanalysedRule, "the script is not analysed: "+why))
}

// addSyntax replaces the finding that the body is unanalysed by one with the place.
func (a *Analysis) addSyntax(u *unit, err error) {
	f := bodyFinding(syntaxRule, err.Error())
	if at, ok := errors.AsType[*syntaxError](err); ok {
		f.Line, f.Column = u.position(at.off)
		f.EndLine, f.EndColumn = f.Line, f.Column+1
	}
	a.Findings = []Finding{f}
}

func (a *Analysis) addShebang(s shebang) {
	for _, p := range s.problems {
		f := bodyFinding(shebangRule, p)
		f.EndColumn = 1 + max(2, s.length)
		a.Findings = append(a.Findings, f)
	}
}

// firstToken is a span for findings about the script as a whole.
func (l *linter) firstToken() (span, bool) { return span{0, 0}, len(l.toks) > 0 }

// shrinking are the writes that only remove data or change its lifetime; Redis runs them when memory is full.
var shrinking = []string{"DEL", "UNLINK", "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "PERSIST", "HDEL", "SREM", "SPOP", "ZREM",
	"ZPOPMIN", "ZPOPMAX", "ZREMRANGEBYSCORE", "ZREMRANGEBYRANK", "ZREMRANGEBYLEX", "LPOP", "RPOP", "LREM", "LTRIM", "XDEL", "XTRIM", "XACK"}

func checkMissingFlag(l *linter) {
	at, ok := l.firstToken()
	if !ok || l.a.Dynamic || l.a.Library != "" || len(l.sites) == 0 || len(l.head.problems) > 0 {
		return
	}
	if l.a.Class == Read && !l.a.NoWrites {
		msg, fix := "the script only reads and does not say so", "Make #!lua flags=no-writes the first line (Redis 7 and later)."
		if l.a.Shebang {
			fix = "Add no-writes to the flags of the first line."
		}
		l.report(Note, at, msg, fix)
		return
	}
	if !l.a.Shebang || slices.Contains(l.a.Flags, "allow-oom") {
		return
	}
	wrote := false
	for _, s := range l.sites {
		if l.writes(s) {
			wrote = true
			if !s.is(shrinking...) {
				return
			}
		}
	}
	if wrote {
		l.report(Note, at, "the script only removes data, but Redis will not start it when memory is full",
			"Add allow-oom to the flags of the first line.")
	}
}

func checkWriteInRead(l *linter) {
	if l.opt.DeclaredClass != Read && !l.a.NoWrites {
		return
	}
	by := "the configuration"
	if l.a.NoWrites {
		by = "the flag no-writes"
	}
	for _, s := range l.sites {
		for _, n := range s.names {
			switch info := l.info(n); {
			case info.Write:
				l.reportf(Error, s.span(), "%s writes, but %s declares this script read", commandTitle(n), by)
			case !info.Known:
				l.reportf(Warning, s.span(), "%s is not known to be a read, and %s declares this script read", commandTitle(n), by)
			}
		}
	}
}

func checkGlobalWrites(l *linter) {
	for _, w := range l.globalWrites {
		what := "assigned"
		if w.fn {
			what = "defined as a function"
		}
		if l.once(w.v.name) {
			l.reportf(Error, span{w.tok, w.tok}, "the global %s is %s; Redis refuses that", w.v.name, what)
		}
	}
}

// redisGlobals are the globals of Redis 7.0 and Valkey 8, and of earlier versions where they differ.
var redisGlobals = map[string]bool{
	"KEYS": true, "ARGV": true, "redis": true, "server": true, "assert": true, "collectgarbage": true, "error": true,
	"gcinfo": true, "getmetatable": true, "ipairs": true, "next": true, "pairs": true, "pcall": true, "rawequal": true,
	"rawget": true, "rawset": true, "select": true, "setmetatable": true, "tonumber": true, "tostring": true, "type": true,
	"unpack": true, "xpcall": true, "coroutine": true, "math": true, "string": true, "table": true, "struct": true,
	"cjson": true, "cmsgpack": true, "bit": true, "os": true, "_VERSION": true, "__redis__err__handler": true,
}

func checkGlobalReads(l *linter) {
	for _, v := range l.vars {
		switch {
		case !v.global || v.reads == 0 || len(v.inits) > 0 || v.unknown:
		case l.a.Library != "" && (v.name == "KEYS" || v.name == "ARGV"):
			l.reportf(Error, span{v.tok, v.tok}, "functions have no global %s; keys and arguments are their two parameters", v.name)
		case redisGlobals[v.name] || hidden[v.name]:
		case v.name == "print":
			l.reportf(Warning, span{v.tok, v.tok}, "print does not exist from Redis 7 on")
		default:
			l.reportf(Error, span{v.tok, v.tok}, "the global variable %s does not exist", v.name)
		}
	}
}
