package lua

import (
	"strings"

	"github.com/yuin/gopher-lua/ast"
)

// commandRules are about which commands are called, and whether that can be seen.
var commandRules = []Rule{
	{
		ID: "dynamic-command", Level: Warning,
		Summary: "Which command is called can't be seen",
		Explanation: "The name of the command, or of the function that calls it, is computed. Nobody can say from the script what it does: it counts " +
			"as a write, is not sent to replicas, and policies by command don't match it. A name given by the caller (`redis.call(ARGV[1])`) " +
			"turns the right to run one script into the right to run any command.",
		Fix:   "Write the command's name as a literal; choose between literals with and/or where it varies.",
		Bad:   "return redis.call(ARGV[1], KEYS[1])\n",
		Good:  "local cmd = ARGV[1] == 'left' and 'LPOP' or 'RPOP'\nreturn redis.call(cmd, KEYS[1])\n",
		check: checkDynamicCommands,
	},
	{
		ID: "dynamic-code", Level: Warning,
		Summary: "Code is made at run time, or globals are reached by computed names",
		Explanation: "`loadstring`, `load`, `setfenv`, `getfenv`, `_G` and their like run text as code or reach every global under a name that " +
			"no reader sees. The script counts as a write.",
		Fix:   "Write the code out. For a choice of behaviours use a table of functions.",
		Bad:   "return loadstring(ARGV[1])()\n",
		Good:  "local actions = {double = function(n) return n * 2 end}\nreturn actions[ARGV[1]](tonumber(ARGV[2]))\n",
		check: func(l *linter) { checkEscapes(l, true) },
	},
	{
		ID: "hidden-call", Level: Warning,
		Summary: "redis or redis.call is handed to where it can't be followed",
		Explanation: "The redis table or its call function is stored in a table, passed to an unknown function, returned, or replaced. Calls through it " +
			"can't be found, so the script counts as a write. Locals such as `local call = redis.call` are followed and fine.",
		Fix:   "Call redis.call directly or through a local of its own.",
		Bad:   "local api = {run = redis.call}\nreturn api.run('GET', KEYS[1])\n",
		Good:  "local call = redis.call\nreturn call('GET', KEYS[1])\n",
		check: func(l *linter) { checkEscapes(l, false) },
	},
	{
		ID: "dangerous-command", Level: Error,
		Summary: "A command that harms everybody on the server",
		Explanation: "FLUSHALL, FLUSHDB and SWAPDB destroy or exchange what other users have; KEYS walks the whole key space, MIGRATE waits for another " +
			"server, and while a script runs nothing else does. None of them can be interrupted inside a script. SELECT, RANDOMKEY, MOVE and " +
			"SORT … BY reach keys or databases that the script did not declare.",
		Fix: "Take the command out of the script.",
		Bad: "for _, key in ipairs(redis.call('KEYS', 'session:*')) do\n  redis.call('DEL', key)\nend\nreturn redis.call('FLUSHDB')\n",
		Good: "-- The members of the set KEYS[1] are registered when their keys are made.\n" +
			"return redis.call('SRANDMEMBER', KEYS[1], 10)\n",
		check: checkDangerous,
	},
	{
		ID: "refused-command", Level: Error,
		Summary: "Redis refuses this command inside scripts",
		Explanation: "Commands that change the connection, wait, or administer the server are flagged noscript: Redis answers \"This Redis command is " +
			"not allowed from script\". The list is that of Redis 7.0.",
		Fix:   "Call it from the client, outside of the script.",
		Bad:   "redis.call('SET', KEYS[1], ARGV[1])\nreturn redis.call('WAIT', 1, 100)\n",
		Good:  "return redis.call('SET', KEYS[1], ARGV[1])\n",
		check: checkRefused,
	},
	{
		ID: "unlink-large-key", Level: Note,
		Summary: "DEL of a list, set, hash, sorted set or stream",
		Explanation: "DEL frees a collection before the next command runs: a set of a million members took 210 ms on Redis 7.0, in which the server " +
			"answered nobody. UNLINK takes the key away at once and frees it in the background. (With `lazyfree-lazy-user-del yes` DEL does the same.)",
		Fix:   "Use UNLINK.",
		Bad:   "redis.call('SADD', KEYS[1], ARGV[1])\nreturn redis.call('DEL', KEYS[1])\n",
		Good:  "redis.call('SADD', KEYS[1], ARGV[1])\nreturn redis.call('UNLINK', KEYS[1])\n",
		check: checkUnlink,
	},
}

func checkDynamicCommands(l *linter) {
	for _, s := range l.sites {
		switch {
		case !s.sure && len(s.args) == 0 && len(s.call.Args) == 0:
			l.reportf(Warning, s.span(), "no command is given")
		case !s.sure:
			l.reportf(Warning, s.span(), "the command's name is computed: it can't be seen what is called")
		case s.computed:
			l.reportf(Warning, s.span(), "the command's name is put together from pieces: %s", s.title())
		}
	}
}

func checkEscapes(l *linter, code bool) {
	for _, e := range l.escapes {
		switch {
		case e.code != code:
		case code:
			l.reportf(Warning, span{e.tok, e.tok}, "%s makes code or globals reachable that can't be seen", e.what)
		default:
			l.reportf(Warning, span{e.tok, e.tok}, "%s gets out of sight here: calls through it can't be found", e.what)
		}
	}
}

// danger is what is wrong with a command, and what to do instead.
type danger struct {
	level    Level
	why, fix string
}

var dangers = map[string]danger{
	"FLUSHALL": {Error, "deletes every key of every database and blocks the server until they are freed",
		"Run FLUSHALL ASYNC from an administrator's client, never from a script."},
	"FLUSHDB": {Error, "deletes every key of the database and blocks the server until they are freed",
		"Run FLUSHDB ASYNC from an administrator's client, never from a script."},
	"SWAPDB": {Error, "exchanges the data of all clients of two databases",
		"Run SWAPDB from an administrator's client, never from a script."},
	"MIGRATE": {Error, "waits for another server while nobody else is served",
		"Call MIGRATE from the client, or use DUMP here and RESTORE there."},
	"KEYS": {Error, "walks the whole key space while nobody else is served, and reaches keys that were not declared",
		"Keep the keys' names in a set and pass its key, or SCAN from the client."},
	"SCAN": {Warning, "walks the key space and reaches keys that were not declared",
		"SCAN from the client, and pass the keys that it finds."},
	"SELECT": {Warning, "changes the database in which the rest of the script runs; Cluster has one only",
		"Give what needs a database of its own a key prefix instead."},
	"RANDOMKEY": {Warning, "reaches a key that was not declared", "Keep candidates in a set and use SRANDMEMBER."},
	"MOVE":      {Warning, "reaches into another database; Cluster has one only", "Rename the key within the database."},
}

func checkDangerous(l *linter) {
	for _, s := range l.sites {
		for _, n := range s.names {
			d, ok := dangers[n]
			if n == "SORT" && (l.hasLiteral(s.args, "BY") || l.hasLiteral(s.args, "GET")) {
				d, ok = danger{Warning, "with BY or GET reaches keys that were not declared; Cluster refuses it",
					"Keep what is sorted by in a sorted set."}, true
			}
			if !ok {
				continue
			}
			level := d.level
			if l.hasLiteral(s.args, "ASYNC") {
				level = Warning
				d.why = strings.Replace(d.why, " and blocks the server until they are freed", "", 1)
			}
			l.report(level, s.span(), n+" "+d.why, d.fix)
		}
	}
}

func checkRefused(l *linter) {
	for _, s := range l.sites {
		for _, n := range s.names {
			if commandTable()[n].noscript {
				l.reportf(Error, s.span(), "Redis refuses %s inside scripts", commandTitle(n))
			}
		}
	}
}

// collectionCommands work on values that may be large.
var collectionCommands = []string{"LPUSH", "RPUSH", "LRANGE", "SADD", "SMEMBERS", "SREM", "ZADD", "ZRANGE", "ZREM", "ZINCRBY", "HSET",
	"HMSET", "HGETALL", "HKEYS", "HVALS", "XADD", "XRANGE", "SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE", "ZUNIONSTORE", "ZINTERSTORE"}

func checkUnlink(l *linter) {
	used := map[string]string{}
	for _, s := range l.sites {
		if s.is(collectionCommands...) {
			used[l.keyText(s)] = s.title()
		}
	}
	for _, s := range l.sites {
		if !s.is("DEL") {
			continue
		}
		for _, i := range l.keyPositions(s) {
			if by := used[l.argText(s, i)]; by != "" && l.once(l.argText(s, i)) {
				l.reportf(Note, l.argSpan(s, i), "DEL of a key that %s uses may take long when it is large", by)
			}
		}
	}
}

// hasSpread tells whether an argument stands for several: unpack(…) or ….
func (l *linter) hasSpread(args []ast.Expr) bool {
	for _, a := range args {
		switch a := a.(type) {
		case *ast.Comma3Expr:
			return true
		case *ast.FuncCallExpr:
			if c := l.callOf[a]; c != nil && c.path == "unpack" {
				return true
			}
		}
	}
	return false
}
