package lua

import (
	"slices"
	"strings"

	"github.com/yuin/gopher-lua/ast"
)

// lockRules are about locks held in Redis.
var lockRules = []Rule{
	{
		ID: "lock-without-expiry", Level: Warning,
		Summary: "A lock is taken that never expires",
		Explanation: "SETNX or SET … NX without an expiry: when the holder dies, nobody gets the lock again until somebody deletes it by hand. For a key " +
			"whose name says nothing of a lock the finding is a note: a marker of that kind stays for ever too.",
		Fix:   "Use SET key token NX PX milliseconds.",
		Bad:   "local lock_key = KEYS[1]\nreturn redis.call('SETNX', lock_key, ARGV[1])\n",
		Good:  "local lock_key = KEYS[1]\nreturn redis.call('SET', lock_key, ARGV[1], 'NX', 'PX', ARGV[2])\n",
		check: checkLockExpiry,
	},
	{
		ID: "lock-released-blindly", Level: Warning,
		Summary: "A lock is released without comparing its token",
		Explanation: "When the lock has expired and another client has taken it, an unconditional DEL releases the other's lock, and a third client gets in " +
			"beside it. Where the lock's name comes from a stored record the finding is a note: tidying up after dead holders looks like that.",
		Fix:   "Delete the key only when GET of it equals the token with which it was taken.",
		Bad:   "local lock_key = KEYS[1]\nreturn redis.call('DEL', lock_key)\n",
		Good:  "local lock_key = KEYS[1]\nif redis.call('GET', lock_key) == ARGV[1] then\n  return redis.call('DEL', lock_key)\nend\nreturn 0\n",
		check: checkBlindRelease,
	},
	{
		ID: "lock-released-elsewhere", Level: Warning,
		Summary: "A lock's token is compared here and the lock released in a second call",
		Explanation: "The script only says whether the caller still holds the lock. By the time a second call deletes it, it may have expired and belong to " +
			"somebody else: comparing and deleting must be one script.",
		Fix:   "Delete the key in the same script, in the branch where the token matches.",
		Bad:   "local lock_key = KEYS[1]\nif redis.call('GET', lock_key) == ARGV[1] then\n  return 1\nend\nreturn 0\n",
		Good:  "local lock_key = KEYS[1]\nif redis.call('GET', lock_key) == ARGV[1] then\n  return redis.call('DEL', lock_key)\nend\nreturn 0\n",
		check: checkReleaseElsewhere,
	},
}

var lockWords = map[string]bool{"lock": true, "locks": true, "locking": true, "unlock": true, "mutex": true, "lease": true, "semaphore": true}

// mentions tells whether one of the words stands in a name: userLock, USER_LOCK and user:lock have the word lock,
// block and clock don't.
func mentions(name string, words map[string]bool) bool {
	start := 0
	for i := 0; i <= len(name); i++ {
		letter := i < len(name) && name[i]|0x20 >= 'a' && name[i]|0x20 <= 'z'
		hump := letter && i > start && name[i] < 'a' && name[i-1] >= 'a'
		if letter && !hump {
			continue
		}
		if i-start <= 16 && words[strings.ToLower(name[start:i])] {
			return true
		}
		start = i
		if !letter {
			start++
		}
	}
	return false
}

// speaksOf tells whether one of the words stands in the script's name, or in what an expression is called: names,
// members and literals in it, and in the values of the locals that it names.
func (l *linter) speaksOf(e ast.Expr, words map[string]bool) bool {
	found := mentions(l.opt.Name, words)
	match := func(s string) { found = found || len(s) <= 256 && mentions(s, words) }
	var visit func(e ast.Expr, hops int)
	visit = func(e ast.Expr, hops int) {
		l.eachExpr(e, func(e ast.Expr) {
			switch e := e.(type) {
			case *ast.StringExpr:
				match(e.Value)
			case *ast.IdentExpr:
				match(e.Value)
				if v := l.bound[e]; v != nil && hops > 0 && len(v.inits) <= 4 && !v.global {
					for _, i := range v.inits {
						if _, call := i.(*ast.FuncCallExpr); !call {
							visit(i, hops-1)
						}
					}
				}
			}
		})
	}
	visit(e, 2)
	return found
}

// lockish tells whether a key is that of a lock, by its name.
func (l *linter) lockish(e ast.Expr) bool { return l.speaksOf(e, lockWords) }

// takesLock tells whether a site sets a key only when it is absent.
func (l *linter) takesLock(s *site) bool {
	return s.is("SETNX") || s.is("SET") && len(s.args) > 2 && l.hasLiteral(s.args[2:], "NX")
}

func checkLockExpiry(l *linter) {
	for _, s := range l.sites {
		if !l.takesLock(s) || len(s.args) < 2 {
			continue
		}
		if l.hasLiteral(s.args[2:], "EX", "PX", "EXAT", "PXAT", "KEEPTTL") || l.openOptions(s) || l.expiresLater(s) {
			continue
		}
		if l.lockish(s.args[0]) {
			l.reportf(Warning, s.span(), "the lock %s never expires: when its holder dies it is lost", l.argText(s, 0))
		} else {
			l.reportf(Note, s.span(), "the key %s is set once and never expires", l.argText(s, 0))
		}
	}
}

// openOptions tells whether a SET has options that can't be seen.
func (l *linter) openOptions(s *site) bool {
	return slices.ContainsFunc(s.args[2:], func(e ast.Expr) bool { return l.literal(e) == "" })
}

// expiresLater tells whether the script gives the same key an expiry.
func (l *linter) expiresLater(s *site) bool {
	key := l.argText(s, 0)
	return slices.ContainsFunc(l.sites, func(o *site) bool {
		l.b.step()
		return o.is("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT") && l.argText(o, 0) == key
	})
}

func checkBlindRelease(l *linter) {
	taken := map[string]bool{}
	for _, s := range l.sites {
		if l.takesLock(s) {
			taken[l.argText(s, 0)] = true
		}
	}
	for _, s := range l.sites {
		if !s.is("DEL", "UNLINK") {
			continue
		}
		for _, i := range l.keyPositions(s) {
			text := l.argText(s, i)
			if taken[text] || !l.lockish(s.args[i]) || l.tokenCompared(s) {
				continue
			}
			if l.origin(s.args[i])&fromReply != 0 {
				l.reportf(Note, l.argSpan(s, i), "the lock %s of a stored record is deleted without comparing its token", text)
				continue
			}
			l.reportf(Warning, l.argSpan(s, i), "the lock %s is deleted without comparing its token", text)
		}
	}
}

// tokenCompared tells whether a place is reached only after something read was compared with a value that the
// script does not hold itself.
func (l *linter) tokenCompared(s *site) bool {
	return s.guards(func(g *guard) bool {
		return l.compares(g.cond, "== ~=", func(a, b ast.Expr) bool { return l.read(a) && l.given(b) || l.read(b) && l.given(a) })
	})
}

func (l *linter) read(e ast.Expr) bool { return l.origin(e)&fromReply != 0 }

// given tells whether a value is more than literals.
func (l *linter) given(e ast.Expr) bool { return l.origin(e)&^(fromLiteral|fromBuilt) != 0 }

func checkReleaseElsewhere(l *linter) {
	if l.a.Class != Read || l.a.Dynamic {
		return
	}
	for _, c := range l.comparisons() {
		if l.heldToken(c.Lhs, c.Rhs) || l.heldToken(c.Rhs, c.Lhs) {
			l.reportf(Warning, span{l.tok(c.Lhs), l.tok(c.Rhs)}, "the lock's token is compared here, but a second call must release the lock")
			return
		}
	}
}

// heldToken tells whether one side is the value of a lock's key and the other an argument.
func (l *linter) heldToken(value, token ast.Expr) bool {
	from, ok := l.replies(value)
	if !ok || l.origin(token)&fromArgs == 0 {
		return false
	}
	return slices.ContainsFunc(from, func(s *site) bool {
		return s.is("GET", "HGET") && len(s.args) > 0 && l.lockish(s.args[0])
	})
}
