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
	// A name that is nil whatever happens makes the call fail, and calls nothing.
	s.sure = ok || len(args) > 0 && !name.other && name.kinds == 0 && len(name.strs) == 0
	s.computed = name.computed
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

// commandName is what the first argument of redis.call may be: of a list that is unpacked, its first element; in a
// function that passes its … on, what the function's callers pass there.
func (t *tracer) commandName(e ast.Expr) value {
	if first := t.firstUnpacked(e); first != nil {
		return t.eval(first)
	}
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
func (m *model) callEnd(e *ast.FuncCallExpr) int32 {
	open := m.callOpen(e)
	if m.match[open] >= 0 {
		return m.match[open]
	}
	return open
}

// callOpen is the token that opens a call's arguments: a bracket, or the only argument when that is a string.
func (m *model) callOpen(e *ast.FuncCallExpr) int32 {
	first := m.tok(e)
	i := first
	if a, ok := e.Func.(*ast.AttrGetExpr); ok {
		i = m.tok(a.Key)
	}
	for range 4 {
		switch {
		case int(i) >= len(m.toks):
			return first
		case m.is(i, "("), m.is(i, "{"):
			return i
		case m.is(i, "]"), m.is(i, ")"):
			i++
			continue
		case i > first && m.toks[i].kind == tokString && !m.is(i-1, "["):
			return i
		}
		i++
	}
	return first
}

// span is a range of tokens, both ends inside.
type span struct{ first, last int32 }

// argSpans are the tokens of each argument of a call.
func (m *model) argSpans(e *ast.FuncCallExpr) []span {
	open := m.callOpen(e)
	end := m.match[open]
	if !m.is(open, "(") || end < 0 {
		return []span{{open, m.callEnd(e)}}
	}
	var out []span
	start, blocks := open+1, 0
	for i := open + 1; i < end; i++ {
		t := &m.toks[i]
		switch {
		case t.kind == tokKeyword && (t.text == "function" || t.text == "do" || t.text == "then" || t.text == "repeat"):
			blocks++
		case t.kind == tokKeyword && (t.text == "end" || t.text == "until" || t.text == "elseif"):
			blocks--
		case m.match[i] > i:
			i = m.match[i]
		case blocks == 0 && m.is(i, ","):
			out = append(out, span{start, i - 1})
			start = i + 1
		}
	}
	if start < end {
		out = append(out, span{start, end - 1})
	}
	return out
}

// text is the source of a span, on one line and shortened.
func (m *model) text(sp span) string {
	s := m.src[m.toks[sp.first].off:m.toks[sp.last].end]
	return clip(strings.Join(strings.Fields(s), " "))
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
