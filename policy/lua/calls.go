package lua

import (
	"strings"

	"github.com/yuin/gopher-lua/ast"
)

// call walks a call and records what it calls.
func (t *tracer) call(e *ast.FuncCallExpr) {
	if e.Func == nil {
		t.method(e)
		return
	}
	f := t.eval(e.Func)
	switch {
	case f.kinds&anyCall != 0:
		t.site(e, e.Args, f.kinds&anyCall == isPCall)
		t.expr(e.Func, useCallee)
		t.values(e.Args)
	case f.kinds&isAPI != 0:
		t.escape(e.Func, "redis")
		t.expr(e.Func, useValue)
		t.values(e.Args)
	case f.kinds&isLuaPCall != 0 && len(e.Args) > 0 && t.eval(e.Args[0]).kinds&anyCall != 0:
		t.site(e, e.Args[1:], true)
		t.expr(e.Func, useCallee)
		t.expr(e.Args[0], useCallee)
		t.values(e.Args[1:])
	default:
		t.plainCall(e)
	}
}

func (t *tracer) values(list []ast.Expr) {
	for _, e := range list {
		t.expr(e, useValue)
	}
}

// method walks o:m(…), which redis and server have no use for.
func (t *tracer) method(e *ast.FuncCallExpr) {
	t.others = append(t.others, &otherCall{place: t.here(), call: e, path: ":" + e.Method, tok: t.model.tok(e)})
	if t.eval(e.Receiver).kinds&isAPI != 0 {
		t.escape(e.Receiver, "redis:"+e.Method)
	}
	t.expr(e.Receiver, useObject)
	t.values(e.Args)
}

func (t *tracer) plainCall(e *ast.FuncCallExpr) {
	c := &otherCall{place: t.here(), call: e, path: t.globalPath(e.Func), tok: t.model.tok(e)}
	if id, ok := e.Func.(*ast.IdentExpr); ok {
		if v := t.bound[id]; v != nil && v.fn != nil && v.fn.known() {
			c.fn = v.fn
		}
	}
	t.others = append(t.others, c)
	t.expr(e.Func, useCallee)
	for i, a := range e.Args {
		switch {
		case c.fn != nil && i < len(c.fn.params):
			t.expr(a, useAlias)
		case c.path == "type":
			t.expr(a, useTest)
		case i == 0 && (c.path == "pcall" || c.path == "xpcall"):
			outer := t.protected
			t.protected = true
			t.expr(a, useValue)
			t.protected = outer
		default:
			t.expr(a, useValue)
		}
	}
}

// site records a call of a command: e is the call, args what redis.call gets.
func (t *tracer) site(e *ast.FuncCallExpr, args []ast.Expr, pcall bool) {
	s := &site{place: t.here(), call: e, tok: t.model.tok(e), pcall: pcall || t.protected}
	s.end = t.callEnd(e)
	var name value
	if len(args) > 0 {
		name = t.commandName(args[0])
		s.args = args[1:]
	}
	names, ok := name.constants()
	s.sure, s.computed = ok, name.computed
	for _, n := range names {
		t.addName(s, strings.ToUpper(n))
	}
	t.sites = append(t.sites, s)
}

func (t *tracer) addName(s *site, name string) {
	if !containers[name] {
		s.names = append(s.names, name)
		return
	}
	if len(s.args) == 0 {
		s.names = append(s.names, name)
		return
	}
	sub := t.eval(s.args[0])
	subs, ok := sub.constants()
	if !ok {
		s.sure = false
		s.names = append(s.names, name)
		return
	}
	s.computed = s.computed || sub.computed
	for _, n := range subs {
		s.names = append(s.names, name+"|"+strings.ToUpper(n))
	}
}

// commandName is what the first argument of redis.call may be. In a function that passes its … on, it is what the
// function's callers pass there.
func (t *tracer) commandName(e ast.Expr) value {
	if _, ok := e.(*ast.Comma3Expr); !ok || !t.fn.known() {
		return t.eval(e)
	}
	var out value
	at := len(t.fn.params)
	for _, c := range t.fn.calls {
		if a := valueAt(c.Args, at); a != nil {
			if _, more := a.(*ast.Comma3Expr); more {
				return value{other: true}
			}
			out.add(t.eval(a))
		} else if spreads(c.Args) {
			return value{other: true}
		}
	}
	return out
}

// callEnd is the last token of a call: the closing bracket of its arguments.
func (t *tracer) callEnd(e *ast.FuncCallExpr) int32 {
	i := t.model.tok(e)
	if a, ok := e.Func.(*ast.AttrGetExpr); ok {
		i = t.model.tok(a.Key)
	}
	for n := 0; n < 4 && int(i) < len(t.toks); n++ {
		if t.is(i, "(") {
			return t.match[i]
		}
		if i > t.model.tok(e) && (t.toks[i].kind == tokString || t.is(i, "{")) && !t.is(i-1, "[") {
			if t.is(i, "{") {
				return t.match[i]
			}
			return i
		}
		i++
	}
	return t.model.tok(e)
}

// globalPath is the dotted path of a global function that the script has not replaced, also through a local that
// names it: "table.insert". It is empty for anything else.
func (m *model) globalPath(e ast.Expr) string { return m.pathOf(e, 8) }

func (m *model) pathOf(e ast.Expr, hops int) string {
	switch e := e.(type) {
	case *ast.IdentExpr:
		v := m.bound[e]
		switch {
		case v == nil || hops == 0:
		case v.global && len(v.inits) == 0 && !v.unknown:
			return v.name
		case !v.global && !v.param && !v.unknown && len(v.inits) == 1:
			return m.pathOf(v.inits[0], hops-1)
		}
	case *ast.AttrGetExpr:
		key, ok := e.Key.(*ast.StringExpr)
		if !ok || hops == 0 {
			return ""
		}
		if o := m.pathOf(e.Object, hops-1); o != "" {
			return o + "." + key.Value
		}
	}
	return ""
}
