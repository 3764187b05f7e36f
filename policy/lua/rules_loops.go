package lua

import (
	"slices"
	"strconv"

	"github.com/yuin/gopher-lua/ast"
)

// loopRules are about the time for which a script keeps the server from everybody else.
var loopRules = []Rule{
	{
		ID: "loop-variadic", Level: Warning,
		Summary: "A command in a loop that could be one command for all",
		Explanation: "While a script runs nobody else is served. One MGET, MSET, HMGET, or one DEL, SADD, ZADD with many arguments does the " +
			"work of the loop in about half the time: on Redis 7.0, 140,000 calls of GET took 145 ms, the same reads by MGET 79 ms. `unpack` " +
			"takes fewer than 8,000 values at a time: do more in slices.\n\n" +
			"Where the call depends on a condition the finding is a note: collect the arguments in a table and make one call after the loop.",
		Fix: "Collect the arguments in a table and make one call after the loop.",
		Bad: "for i = 1, #KEYS do\n  redis.call('SET', KEYS[i], ARGV[i])\nend\n",
		Good: "local pairs_ = {}\nfor i = 1, #KEYS do\n  pairs_[#pairs_ + 1] = KEYS[i]\n  pairs_[#pairs_ + 1] = ARGV[i]\nend\n" +
			"return redis.call('MSET', unpack(pairs_))\n",
		check: checkLoopVariadic,
	},
	{
		ID: "unbounded-loop", Level: Error,
		Summary: "A loop without a visible bound",
		Explanation: "How often the loop runs depends on data that the script does not limit, so it may keep the server from everybody for as long as " +
			"the data likes. Redis aborts nothing: past busy-reply-threshold it only starts to answer BUSY, and a script that has written " +
			"cannot be killed.\n\n" +
			"A bound is visible when a counter goes into the condition or an exit, or when the loop walks a table. A loop with neither a " +
			"condition that can change nor an exit is an error.",
		Fix: "Count the rounds and stop at a limit; let the caller call again for the rest.",
		Bad: "while true do\n  redis.call('RPOPLPUSH', KEYS[1], KEYS[2])\nend\n",
		Good: "local moved = 0\nwhile moved < 100 and redis.call('LLEN', KEYS[1]) > 0 do\n  redis.call('RPOPLPUSH', KEYS[1], KEYS[2])\n" +
			"  moved = moved + 1\nend\nreturn moved\n",
		check: checkUnboundedLoops,
	},
	{
		ID: "unbounded-read", Level: Warning,
		Summary: "A read without a limit feeds a loop",
		Explanation: "LRANGE 0 -1, SMEMBERS, HGETALL, ZRANGE 0 -1 and their like return all that is there: with a million elements the reply alone takes " +
			"hundreds of megabytes of Lua's memory, and the loop over it calls Redis a million times while nobody else is served. A loop " +
			"that calls nothing makes the finding a note.",
		Fix: "Read a limited part (LRANGE 0 99, ZRANGE … LIMIT, SRANDMEMBER with a count) and let the caller come again.",
		Bad: "local jobs = redis.call('LRANGE', KEYS[1], 0, -1)\nfor _, id in ipairs(jobs) do\n  redis.call('INCR', KEYS[2] .. id)\nend\n",
		Good: "local jobs = redis.call('LRANGE', KEYS[1], 0, 99)\nfor _, id in ipairs(jobs) do\n  redis.call('INCR', KEYS[2] .. id)\nend\n" +
			"return #jobs\n",
		check: checkUnboundedReads,
	},
}

// variadic is the form of a command that does the work of many.
type variadic struct {
	args    int  // arguments of the plain form, key included
	sameKey bool // only calls with the same key can be joined
	form    string
	counts  bool // the joined call answers with one number for all
}

var variadics = map[string]variadic{
	"GET": {1, false, "MGET key key …", false}, "SET": {2, false, "MSET key value key value …", true},
	"DEL": {1, false, "DEL key key …", true}, "UNLINK": {1, false, "UNLINK key key …", true},
	"EXISTS": {1, false, "EXISTS key key …", true}, "TOUCH": {1, false, "TOUCH key key …", true},
	"HGET": {2, true, "HMGET key field field …", false}, "HSET": {3, true, "HSET key field value field value …", true},
	"HMSET": {3, true, "HSET key field value field value …", true}, "HDEL": {2, true, "HDEL key field field …", true},
	"SADD": {2, true, "SADD key member member …", true}, "SREM": {2, true, "SREM key member member …", true},
	"SISMEMBER": {2, true, "SMISMEMBER key member member … (Redis 6.2)", false},
	"ZADD":      {3, true, "ZADD key score member score member …", true}, "ZREM": {2, true, "ZREM key member member …", true},
	"ZSCORE": {2, true, "ZMSCORE key member member … (Redis 6.2)", false},
	"LPUSH":  {2, true, "LPUSH key element element …", true}, "RPUSH": {2, true, "RPUSH key element element …", true},
	"PFADD": {2, true, "PFADD key element element …", true}, "XDEL": {2, true, "XDEL key id id …", true},
	"XACK": {3, true, "XACK key group id id …", true}, "GEOADD": {4, true, "GEOADD key longitude latitude member …", true},
	"LPOP": {1, true, "LPOP key count (Redis 6.2)", false}, "RPOP": {1, true, "RPOP key count (Redis 6.2)", false},
	"SPOP": {1, true, "SPOP key count", false}, "ZPOPMIN": {1, true, "ZPOPMIN key count", false}, "ZPOPMAX": {1, true, "ZPOPMAX key count", false},
	"LINDEX": {2, true, "LRANGE key start stop", false},
}

func checkLoopVariadic(l *linter) {
	for _, s := range l.sites {
		lp := s.loop
		if lp == nil || lp.fn != s.fn || lp.kind != numericLoop && lp.kind != genericLoop || !s.sure || len(s.names) != 1 {
			continue
		}
		v, ok := variadics[s.names[0]]
		if !ok || len(s.args) != v.args || l.hasSpread(s.args) || l.smallLoop(lp) {
			continue
		}
		if v.counts && !l.needless(s) {
			continue
		}
		varies := l.variesIn(s.args[0], lp)
		if v.sameKey && varies || !v.sameKey && !varies || l.dependsOnItself(s, lp) {
			continue
		}
		level := Warning
		if s.guard != lp.place.guard || s.protected || s.optional {
			level = Note
		}
		l.reportf(level, s.span(), "%s runs once for every round of the loop; one %s would do", s.names[0], v.form)
	}
}

// needless tells whether the reply of each single call is not needed: it is thrown away, added up, or (of EXISTS) only
// decides whether the loop goes on.
func (l *linter) needless(s *site) bool {
	switch p := s.parent.(type) {
	case *ast.FuncCallStmt:
		return true
	case *ast.ArithmeticOpExpr:
		return p.Operator == "+"
	case *ast.RelationalOpExpr:
		i, ok := s.stmt.(*ast.IfStmt)
		return ok && s.is("EXISTS") && i.Condition == ast.Expr(p) && mayLeaveAny(i.Then)
	}
	return false
}

// smallLoop tells whether a loop runs at most ten times, by its literal bounds.
func (l *linter) smallLoop(lp *loop) bool {
	s, ok := lp.stmt.(*ast.NumberForStmt)
	if !ok {
		return false
	}
	from, err1 := strconv.ParseFloat(l.literal(s.Init), 64)
	to, err2 := strconv.ParseFloat(l.literal(s.Limit), 64)
	return err1 == nil && err2 == nil && to-from < 10 && from-to < 10
}

// inside tells whether a token lies in the loop.
func (l *linter) inside(tok int32, lp *loop) bool {
	return tok >= lp.tok && tok <= max(l.lastTok(lp.stmt), lp.tok)
}

// variesIn tells whether an expression may have different values in different rounds.
func (l *linter) variesIn(e ast.Expr, lp *loop) bool {
	varies := false
	l.eachExpr(e, func(e ast.Expr) {
		switch e := e.(type) {
		case *ast.FuncCallExpr:
			varies = varies || l.siteOf[e] != nil
		case *ast.IdentExpr:
			v := l.bound[e]
			varies = varies || v != nil && (!v.global && l.inside(v.tok, lp) || l.assignedIn(v, lp))
		}
	})
	return varies
}

// assignedIn tells whether a variable gets a value inside the loop.
func (l *linter) assignedIn(v *variable, lp *loop) bool {
	for _, e := range v.inits {
		if l.inside(l.tok(e), lp) {
			return true
		}
	}
	return false
}

// dependsOnItself tells whether a call's arguments come from replies that the same loop reads by the same call.
func (l *linter) dependsOnItself(s *site, lp *loop) bool {
	for _, a := range s.args {
		if s.loop == lp && l.origin(a)&fromReply != 0 {
			for _, from := range l.sitesIn(a) {
				if from == s {
					return true
				}
			}
		}
	}
	return false
}

func checkUnboundedLoops(l *linter) {
	for _, lp := range l.loops {
		at := span{lp.tok, lp.tok}
		switch lp.kind {
		case numericLoop:
			if s := lp.stmt.(*ast.NumberForStmt); l.globalPath(s.Limit) == "math.huge" && !lp.exits {
				l.reportf(Error, at, "the loop has no end: its limit is math.huge and nothing leaves it")
			}
			continue
		case genericLoop:
			continue
		}
		constant := l.neverStops(lp)
		switch {
		case constant && !lp.exits:
			l.reportf(Error, at, "the loop has no end: its condition never changes and nothing leaves it")
		case constant && l.boundedExit(lp):
		case !constant && (l.bounding(lp.cond, lp) || l.boundedExit(lp)):
		case constant:
			l.reportf(Warning, at, "the loop has no visible bound: it ends only when the data lets it leave")
		default:
			l.reportf(Warning, at, "the loop has no visible bound: its condition depends on data that the script does not limit")
		}
	}
}

// neverStops tells whether a loop's condition is a constant that keeps it running.
func (l *linter) neverStops(lp *loop) bool {
	switch lp.cond.(type) {
	case *ast.TrueExpr, *ast.NumberExpr, *ast.StringExpr:
		return lp.kind == whileLoop
	case *ast.FalseExpr, *ast.NilExpr:
		return lp.kind == repeatLoop
	}
	return false
}

// boundedExit tells whether the loop leaves on a condition that is bounded.
func (l *linter) boundedExit(lp *loop) bool {
	for _, c := range l.conds {
		l.b.step()
		if c.loop != lp {
			continue
		}
		if s, ok := c.stmt.(*ast.IfStmt); ok && (mayLeaveAny(s.Then) || mayLeaveAny(s.Else)) && l.bounding(c.expr, lp) {
			return true
		}
	}
	return false
}

// bounding tells whether a condition bounds the loop: it looks at a variable which the loop counts, or takes from
// text or tables that are not replies of the loop itself.
func (l *linter) bounding(e ast.Expr, lp *loop) bool {
	found := false
	l.eachExpr(e, func(e ast.Expr) {
		id, ok := e.(*ast.IdentExpr)
		if !ok || found {
			return
		}
		v := l.bound[id]
		if v == nil {
			return
		}
		for _, i := range slices.Concat(v.inits, v.steps) {
			if l.inside(l.tok(i), lp) && l.advances(i, v, lp) {
				found = true
			}
		}
		for _, c := range l.others {
			l.b.step()
			if c.path == "table.remove" && c.loop.within(lp) && l.variableOf(valueAt(c.call.Args, 0)) == v {
				found = true
			}
		}
	})
	return found
}

// advances tells whether an assignment in the loop counts (i = i + 1) or takes the next piece of something that
// no command of the loop reads (pos = string.find(s, ',', pos)).
func (l *linter) advances(e ast.Expr, v *variable, lp *loop) bool {
	switch x := e.(type) {
	case *ast.ArithmeticOpExpr:
		return true
	case *ast.LogicalOpExpr:
		return l.advances(x.Lhs, v, lp) || l.advances(x.Rhs, v, lp)
	case *ast.FuncCallExpr:
		if l.siteOf[x] != nil {
			return false
		}
		if c := l.callOf[x]; c != nil && c.fn != nil && slices.ContainsFunc(x.Args, func(a ast.Expr) bool { return l.variableOf(a) == v }) {
			return true // a function of the script counts it: budget = spend(budget)
		}
	}
	for _, s := range l.sitesIn(e) {
		if s.loop.within(lp) {
			return false
		}
	}
	_, call := e.(*ast.FuncCallExpr)
	return call
}

// limitless tells whether a site reads all that a key holds.
func (l *linter) limitless(s *site) bool {
	word := func(i int) string {
		if i < len(s.args) {
			return l.literal(s.args[i])
		}
		return ""
	}
	switch {
	case s.is("SMEMBERS", "HGETALL", "HKEYS", "HVALS", "SUNION", "SINTER", "SDIFF", "KEYS"):
		return true
	case s.is("LRANGE", "ZREVRANGE", "ZRANGE"):
		return word(1) == "0" && word(2) == "-1" && !l.hasLiteral(s.args, "LIMIT")
	case s.is("ZRANGEBYSCORE"):
		return word(1) == "-INF" && word(2) == "+INF" && !l.hasLiteral(s.args, "LIMIT")
	case s.is("ZREVRANGEBYSCORE"):
		return word(1) == "+INF" && word(2) == "-INF" && !l.hasLiteral(s.args, "LIMIT")
	case s.is("XRANGE"):
		return word(1) == "-" && word(2) == "+" && !l.hasLiteral(s.args, "COUNT")
	case s.is("XREVRANGE"):
		return word(1) == "+" && word(2) == "-" && !l.hasLiteral(s.args, "COUNT")
	}
	return false
}

func checkUnboundedReads(l *linter) {
	for _, lp := range l.loops {
		var sources []ast.Expr
		switch s := lp.stmt.(type) {
		case *ast.GenericForStmt:
			sources = s.Exprs
		case *ast.NumberForStmt:
			sources = []ast.Expr{s.Init, s.Limit}
		default:
			continue
		}
		for _, e := range sources {
			for _, s := range l.sitesIn(e) {
				if !l.limitless(s) || !l.once(strconv.Itoa(int(s.tok))) {
					continue
				}
				line, _ := l.position(l.toks[lp.tok].off)
				if l.callsRedis(lp) {
					l.reportf(Warning, s.span(), "%s reads without a limit, and the loop in line %d calls Redis for each element", s.title(), line)
				} else {
					l.reportf(Note, s.span(), "%s reads without a limit, and the loop in line %d walks all of it", s.title(), line)
				}
			}
		}
	}
}

// callsRedis tells whether a loop calls a command for each element, itself or through a function of the script. Calls that
// take many elements at once by unpack don't count.
func (l *linter) callsRedis(lp *loop) bool {
	for _, s := range l.sites {
		l.b.step()
		if s.loop.within(lp) && !l.hasSpread(s.args) {
			return true
		}
	}
	for _, c := range l.others {
		if c.loop.within(lp) && c.fn != nil && l.functionCalls(c.fn, map[*function]bool{}) {
			return true
		}
	}
	return false
}

func (l *linter) functionCalls(f *function, seen map[*function]bool) bool {
	if seen[f] {
		return false
	}
	seen[f] = true
	for _, s := range l.sites {
		l.b.step()
		if s.fn == f {
			return true
		}
	}
	for _, c := range l.others {
		l.b.step()
		if c.place.fn == f && c.fn != nil && l.functionCalls(c.fn, seen) {
			return true
		}
	}
	return false
}
