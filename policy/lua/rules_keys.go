package lua

import (
	"fmt"

	"github.com/yuin/gopher-lua/ast"
)

// keyRules are about keys that the caller does not pass.
var keyRules = []Rule{
	{
		ID: "undeclared-key", Level: Warning,
		Summary: "A key that is not in KEYS",
		Explanation: "Redis asks that every key a script touches be passed in KEYS. Cluster and proxies route the call by them; ACLs by key are checked " +
			"against them. A key written into the script, taken from ARGV or from a value that was read may lie on another node: Redis Cluster " +
			"answers \"Script attempted to access a non local key\", in the middle of the script.\n\n" +
			"A key that is built from one in KEYS (`KEYS[1] .. ':lock'`) is a note: it works in Cluster when KEYS[1] has a hash tag, and ACLs by " +
			"key still check only what is used.",
		Fix:   "Pass the key in KEYS.",
		Bad:   "return redis.call('GET', 'user:' .. ARGV[1])\n",
		Good:  "return redis.call('GET', KEYS[1])\n",
		check: checkUndeclaredKeys,
	},
}

// undeclared is a group of keys with the same beginning.
type undeclared struct {
	level   Level
	at      span
	message string
	others  int
}

func checkUndeclaredKeys(l *linter) {
	groups := map[string]*undeclared{}
	var order []*undeclared
	for _, s := range l.sites {
		for _, i := range l.keyPositions(s) {
			l.b.step()
			level, why := judgeKey(l.origin(s.args[i]))
			if why == "" {
				continue
			}
			at := l.argSpan(s, i)
			text := l.text(at)
			if !l.once(text) {
				continue
			}
			group := why + l.beginning(s.args[i], at)
			if g := groups[group]; g != nil {
				g.others++
				continue
			}
			g := &undeclared{level: level, at: at, message: "the key " + text + " " + why}
			groups[group] = g
			order = append(order, g)
		}
	}
	for _, g := range order {
		if g.others > 0 {
			g.message += fmt.Sprintf(" (and %d more like it)", g.others)
		}
		l.report(g.level, g.at, g.message, "")
	}
}

// judgeKey says what is wrong with a key of an origin; why is empty when nothing is.
func judgeKey(o origin) (level Level, why string) {
	switch {
	case o&fromKeys != 0 && o&(fromBuilt|fromReply) == 0:
	case o&fromKeys != 0:
		return Note, "is built from one in KEYS and not declared itself"
	case o&fromReply != 0:
		return Warning, "comes from a value that was read, not from KEYS"
	case o&fromArgs != 0:
		return Warning, "comes from ARGV, not from KEYS"
	case o&fromLiteral != 0 && o&fromUnknown == 0:
		return Warning, "is written in the script, not passed in KEYS"
	}
	return 0, ""
}

// beginning tells keys of one family from others: by the variable or literal that a concatenation begins with.
func (l *linter) beginning(e ast.Expr, at span) string {
	for range 64 {
		switch x := e.(type) {
		case *ast.StringConcatOpExpr:
			e = x.Lhs
			continue
		case *ast.IdentExpr:
			v := l.bound[x]
			if v == nil || v.global {
				return x.Value
			}
			if len(v.inits) == 1 && !v.param && !v.unknown {
				if c, ok := v.inits[0].(*ast.StringConcatOpExpr); ok {
					e = c
					continue
				}
			}
			return fmt.Sprintf("%s %d", v.name, v.tok)
		case *ast.StringExpr:
			return x.Value
		case *ast.AttrGetExpr:
			e = x.Object
			continue
		}
		break
	}
	return l.text(at)
}
