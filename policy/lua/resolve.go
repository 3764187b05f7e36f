package lua

import "github.com/yuin/gopher-lua/ast"

// resolver walks the tree once and binds every name.
type resolver struct {
	*model
	scopes map[string][]*variable
	stack  []*variable // the visible locals, innermost last
	fn     *function
	depth  int
}

func resolve(u *unit, b *budget) *model {
	m := &model{
		unit: u, b: b,
		globals: map[string]*variable{},
		bound:   map[*ast.IdentExpr]*variable{},
		locals:  map[*ast.LocalAssignStmt][]*variable{},
		loopVar: map[ast.Stmt][]*variable{},
		funcs:   map[*ast.FunctionExpr]*function{},
		main:    &function{vararg: true},
	}
	r := &resolver{model: m, scopes: map[string][]*variable{}, fn: m.main}
	r.block(u.stmts)
	m.linkFunctions()
	return m
}

func (r *resolver) declare(name string, tok int32) *variable {
	v := &variable{name: r.name(name), tok: tok, owner: r.fn}
	r.vars = append(r.vars, v)
	r.scopes[name] = append(r.scopes[name], v)
	r.stack = append(r.stack, v)
	return v
}

// leave forgets the locals declared since mark.
func (r *resolver) leave(mark int) {
	for i := len(r.stack) - 1; i >= mark; i-- {
		name := r.stack[i].name
		if name == "goto" {
			name = r.gotoName()
		}
		s := r.scopes[name]
		r.scopes[name] = s[:len(s)-1]
	}
	r.stack = r.stack[:mark]
}

func (r *resolver) gotoName() string {
	for given, name := range r.names {
		if name == "goto" {
			return given
		}
	}
	return "goto"
}

func (r *resolver) lookup(e *ast.IdentExpr) *variable {
	if s := r.scopes[e.Value]; len(s) > 0 {
		return s[len(s)-1]
	}
	v := r.globals[e.Value]
	if v == nil {
		v = &variable{name: r.name(e.Value), tok: r.tok(e), global: true}
		r.globals[e.Value] = v
		r.vars = append(r.vars, v)
	}
	return v
}

func (r *resolver) block(stmts []ast.Stmt) {
	r.depth++
	r.b.deep(r.depth)
	mark := len(r.stack)
	for _, s := range stmts {
		r.b.step()
		r.stmt(s)
	}
	r.leave(mark)
	r.depth--
}

func (r *resolver) stmt(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.LocalAssignStmt:
		r.local(s)
	case *ast.AssignStmt:
		r.exprs(s.Rhs)
		for i, lhs := range s.Lhs {
			r.assign(lhs, valueAt(s.Rhs, i))
			if id, ok := lhs.(*ast.IdentExpr); ok && i >= len(s.Rhs) && spreads(s.Rhs) {
				r.bound[id].steps = append(r.bound[id].steps, s.Rhs[len(s.Rhs)-1])
			}
		}
	case *ast.FuncCallStmt:
		r.expr(s.Expr)
	case *ast.DoBlockStmt:
		r.block(s.Stmts)
	case *ast.WhileStmt:
		r.expr(s.Condition)
		r.block(s.Stmts)
	case *ast.RepeatStmt:
		r.repeat(s)
	case *ast.IfStmt:
		r.expr(s.Condition)
		r.block(s.Then)
		r.block(s.Else)
	case *ast.NumberForStmt:
		r.numericFor(s)
	case *ast.GenericForStmt:
		r.genericFor(s)
	case *ast.FuncDefStmt:
		r.funcDef(s)
	case *ast.ReturnStmt:
		r.exprs(s.Exprs)
		r.fn.returns = append(r.fn.returns, s)
	}
}

// valueAt is the expression that gives the i-th of several variables its value: nil when that is one of the later
// values of a call or of …, or nothing.
func valueAt(exprs []ast.Expr, i int) ast.Expr {
	if i >= 0 && i < len(exprs) {
		return exprs[i]
	}
	return nil
}

// spreads tells whether the last expression may give more than one value.
func spreads(exprs []ast.Expr) bool {
	if len(exprs) == 0 {
		return false
	}
	switch e := exprs[len(exprs)-1].(type) {
	case *ast.FuncCallExpr:
		return !e.AdjustRet
	case *ast.Comma3Expr:
		return !e.AdjustRet
	}
	return false
}

func (r *resolver) local(s *ast.LocalAssignStmt) {
	first := r.tok(s)
	if r.is(first+1, "function") { // visible in its own body
		v := r.declare(s.Names[0], first+2)
		v.inits = append(v.inits, s.Exprs[0])
		r.locals[s] = []*variable{v}
		r.exprs(s.Exprs)
		return
	}
	r.exprs(s.Exprs)
	vs := make([]*variable, len(s.Names))
	for i, name := range s.Names {
		vs[i] = r.declare(name, first+1+2*int32(i))
		if e := valueAt(s.Exprs, i); e != nil {
			vs[i].inits = append(vs[i].inits, e)
		} else if spreads(s.Exprs) {
			vs[i].unknown = true
			vs[i].steps = append(vs[i].steps, s.Exprs[len(s.Exprs)-1])
		} else {
			vs[i].empty = true
		}
	}
	r.locals[s] = vs
}

func (r *resolver) assign(lhs ast.Expr, value ast.Expr) {
	id, ok := lhs.(*ast.IdentExpr)
	if !ok {
		r.expr(lhs)
		r.noteElement(lhs)
		return
	}
	v := r.lookup(id)
	r.bound[id] = v
	if value != nil {
		v.inits = append(v.inits, value)
	} else {
		v.unknown = true
	}
	if v.global {
		r.globalWrites = append(r.globalWrites, globalWrite{v: v, tok: r.tok(id)})
	}
}

func (r *resolver) repeat(s *ast.RepeatStmt) {
	r.depth++
	r.b.deep(r.depth)
	mark := len(r.stack)
	for _, st := range s.Stmts {
		r.b.step()
		r.stmt(st)
	}
	r.expr(s.Condition) // sees the body's locals
	r.leave(mark)
	r.depth--
}

func (r *resolver) numericFor(s *ast.NumberForStmt) {
	r.expr(s.Init)
	r.expr(s.Limit)
	if s.Step != nil {
		r.expr(s.Step)
	}
	mark := len(r.stack)
	v := r.declare(s.Name, r.tok(s)+1)
	v.unknown = true
	r.loopVar[s] = []*variable{v}
	r.block(s.Stmts)
	r.leave(mark)
}

func (r *resolver) genericFor(s *ast.GenericForStmt) {
	r.exprs(s.Exprs)
	mark := len(r.stack)
	vs := make([]*variable, len(s.Names))
	for i, name := range s.Names {
		vs[i] = r.declare(name, r.tok(s)+1+2*int32(i))
		vs[i].unknown = true
		vs[i].steps = s.Exprs
	}
	r.loopVar[s] = vs
	r.block(s.Stmts)
	r.leave(mark)
}

func (r *resolver) funcDef(s *ast.FuncDefStmt) {
	switch {
	case s.Name.Func == nil: // function t:m()
		r.expr(s.Name.Receiver)
		r.function(s.Func, true)
	default:
		if id, ok := s.Name.Func.(*ast.IdentExpr); ok {
			r.assign(id, s.Func)
			if v := r.bound[id]; v.global {
				r.globalWrites[len(r.globalWrites)-1].fn = true
			}
		} else {
			r.expr(s.Name.Func)
		}
		r.function(s.Func, false)
	}
}

func (r *resolver) function(e *ast.FunctionExpr, method bool) {
	f := &function{expr: e, parent: r.fn, vararg: e.ParList.HasVargs, defined: r.tok(e)}
	r.funcs[e] = f
	outer := r.fn
	r.fn = f
	mark := len(r.stack)
	if method {
		v := r.declare("self", f.defined)
		v.unknown, v.param = true, true
	}
	tok := f.defined
	for !r.is(tok, "(") && int(tok) < len(r.toks) {
		tok++
	}
	for i, name := range e.ParList.Names {
		v := r.declare(name, tok+1+2*int32(i))
		v.param = true
		f.params = append(f.params, v)
	}
	r.block(e.Stmts)
	r.leave(mark)
	r.fn = outer
}

func (r *resolver) exprs(list []ast.Expr) {
	for _, e := range list {
		r.expr(e)
	}
}

func (r *resolver) expr(e ast.Expr) {
	r.b.step()
	r.depth++
	r.b.deep(r.depth)
	switch e := e.(type) {
	case *ast.IdentExpr:
		v := r.lookup(e)
		v.reads++
		r.bound[e] = v
	case *ast.AttrGetExpr:
		r.expr(e.Object)
		r.expr(e.Key)
		if r.isTableLibrary(e.Object) {
			r.tableMembers++
		}
	case *ast.TableExpr:
		for _, f := range e.Fields {
			if f.Key != nil {
				r.expr(f.Key)
			}
			r.expr(f.Value)
		}
	case *ast.FuncCallExpr:
		r.call(e)
	case *ast.LogicalOpExpr:
		r.expr(e.Lhs)
		r.expr(e.Rhs)
	case *ast.RelationalOpExpr:
		r.expr(e.Lhs)
		r.expr(e.Rhs)
	case *ast.StringConcatOpExpr:
		r.expr(e.Lhs)
		r.expr(e.Rhs)
	case *ast.ArithmeticOpExpr:
		r.expr(e.Lhs)
		r.expr(e.Rhs)
	case *ast.UnaryMinusOpExpr:
		r.expr(e.Expr)
	case *ast.UnaryNotOpExpr:
		r.expr(e.Expr)
	case *ast.UnaryLenOpExpr:
		r.expr(e.Expr)
		r.noteListUse(e.Expr)
	case *ast.FunctionExpr:
		r.function(e, false)
	}
	r.depth--
}

func (r *resolver) call(e *ast.FuncCallExpr) {
	if e.Func != nil {
		r.expr(e.Func)
		if id, ok := e.Func.(*ast.IdentExpr); ok {
			v := r.bound[id]
			v.called++
			r.named = append(r.named, namedCall{v, e})
		}
	} else {
		r.expr(e.Receiver)
	}
	r.exprs(e.Args)
	r.noteListCall(e)
}

// linkFunctions finds the variables that name one function and nothing else, and the calls through them.
func (m *model) linkFunctions() {
	for _, v := range m.vars {
		if len(v.inits) != 1 || v.unknown || v.param {
			continue
		}
		if fe, ok := v.inits[0].(*ast.FunctionExpr); ok && m.funcs[fe] != nil {
			v.fn = m.funcs[fe]
			v.fn.name = v
		}
	}
	for _, c := range m.named {
		if c.v.fn != nil {
			c.v.fn.calls = append(c.v.fn.calls, c.e)
		}
	}
}
