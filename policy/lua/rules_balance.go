package lua

import (
	"slices"
	"strings"

	"github.com/yuin/gopher-lua/ast"
)

// balanceRules are about numbers that stand for money and its like.
var balanceRules = []Rule{
	{
		ID: "balance-without-check", Level: Warning,
		Summary: "A balance is reduced without looking whether it suffices",
		Explanation: "Something called balance, account, wallet, credit, fund, stock or inventory is reduced, and no comparison with its value leads there: " +
			"it may go below zero. Comparing in another call does not help, since between two calls others run.",
		Fix: "Read the value first and return an error when it is smaller than the amount.",
		Bad: "local balance_key = KEYS[1]\nreturn redis.call('DECRBY', balance_key, ARGV[1])\n",
		Good: "local balance_key, token_key = KEYS[1], KEYS[2]\nlocal amount = tonumber(ARGV[1])\n" +
			"if redis.call('EXISTS', token_key) == 1 then\n  return redis.call('GET', balance_key)\nend\n" +
			"if tonumber(redis.call('GET', balance_key) or 0) < amount then\n  return redis.error_reply('INSUFFICIENT')\nend\n" +
			"redis.call('SET', token_key, 1, 'EX', 86400)\nreturn redis.call('DECRBY', balance_key, amount)\n",
		check: checkBalanceChecked,
	},
	{
		ID: "balance-without-token", Level: Warning,
		Summary: "A balance is changed without an idempotency token",
		Explanation: "When a connection breaks after the call was sent, the client can't know whether it ran. Calling again would change the balance twice; " +
			"not calling may lose the change. With a token per operation that the script remembers (SET token 1 NX EX …) the call can be " +
			"repeated safely.",
		Fix: "Pass a token of the operation as a key, do nothing when it is there, and set it with an expiry together with the change.",
		Bad: "local balance_key = KEYS[1]\nreturn redis.call('INCRBY', balance_key, ARGV[1])\n",
		Good: "local balance_key, token_key = KEYS[1], KEYS[2]\nif not redis.call('SET', token_key, 1, 'NX', 'EX', 86400) then\n" +
			"  return redis.call('GET', balance_key)\nend\nreturn redis.call('INCRBY', balance_key, ARGV[1])\n",
		check: checkBalanceToken,
	},
}

var balanceWords = map[string]bool{"balance": true, "balances": true, "account": true, "accounts": true, "acct": true, "wallet": true,
	"credit": true, "credits": true, "fund": true, "funds": true, "stock": true, "inventory": true}

// balanceChange is a site that changes a balance.
type balanceChange struct {
	*site
	reduces bool
	key     string // how key, and field if any, are written
}

func (l *linter) balanceChanges() []balanceChange {
	var out []balanceChange
	for _, s := range l.sites {
		c := balanceChange{site: s}
		var amount ast.Expr
		names := 1 // arguments that say what is changed
		switch {
		case s.is("DECR", "DECRBY"):
			c.reduces = true
		case s.is("INCRBY", "INCRBYFLOAT"):
			amount = valueAt(s.args, 1)
		case s.is("HINCRBY", "HINCRBYFLOAT"):
			names = 2
			amount = valueAt(s.args, 2)
		case s.is("SET"):
			amount = l.computed(valueAt(s.args, 1))
			if amount == nil {
				continue
			}
		case s.is("HSET") && len(s.args) == 3:
			names = 2
			amount = l.computed(s.args[2])
			if amount == nil {
				continue
			}
		default:
			continue
		}
		if len(s.args) < names || !slices.ContainsFunc(s.args[:names], func(e ast.Expr) bool { return l.speaksOf(e, balanceWords) }) {
			continue
		}
		c.reduces = c.reduces || l.negative(amount)
		for i := range names {
			c.key += l.argText(s, i) + " "
		}
		out = append(out, c)
	}
	return out
}

// computed is the arithmetic behind a value that is calculated from one that was read, nil when there is none.
func (l *linter) computed(e ast.Expr) ast.Expr {
	if v := l.variableOf(e); v != nil && len(v.inits) == 1 {
		e = v.inits[0]
	}
	if a, ok := e.(*ast.ArithmeticOpExpr); ok && l.origin(a)&fromReply != 0 {
		return a
	}
	return nil
}

// negative tells whether an amount is surely written as a reduction.
func (l *linter) negative(e ast.Expr) bool {
	if v := l.variableOf(e); v != nil && len(v.inits) == 1 {
		e = v.inits[0]
	}
	switch e := e.(type) {
	case *ast.UnaryMinusOpExpr:
		return true
	case *ast.StringExpr:
		return strings.HasPrefix(e.Value, "-")
	case *ast.StringConcatOpExpr:
		return l.literal(e.Lhs) == "-"
	case *ast.ArithmeticOpExpr:
		return e.Operator == "-"
	}
	return false
}

func checkBalanceChecked(l *linter) {
	for _, c := range l.balanceChanges() {
		if c.reduces && !l.amountCompared(c.site) && !l.resultCompared(c.site) {
			l.reportf(Warning, c.span(), "%sis reduced without a comparison with what is there", c.key)
		}
	}
}

// amountCompared tells whether a place is reached only after an ordering comparison with something read.
func (l *linter) amountCompared(s *site) bool {
	return s.guards(func(g *guard) bool {
		return l.compares(g.cond, "< > <= >=", func(a, b ast.Expr) bool { return (l.origin(a)|l.origin(b))&fromReply != 0 })
	})
}

// resultCompared tells whether the script looks at what is left afterwards, to undo the change.
func (l *linter) resultCompared(s *site) bool {
	for _, c := range l.conds {
		if c.seq > s.seq && l.compares(c.expr, "< > <= >=", func(a, b ast.Expr) bool {
			return slices.Contains(l.sitesIn(a), s) || slices.Contains(l.sitesIn(b), s)
		}) {
			return true
		}
	}
	return false
}

func checkBalanceToken(l *linter) {
	for _, c := range l.balanceChanges() {
		if !l.tokenGuarded(c) {
			l.reportf(Warning, c.span(), "%sis changed, and nothing keeps a repeated call from changing it again", c.key)
			return
		}
	}
}

// tokenGuarded tells whether the change is reached only after a look at a token: at whether another key or member is
// there, or at the reply of setting it.
func (l *linter) tokenGuarded(c balanceChange) bool {
	return c.guards(func(g *guard) bool {
		ordering := l.compares(g.cond, "< > <= >=", func(_, _ ast.Expr) bool { return true })
		return slices.ContainsFunc(l.sitesIn(g.cond), func(s *site) bool {
			switch {
			case l.keyText(s) == strings.TrimSpace(c.key):
				return false
			case s.is("EXISTS", "SISMEMBER", "HEXISTS", "SETNX", "SET", "HSETNX", "SADD", "ZSCORE", "ZADD"):
				return true
			}
			return s.is("GET", "HGET") && !ordering
		})
	})
}
