package lua

import (
	"slices"

	"github.com/yuin/gopher-lua/ast"
)

// orderRules are about results that differ from run to run, and between nodes.
var orderRules = []Rule{
	{
		ID: "math-random", Level: Warning,
		Summary: "math.random can be foretold",
		Explanation: "Redis seeds Lua's generator with a constant: every server begins with the same numbers after its start, and up to Redis 6 every run " +
			"of a script does. A token made with it can be guessed, and a sample is the same one again. Where no write uses the number the " +
			"finding is a note.",
		Fix:   "Pass a random number as an argument, or call math.randomseed with one (or with TIME).",
		Bad:   "return redis.call('SET', KEYS[1], math.random(1000000))\n",
		Good:  "math.randomseed(tonumber(ARGV[1]))\nreturn redis.call('SET', KEYS[1], math.random(1000000))\n",
		check: checkMathRandom,
	},
	{
		ID: "time-feeds-write", Level: Note,
		Summary: "The clock of the server goes into a write",
		Explanation: "A value from TIME is written. With replication by effects (always from Redis 7.0, the default from 5.0) replicas get the same " +
			"value; before that Redis refuses the write. The clock is that of the node which runs the script: after a failover it may go back.",
		Fix:   "Nothing on Redis 5 and later, as long as the script bears a clock that jumps; else pass the time as an argument.",
		Bad:   "local now = redis.call('TIME')\nreturn redis.call('SET', KEYS[1], now[1])\n",
		Good:  "return redis.call('SET', KEYS[1], ARGV[1])\n",
		check: func(l *linter) { checkFeeds(l, fromTime, Note, "the server's clock goes into this %s") },
	},
	{
		ID: "random-feeds-write", Level: Note,
		Summary: "A random member goes into a write",
		Explanation: "SRANDMEMBER, SPOP, RANDOMKEY, HRANDFIELD or ZRANDMEMBER chose what is written, so two runs with the same data do different things. " +
			"Replicas get the effect and agree; before Redis 5 the write is refused.",
		Fix:   "Nothing, if chance is what is meant; else take the member by a rule (ZPOPMIN, LPOP).",
		Bad:   "local winner = redis.call('SRANDMEMBER', KEYS[1])\nreturn redis.call('SET', KEYS[2], winner)\n",
		Good:  "local winner = redis.call('ZRANGE', KEYS[1], 0, 0)[1]\nreturn redis.call('SET', KEYS[2], winner)\n",
		check: func(l *linter) { checkFeeds(l, fromMember, Note, "a random choice goes into this %s") },
	},
	{
		ID: "pairs-feeds-write", Level: Warning,
		Summary: "The order of pairs() goes into a write",
		Explanation: "pairs() and next() walk a table in an order that is not defined and differs between runs and servers. Where it decides the order of " +
			"list elements, stream entries or messages, the data differs from run to run; where it only decides the order of independent " +
			"writes, the finding is a note.",
		Fix:   "Walk an array with ipairs(), or sort the keys with table.sort first.",
		Bad:   "local t = cjson.decode(ARGV[1])\nfor name in pairs(t) do\n  redis.call('RPUSH', KEYS[1], name)\nend\n",
		Good:  "local t = cjson.decode(ARGV[1])\nfor i, name in ipairs(t) do\n  t[i] = tostring(name)\nend\nreturn redis.call('RPUSH', KEYS[1], unpack(t))\n",
		check: checkPairs,
	},
	{
		ID: "unsorted-result", Level: Warning,
		Summary: "An unsorted reply decides a result that depends on order",
		Explanation: "The members of a set and the fields of a hash come in no defined order, and in different orders on nodes with the same data. Taking " +
			"the first, joining them to one string or pushing them on a list makes that order part of the result.",
		Fix:   "Sort the reply with table.sort first, or keep the data in a sorted set or list.",
		Bad:   "local members = redis.call('SMEMBERS', KEYS[1])\nreturn members[1]\n",
		Good:  "local members = redis.call('SMEMBERS', KEYS[1])\ntable.sort(members)\nreturn members[1]\n",
		check: checkUnsorted,
	},
}

func checkMathRandom(l *linter) {
	for _, c := range l.others {
		if c.path == "math.randomseed" && len(c.call.Args) > 0 && l.origin(c.call.Args[0])&^(fromLiteral|fromBuilt) != 0 {
			return
		}
	}
	level := Note
	if slices.ContainsFunc(l.sites, func(s *site) bool { return l.writes(s) && l.originOfAll(s.args)&fromRandom != 0 }) {
		level = Warning
	}
	for _, c := range l.others {
		if c.path == "math.random" {
			l.reportf(level, span{c.tok, l.callEnd(c.call)}, "math.random is seeded with a constant: its numbers can be foretold")
			return
		}
	}
}

// ordered are the writes whose effect depends on the order of their arguments and calls; logged are those whose order
// only shows in a log or to listeners.
var (
	ordered = []string{"LPUSH", "RPUSH", "LPUSHX", "RPUSHX", "LINSERT", "APPEND"}
	logged  = []string{"XADD", "PUBLISH", "SPUBLISH"}
)

// checkFeeds reports the first write into which values of an origin go.
func checkFeeds(l *linter, o origin, level Level, format string) {
	for _, s := range l.sites {
		if l.writes(s) && l.originOfAll(s.args)&o != 0 {
			l.reportf(level, s.span(), format, s.title())
			return
		}
	}
}

func checkPairs(l *linter) {
	for _, s := range l.sites {
		if !l.writes(s) || l.originOfAll(s.args)&fromPairs == 0 {
			continue
		}
		if s.is(ordered...) {
			l.reportf(Warning, s.span(), "the order of pairs() decides the order of this %s", s.title())
		} else if l.once("note") {
			l.reportf(Note, s.span(), "the order of pairs() decides in which order %s is called", s.title())
		}
	}
}

func checkUnsorted(l *linter) {
	for _, s := range l.sites {
		if s.is(ordered...) && l.originOfAll(s.args)&fromUnsorted != 0 {
			l.reportf(Warning, s.span(), "members in no defined order decide the order of this %s", s.title())
		} else if s.is(logged...) && l.originOfAll(s.args)&fromUnsorted != 0 && l.once("logged") {
			l.reportf(Note, s.span(), "members in no defined order decide the order of this %s", s.title())
		}
	}
	for _, c := range l.others {
		if c.path == "table.concat" && len(c.call.Args) > 0 && l.origin(c.call.Args[0])&fromUnsorted != 0 {
			l.reportf(Warning, span{c.tok, l.callEnd(c.call)}, "the joined text depends on the order of members, which is not defined")
		}
	}
	for _, x := range l.index {
		if _, ok := x.expr.Key.(*ast.NumberExpr); !ok || x.set {
			continue
		}
		from, ok := l.replies(x.expr.Object)
		if !ok || len(from) == 0 || l.sorted[l.variableOf(x.expr.Object)] {
			continue
		}
		if slices.ContainsFunc(from, func(s *site) bool { return !s.is("SMEMBERS", "SUNION", "SINTER", "SDIFF", "HKEYS", "HVALS") }) {
			continue
		}
		l.reportf(Warning, span{x.tok, x.tok}, "which member of %s is the first is not defined", from[0].title())
	}
}
