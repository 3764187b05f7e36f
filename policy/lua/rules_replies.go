package lua

import (
	"slices"

	"github.com/yuin/gopher-lua/ast"
)

// replyRules are about what Redis's replies are in Lua.
var replyRules = []Rule{
	{
		ID: "reply-as-hash", Level: Error,
		Summary: "A reply is indexed as if it were a table of names",
		Explanation: "HGETALL, CONFIG GET, XRANGE and the like give Lua a flat list: `{'field', 'value', …}`. `reply['field']` is always nil. Only `ok` and " +
			"`err` of status and error replies have names, and what RESP3 gives after redis.setresp(3) (`map`, `set`, `double`, `big_number`, " +
			"`verbatim_string`).",
		Fix: "Ask for the field itself (HGET, HMGET), or build a table from the pairs of the list.",
		Bad: "local user = redis.call('HGETALL', KEYS[1])\nreturn user['name']\n",
		Good: "local list = redis.call('HGETALL', KEYS[1])\nlocal user = {}\nfor i = 1, #list, 2 do\n  user[list[i]] = list[i + 1]\nend\n" +
			"return user['name']\n",
		check: checkReplyAsHash,
	},
	{
		ID: "reply-never-nil", Level: Warning,
		Summary: "A reply is compared with nil",
		Explanation: "A nil reply is `false` in Lua, not nil (except after redis.setresp(3)). `redis.call('GET', key) == nil` is never true, so the branch for " +
			"the missing key is never taken.",
		Fix:   "Write `not reply`, or compare with false.",
		Bad:   "local v = redis.call('GET', KEYS[1])\nif v == nil then\n  return 0\nend\nreturn v\n",
		Good:  "local v = redis.call('GET', KEYS[1])\nif not v then\n  return 0\nend\nreturn v\n",
		check: checkReplyNil,
	},
	{
		ID: "status-compared", Level: Error,
		Summary:     "A status reply is compared with a string",
		Explanation: "SET, TYPE, MSET and others answer with a status, which is a table in Lua: `{ok = 'OK'}`. Comparing it with a string is never true.",
		Fix:         "Compare its field: `reply.ok` or `reply['ok']`.",
		Bad:         "if redis.call('TYPE', KEYS[1]) == 'hash' then\n  return 1\nend\nreturn 0\n",
		Good:        "if redis.call('TYPE', KEYS[1]).ok == 'hash' then\n  return 1\nend\nreturn 0\n",
		check:       checkStatusCompared,
	},
	{
		ID: "integer-as-condition", Level: Error,
		Summary:     "An integer reply is used as a condition",
		Explanation: "EXISTS, SISMEMBER, SETNX and others answer 0 or 1, and in Lua 0 is true: the condition always holds (and `not` of it never).",
		Fix:         "Compare with 1.",
		Bad:         "if redis.call('EXISTS', KEYS[1]) then\n  return 'there'\nend\nreturn 'missing'\n",
		Good:        "if redis.call('EXISTS', KEYS[1]) == 1 then\n  return 'there'\nend\nreturn 'missing'\n",
		check:       checkIntegerCondition,
	},
}

// replyFields are the names that replies have in Lua.
var replyFields = map[string]bool{"ok": true, "err": true, "map": true, "set": true, "double": true, "big_number": true,
	"verbatim_string": true, "format": true, "string": true, "len": true, "source": true, "line": true,
	"ignore_error_stats_update": true}

// usesRESP3 tells whether the script changes what replies look like.
func (l *linter) usesRESP3() bool {
	return slices.ContainsFunc(l.api, func(u apiUse) bool { return u.name == "setresp" })
}

func checkReplyAsHash(l *linter) {
	for _, x := range l.index {
		key, ok := x.expr.Key.(*ast.StringExpr)
		if !ok || x.set || replyFields[key.Value] {
			continue
		}
		from := l.replyBehind(x.expr.Object)
		if len(from) == 0 {
			continue
		}
		if c, ok := x.parent.(*ast.FuncCallExpr); ok && c.Func == ast.Expr(x.expr) {
			continue // calls a member: fails, but is no mistake about hashes
		}
		if v := l.variableOf(x.expr.Object); v != nil && len(l.inits[v]) > 0 {
			continue // the script gives the table fields of its own
		}
		l.reportf(Error, span{x.tok, l.tok(x.expr.Key)}, "the reply of %s has no field %q: it is a list or a string", from[0].title(), clip(key.Value))
	}
}

// replyBehind finds the calls whose reply, or an element of whose reply, an expression is.
func (l *linter) replyBehind(e ast.Expr) []*site {
	for range 4 {
		a, ok := e.(*ast.AttrGetExpr)
		if !ok {
			break
		}
		if _, ok := a.Key.(*ast.NumberExpr); !ok {
			return nil
		}
		e = a.Object
	}
	from, ok := l.replies(e)
	if ok {
		return from
	}
	// for _, e in ipairs(reply)
	v := l.variableOf(e)
	if v == nil || v.global || v.param || len(v.inits) > 0 || len(v.steps) != 1 {
		return nil
	}
	if c, ok := v.steps[0].(*ast.FuncCallExpr); ok && l.callOf[c] != nil && l.callOf[c].path == "ipairs" && len(c.Args) == 1 {
		if from, ok := l.replies(c.Args[0]); ok {
			return from
		}
	}
	return nil
}

func checkReplyNil(l *linter) {
	if l.usesRESP3() {
		return
	}
	for _, c := range l.conds {
		l.eachExpr(c.expr, func(e ast.Expr) {
			r, ok := e.(*ast.RelationalOpExpr)
			if !ok || r.Operator != "==" && r.Operator != "~=" || !isNil(r.Rhs) && !isNil(r.Lhs) {
				return
			}
			side := r.Lhs
			if isNil(side) {
				side = r.Rhs
			}
			from, ok := l.replies(side)
			if !ok || len(from) == 0 || l.mayBeNil(side) || l.alsoComparedWithFalse(c.expr, side) {
				return
			}
			l.reportf(Warning, span{l.tok(r.Lhs), l.tok(r.Rhs)}, "the reply of %s is never nil: a missing value is false", from[0].title())
		})
	}
}

// mayBeNil tells whether a variable may be nil beside what replies give it: declared without a value, or assigned nil.
func (l *linter) mayBeNil(e ast.Expr) bool {
	v := l.variableOf(e)
	if v == nil {
		return false
	}
	for _, i := range v.inits {
		if s, ok := l.replies(i); !ok || len(s) == 0 {
			return true
		}
	}
	return v.empty
}

// alsoComparedWithFalse tells whether a condition looks at the same value's truth too.
func (l *linter) alsoComparedWithFalse(cond, side ast.Expr) bool {
	v := l.variableOf(side)
	if v == nil {
		return false
	}
	found := false
	l.eachExpr(cond, func(e ast.Expr) {
		switch e := e.(type) {
		case *ast.UnaryNotOpExpr:
			found = found || l.variableOf(e.Expr) == v
		case *ast.LogicalOpExpr:
			found = found || l.variableOf(e.Lhs) == v || l.variableOf(e.Rhs) == v
		case *ast.RelationalOpExpr:
			_, lf := e.Lhs.(*ast.FalseExpr)
			_, rf := e.Rhs.(*ast.FalseExpr)
			found = found || lf && l.variableOf(e.Rhs) == v || rf && l.variableOf(e.Lhs) == v
		}
	})
	return found
}

var statusReplies = []string{"SET", "SETEX", "PSETEX", "MSET", "HMSET", "TYPE", "RENAME", "LSET", "LTRIM", "RESTORE", "FLUSHALL", "FLUSHDB",
	"XGROUP|CREATE", "XGROUP|SETID", "SELECT", "PING", "SWAPDB", "PFMERGE", "FUNCTION|LOAD"}

func checkStatusCompared(l *linter) {
	for _, c := range l.comparisons() {
		side := c.Lhs
		if _, ok := side.(*ast.StringExpr); ok {
			side = c.Rhs
		} else if _, ok := c.Rhs.(*ast.StringExpr); !ok {
			continue
		}
		from, ok := l.replies(side)
		if !ok || len(from) == 0 || slices.ContainsFunc(from, func(s *site) bool { return !s.is(statusReplies...) || l.hasLiteral(s.args, "GET") }) {
			continue
		}
		l.reportf(Error, span{l.tok(c.Lhs), l.tok(c.Rhs)}, "the status of %s is a table in Lua and equals no string", from[0].title())
	}
}

// comparisons are the == and ~= in conditions, initial values, arguments and results.
func (l *linter) comparisons() []*ast.RelationalOpExpr {
	var out []*ast.RelationalOpExpr
	visit := func(e ast.Expr) {
		l.eachExpr(e, func(e ast.Expr) {
			if r, ok := e.(*ast.RelationalOpExpr); ok && (r.Operator == "==" || r.Operator == "~=") {
				out = append(out, r)
			}
		})
	}
	for _, c := range l.conds {
		visit(c.expr)
	}
	for _, v := range l.vars {
		for _, e := range v.inits {
			visit(e)
		}
	}
	for _, r := range l.rets {
		for _, e := range r.stmt.Exprs {
			visit(e)
		}
	}
	return out
}

// zeroOrOne are the commands whose integer reply answers a question.
var zeroOrOne = []string{"EXISTS", "SISMEMBER", "HEXISTS", "SETNX", "HSETNX", "MSETNX", "RENAMENX", "MOVE", "SMOVE", "PERSIST", "EXPIRE",
	"PEXPIRE", "EXPIREAT", "PEXPIREAT", "COPY", "GETBIT"}

func checkIntegerCondition(l *linter) {
	for _, c := range l.conds {
		l.operands(c.expr, func(e ast.Expr) {
			from, ok := l.replies(e)
			if !ok || len(from) == 0 || slices.ContainsFunc(from, func(s *site) bool { return !s.is(zeroOrOne...) || s.pcall }) || l.mayBeNil(e) {
				return
			}
			end := l.tok(e)
			if call, ok := e.(*ast.FuncCallExpr); ok {
				end = l.callEnd(call)
			}
			l.reportf(Error, span{l.tok(e), end}, "%s answers 0 or 1, and both are true in Lua", from[0].title())
		})
	}
}

// operands calls fn for each value whose truth a condition asks for.
func (l *linter) operands(e ast.Expr, fn func(ast.Expr)) {
	switch e := e.(type) {
	case *ast.LogicalOpExpr:
		l.operands(e.Lhs, fn)
		l.operands(e.Rhs, fn)
	case *ast.UnaryNotOpExpr:
		l.operands(e.Expr, fn)
	default:
		fn(e)
	}
}
