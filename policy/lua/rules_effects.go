package lua

import (
	"slices"

	"github.com/yuin/gopher-lua/ast"
)

// effectRules are about writes that stay when the script fails, and writes that replicas don't get.
var effectRules = []Rule{
	{
		ID: "partial-effects", Level: Note,
		Summary: "A call after the first write may fail, and nothing is rolled back",
		Explanation: "When redis.call fails (a key of another type, a value that is no number, memory full) the script ends there. What was written before " +
			"stays, and is replicated: Redis rolls nothing back. The finding stands at the first such call; it is a note because every script with two " +
			"writes has it.",
		Fix:   "Check types and values before the first write, or use redis.pcall and undo on an error.",
		Bad:   "redis.call('DECRBY', KEYS[1], ARGV[1])\nredis.call('INCRBY', KEYS[2], ARGV[1])\n",
		Good:  "return redis.call('INCRBY', KEYS[1], ARGV[1])\n",
		check: checkPartialEffects,
	},
	{
		ID: "error-after-write", Level: Warning,
		Summary: "The script writes first and then fails on purpose",
		Explanation: "After a write the script raises or returns an error of its own. The caller reads the error as \"nothing happened\", but the write " +
			"stays: nothing is rolled back.",
		Fix: "Check before the first write, or undo the write before the error.",
		Bad: "redis.call('HSET', KEYS[1], 'owner', ARGV[1])\nif redis.call('HGET', KEYS[1], 'locked') then\n" +
			"  return redis.error_reply('LOCKED the item is locked')\nend\nreturn 1\n",
		Good: "if redis.call('HGET', KEYS[1], 'locked') then\n  return redis.error_reply('LOCKED the item is locked')\nend\n" +
			"redis.call('HSET', KEYS[1], 'owner', ARGV[1])\nreturn 1\n",
		check: checkErrorAfterWrite,
	},
	{
		ID: "set-repl", Level: Error,
		Summary: "redis.set_repl keeps writes from replicas or the AOF",
		Explanation: "After redis.set_repl with anything but REPL_ALL, writes reach only part of the replicas and the append-only file: the primary " +
			"has data that is gone after a failover or a restart, and replicas differ from it for good. REPL_ALL is a note: it does nothing by itself.",
		Fix:   "Take the call out. For data that need not survive, use a key with an expiry.",
		Bad:   "redis.set_repl(redis.REPL_NONE)\nreturn redis.call('SET', KEYS[1], ARGV[1])\n",
		Good:  "return redis.call('SET', KEYS[1], ARGV[1], 'EX', 60)\n",
		check: checkSetRepl,
	},
}

func checkPartialEffects(l *linter) {
	var wrote *site
	for _, s := range l.sites {
		l.b.step()
		if wrote == nil {
			if l.writes(s) {
				wrote = s
			}
			continue
		}
		if s.fn != wrote.fn || s.pcall || l.exclusive(s.guard, wrote.guard) || s.is("TIME", "PING", "EXPIRE", "PEXPIRE", "DEL", "UNLINK", "EXISTS") {
			continue
		}
		line, _ := l.position(l.toks[wrote.tok].off)
		l.reportf(Note, s.span(), "if this %s fails, the %s in line %d stays: nothing is rolled back", s.title(), wrote.title(), line)
		return
	}
}

// failure is a place where the script makes an error of its own.
type failure struct {
	*place
	at span
}

// failures are the calls of error and assert and the returns of an error reply.
func (l *linter) failures() []failure {
	var out []failure
	for _, c := range l.others {
		if c.path == "error" || c.path == "assert" {
			out = append(out, failure{&c.place, span{c.tok, l.callEnd(c.call)}})
		}
	}
	for _, r := range l.rets {
		if len(r.stmt.Exprs) == 0 {
			continue
		}
		switch e := r.stmt.Exprs[0].(type) {
		case *ast.FuncCallExpr:
			if c := l.callOf[e]; c != nil && (c.path == "redis.error_reply" || c.path == "server.error_reply") {
				out = append(out, failure{&r.place, span{c.tok, l.callEnd(e)}})
			}
		case *ast.TableExpr:
			for _, f := range e.Fields {
				if k, ok := f.Key.(*ast.StringExpr); ok && k.Value == "err" {
					out = append(out, failure{&r.place, span{l.tok(e), l.tok(e)}})
				}
			}
		}
	}
	return out
}

// tidying are writes that do no harm when the script fails after them: they remove what had its time, or set it.
var tidying = []string{"ZREMRANGEBYSCORE", "ZREMRANGEBYRANK", "ZREMRANGEBYLEX", "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "PERSIST",
	"LTRIM", "XTRIM", "TOUCH", "PUBLISH"}

// answering are writes whose reply says whether they happened, or which count attempts upwards.
var answering = []string{"SET", "SETNX", "HSETNX", "SADD", "ZADD", "INCR", "INCRBY", "HINCRBY", "MSETNX", "RENAMENX", "DEL", "UNLINK",
	"SREM", "ZREM", "HDEL", "LREM", "XACK"}

func checkErrorAfterWrite(l *linter) {
	for _, f := range l.failures() {
		for _, w := range l.sites {
			l.b.step()
			if w.seq > f.seq || w.fn != f.fn || !l.writes(w) || w.is(tidying...) || l.exclusive(w.guard, f.guard) || l.undone(w, f) ||
				l.undoes(w, f) || l.answersTo(f, w) {
				continue
			}
			line, _ := l.position(l.toks[w.tok].off)
			l.reportf(Warning, f.at, "the script fails here after the %s in line %d, which stays", w.title(), line)
			break
		}
	}
}

// undone tells whether another write stands between a write and the failure, in the failure's own branch.
func (l *linter) undone(w *site, f failure) bool {
	for _, s := range l.sites {
		l.b.step()
		if s.seq > w.seq && s.seq < f.seq && s.guard == f.guard && f.guard != nil && s.guard != w.guard && l.writes(s) {
			return true
		}
	}
	return false
}

// undoes tells whether a write in the failure's own branch may be the one that undoes an earlier write.
func (l *linter) undoes(w *site, f failure) bool {
	if f.guard == nil || w.guard != f.guard {
		return false
	}
	return slices.ContainsFunc(l.sites, func(s *site) bool {
		l.b.step()
		return s.seq < w.seq && s.guard != w.guard && s.fn == w.fn && l.writes(s) && !s.is(tidying...)
	})
}

// answersTo tells whether the failure is decided by the write's own reply: an error that pcall caught, or the answer
// of a write that tests.
func (l *linter) answersTo(f failure, w *site) bool {
	return f.guards(func(g *guard) bool {
		return (w.pcall || l.answers(w)) && slices.Contains(l.sitesIn(g.cond), w)
	})
}

func (l *linter) answers(w *site) bool {
	if !w.is(answering...) {
		return false
	}
	reduces := w.is("INCRBY", "HINCRBY") && l.negative(valueAt(w.args, len(w.args)-1))
	return !reduces
}

func checkSetRepl(l *linter) {
	for _, u := range l.api {
		switch u.name {
		case "set_repl":
			if u.call != nil && len(u.call.Args) == 1 && l.globalPath(u.call.Args[0]) == "redis.REPL_ALL" {
				l.reportf(Note, span{u.tok, l.callEnd(u.call)}, "redis.set_repl(redis.REPL_ALL) is the default")
				continue
			}
			end := u.tok
			if u.call != nil {
				end = l.callEnd(u.call)
			}
			l.reportf(Error, span{u.tok, end}, "writes after redis.set_repl don't reach every replica and the append-only file")
		case "replicate_commands":
			l.report(Note, span{u.tok, u.tok}, "redis.replicate_commands has no effect from Redis 7 on", "Take the call out where Redis 4 is not used.")
		}
	}
}
