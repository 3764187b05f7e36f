package lua

import (
	"strconv"

	"github.com/yuin/gopher-lua/ast"
)

// hidden are the globals that can run text as code, or reach every global by a computed name.
var hidden = map[string]bool{
	"load": true, "loadstring": true, "loadfile": true, "dofile": true, "setfenv": true, "getfenv": true, "_G": true,
	"require": true, "module": true, "package": true, "debug": true, "io": true, "newproxy": true,
}

// tracer walks the tree a second time, when the names are known, and records what classification and lint look at.
type tracer struct {
	*model
	place
	path    []ast.PositionHolder
	maybe   int // inside an operand that is not always evaluated, or only looked at
	tested  map[*variable]bool
	counter int
}

func (m *model) trace() {
	t := &tracer{model: m, tested: map[*variable]bool{}}
	t.place.fn = m.main
	t.block(m.stmts)
	for i := range m.params.fixed {
		if f := &m.params.fixed[i]; f.into != nil && t.tested[f.into] {
			f.sure = false
		}
	}
}

func (t *tracer) here() place {
	p := t.place
	t.counter++
	p.seq = t.counter
	if n := len(t.path); n > 1 {
		p.parent = t.path[n-2]
	}
	return p
}

func (t *tracer) push(n ast.PositionHolder) { t.path = append(t.path, n) }
func (t *tracer) pop()                      { t.path = t.path[:len(t.path)-1] }

// block walks statements that share a scope. After an if whose branch always leaves, the rest is guarded by the
// condition being otherwise.
func (t *tracer) block(stmts []ast.Stmt) {
	outer := t.guard
	for _, s := range stmts {
		t.b.step()
		t.push(s)
		stmt := t.stmt
		t.stmt = s
		t.visit(s)
		t.stmt = stmt
		t.pop()
		switch s := s.(type) {
		case *ast.IfStmt:
			t.afterIf(s)
		case *ast.WhileStmt, *ast.RepeatStmt, *ast.NumberForStmt, *ast.GenericForStmt, *ast.DoBlockStmt:
			if mayLeave(s) {
				t.guard = &guard{early: true, parent: t.guard}
			}
		}
	}
	t.guard = outer
}

func (t *tracer) visit(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.LocalAssignStmt:
		for i, e := range s.Exprs {
			if i < len(s.Names) {
				t.assigned(e, useAlias, t.locals[s][i])
			} else {
				t.expr(e, useValue)
			}
		}
	case *ast.AssignStmt:
		t.assign(s)
	case *ast.FuncCallStmt:
		t.expr(s.Expr, useTest)
	case *ast.DoBlockStmt:
		t.block(s.Stmts)
	case *ast.WhileStmt:
		l := t.enter(whileLoop, s, s.Stmts)
		l.cond = s.Condition
		t.condition(s.Condition)
		t.under(s.Condition, true, s.Stmts)
		t.leaveLoop(l)
	case *ast.RepeatStmt:
		l := t.enter(repeatLoop, s, s.Stmts)
		l.cond = s.Condition
		t.block(s.Stmts)
		t.condition(s.Condition)
		t.leaveLoop(l)
	case *ast.IfStmt:
		t.condition(s.Condition)
		t.under(s.Condition, true, s.Then)
		t.under(s.Condition, false, s.Else)
	case *ast.NumberForStmt:
		t.expr(s.Init, useValue)
		t.expr(s.Limit, useValue)
		if s.Step != nil {
			t.expr(s.Step, useValue)
		}
		l := t.enter(numericLoop, s, s.Stmts)
		t.block(s.Stmts)
		t.leaveLoop(l)
	case *ast.GenericForStmt:
		for _, e := range s.Exprs {
			t.expr(e, useValue)
		}
		l := t.enter(genericLoop, s, s.Stmts)
		t.block(s.Stmts)
		t.leaveLoop(l)
	case *ast.FuncDefStmt:
		if s.Name.Func == nil {
			t.expr(s.Name.Receiver, useValue)
		} else if _, ok := s.Name.Func.(*ast.IdentExpr); !ok {
			t.target(s.Name.Func, s.Func)
		}
		t.function(s.Func)
	case *ast.ReturnStmt:
		t.rets = append(t.rets, &returned{t.here(), s})
		for l := t.loop; l != nil && l.fn == t.fn; l = l.parent {
			l.exits = true
		}
		for _, e := range s.Exprs {
			t.expr(e, useValue)
		}
	case *ast.BreakStmt:
		if t.loop != nil {
			t.loop.exits = true
		}
	}
}

func (t *tracer) enter(kind loopKind, s ast.Stmt, body []ast.Stmt) *loop {
	l := &loop{place: t.here(), kind: kind, stmt: s, body: body, vars: t.loopVar[s], tok: t.tok(s), parent: t.loop}
	t.loops = append(t.loops, l)
	t.loop = l
	return l
}

func (t *tracer) leaveLoop(l *loop) { t.loop = l.parent }

func (t *tracer) condition(e ast.Expr) {
	t.conds = append(t.conds, &condition{t.here(), e})
	t.expr(e, useTest)
}

func (t *tracer) under(cond ast.Expr, holds bool, stmts []ast.Stmt) {
	if len(stmts) == 0 {
		return
	}
	outer := t.guard
	t.guard = &guard{cond: cond, holds: holds, parent: outer}
	t.block(stmts)
	t.guard = outer
}

func (t *tracer) assign(s *ast.AssignStmt) {
	for i, e := range s.Rhs {
		if i < len(s.Lhs) {
			if id, ok := s.Lhs[i].(*ast.IdentExpr); ok {
				t.assigned(e, useAlias, t.bound[id])
				continue
			}
		}
		t.expr(e, useValue)
	}
	for i, e := range s.Lhs {
		if id, ok := e.(*ast.IdentExpr); ok {
			if v := t.bound[id]; v.global && (hidden[v.name] || v.val.kinds&isAPI != 0) {
				t.escapes = append(t.escapes, escape{tok: t.tok(id), what: v.name})
			}
			continue
		}
		t.target(e, valueAt(s.Rhs, i))
	}
}

// target walks the left side of an assignment to a member.
func (t *tracer) target(e, value ast.Expr) {
	a, ok := e.(*ast.AttrGetExpr)
	if !ok {
		t.expr(e, useValue)
		return
	}
	t.push(a)
	t.index = append(t.index, &indexing{t.here(), a, true, t.tok(a)})
	if id, ok := a.Object.(*ast.IdentExpr); ok {
		if v := t.bound[id]; v != nil {
			t.tableIn = append(t.tableIn, tableWrite{t.here(), v, a.Key, value})
		}
	}
	t.expr(a.Object, useValue) // storing into redis escapes
	t.expr(a.Key, useValue)
	t.pop()
}

func (t *tracer) function(e *ast.FunctionExpr) {
	f := t.funcs[e]
	outer, maybe, path := t.place, t.maybe, t.path
	t.fn, t.loop, t.guard, t.optional, t.maybe = f, nil, nil, false, 0
	t.block(e.Stmts)
	t.place, t.maybe, t.path = outer, maybe, path
}

func (t *tracer) expr(e ast.Expr, u use) {
	t.b.step()
	t.push(e)
	switch e := e.(type) {
	case *ast.IdentExpr:
		t.ident(e, u)
	case *ast.AttrGetExpr:
		t.attr(e, u)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			if f.Key != nil {
				t.expr(f.Key, useValue)
			}
			t.expr(f.Value, useValue)
		}
	case *ast.FuncCallExpr:
		t.call(e)
	case *ast.LogicalOpExpr:
		lhs := u
		if e.Operator == "and" {
			lhs = useTest
		}
		t.maybe++
		t.testing(e.Lhs)
		t.expr(e.Lhs, lhs)
		outer := t.optional
		t.optional = true
		t.expr(e.Rhs, u)
		t.optional = outer
		t.maybe--
	case *ast.RelationalOpExpr:
		t.relational(e)
	case *ast.StringConcatOpExpr:
		t.expr(e.Lhs, useValue)
		t.expr(e.Rhs, useValue)
	case *ast.ArithmeticOpExpr:
		t.expr(e.Lhs, useValue)
		t.expr(e.Rhs, useValue)
	case *ast.UnaryMinusOpExpr:
		t.expr(e.Expr, useValue)
	case *ast.UnaryNotOpExpr:
		t.maybe++
		t.testing(e.Expr)
		t.expr(e.Expr, useTest)
		t.maybe--
	case *ast.UnaryLenOpExpr:
		t.expr(e.Expr, useValue)
	case *ast.FunctionExpr:
		t.function(e)
	}
	t.pop()
}

func (t *tracer) relational(e *ast.RelationalOpExpr) {
	u := useValue
	if e.Operator == "==" || e.Operator == "~=" {
		u = useTest
		if isNil(e.Lhs) || isNil(e.Rhs) {
			t.maybe++
			t.testing(e.Lhs)
			t.testing(e.Rhs)
			defer func() { t.maybe-- }()
		}
	}
	t.expr(e.Lhs, u)
	t.expr(e.Rhs, u)
}

func isNil(e ast.Expr) bool {
	_, ok := e.(*ast.NilExpr)
	return ok
}

// testing notes that a variable is looked at to see whether it has a value.
func (t *tracer) testing(e ast.Expr) {
	if id, ok := e.(*ast.IdentExpr); ok {
		t.tested[t.bound[id]] = true
	}
}

func (t *tracer) escape(e ast.Expr, what string) {
	t.escapes = append(t.escapes, escape{tok: t.model.tok(e), what: what})
}

func (t *tracer) ident(e *ast.IdentExpr, u use) {
	v := t.bound[e]
	if v == nil {
		return
	}
	if v.global && hidden[v.name] {
		t.escapes = append(t.escapes, escape{tok: t.model.tok(e), code: true, what: v.name})
	}
	if v.global && (v.name == "KEYS" || v.name == "ARGV") && u != useObject {
		if u == useTest {
			return
		}
		t.wholeParam(v.name)
	}
	if u == useTest {
		t.testing(e)
	}
	switch {
	case u == useAlias || u == useTest:
	case u == useCallee && v.val.kinds&isAPI == 0:
	case u == useObject && v.val.kinds&anyCall == 0:
	case v.val.kinds&(isAPI|anyCall) != 0:
		t.escape(e, v.name)
	}
}

func (t *tracer) wholeParam(name string) {
	if name == "KEYS" {
		t.params.keys = true
	} else {
		t.params.args = true
	}
}

func (t *tracer) attr(e *ast.AttrGetExpr, u use) {
	obj := t.eval(e.Object)
	if obj.kinds&isAPI != 0 {
		t.apiAttr(e, u)
		t.expr(e.Object, useObject)
		t.expr(e.Key, useValue)
		return
	}
	t.index = append(t.index, &indexing{t.here(), e, false, t.tok(e)})
	if id, ok := e.Object.(*ast.IdentExpr); ok {
		if v := t.bound[id]; v != nil && v.global && (v.name == "KEYS" || v.name == "ARGV") {
			t.paramIndex(e, v.name, u)
		}
	}
	t.expr(e.Object, useObject)
	t.expr(e.Key, useValue)
}

// apiAttr deals with redis.something.
func (t *tracer) apiAttr(e *ast.AttrGetExpr, u use) {
	names, ok := t.eval(e.Key).constants()
	if !ok {
		t.escape(e, "redis[…]")
		return
	}
	if t.eval(e.Key).computed {
		t.escape(e, "redis[…]")
	}
	calls := t.evalAttr(e).kinds&anyCall != 0
	if calls && u != useCallee && u != useAlias && u != useTest {
		t.escape(e, "redis."+names[0])
	}
	for _, n := range names {
		if n != "call" && n != "pcall" {
			use := apiUse{place: t.here(), name: n, tok: t.tok(e)}
			if c, ok := use.parent.(*ast.FuncCallExpr); ok && c.Func == ast.Expr(e) {
				use.call = c
			}
			t.api = append(t.api, use)
		}
	}
}

func (t *tracer) paramIndex(e *ast.AttrGetExpr, name string, u use) {
	n, ok := e.Key.(*ast.NumberExpr)
	i, err := 0, error(nil)
	if ok {
		i, err = strconv.Atoi(n.Value)
	}
	if !ok || err != nil {
		t.wholeParam(name)
		return
	}
	p := t.place
	sure := p.unconditional() && t.maybe == 0 && u != useTest
	t.params.fixed = append(t.params.fixed, fixedUse{args: name == "ARGV", index: i, sure: sure})
}

// assigned walks an expression whose value v is given. Where v is just KEYS[i], ARGV[i] or a conversion of one, a later
// test of v is a test of whether the argument is there.
func (t *tracer) assigned(e ast.Expr, u use, v *variable) {
	before := len(t.params.fixed)
	t.expr(e, u)
	if c, ok := e.(*ast.FuncCallExpr); ok && len(c.Args) == 1 {
		e = c.Args[0]
	}
	if _, ok := e.(*ast.AttrGetExpr); ok {
		for i := range t.params.fixed[before:] {
			t.params.fixed[before+i].into = v
		}
	}
}
