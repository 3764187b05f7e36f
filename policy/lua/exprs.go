package lua

import (
	"slices"
	"strings"

	"github.com/yuin/gopher-lua/ast"
)

// variableOf is the variable that an expression names, or nil.
func (m *model) variableOf(e ast.Expr) *variable {
	if id, ok := e.(*ast.IdentExpr); ok {
		return m.bound[id]
	}
	return nil
}

// eachExpr calls fn for an expression and everything in it, functions left out.
func (m *model) eachExpr(e ast.Expr, fn func(ast.Expr)) {
	if e == nil {
		return
	}
	m.b.step()
	fn(e)
	switch e := e.(type) {
	case *ast.AttrGetExpr:
		m.eachExpr(e.Object, fn)
		m.eachExpr(e.Key, fn)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			m.eachExpr(f.Key, fn)
			m.eachExpr(f.Value, fn)
		}
	case *ast.FuncCallExpr:
		m.eachExpr(e.Func, fn)
		m.eachExpr(e.Receiver, fn)
		for _, a := range e.Args {
			m.eachExpr(a, fn)
		}
	case *ast.LogicalOpExpr:
		m.eachExpr(e.Lhs, fn)
		m.eachExpr(e.Rhs, fn)
	case *ast.RelationalOpExpr:
		m.eachExpr(e.Lhs, fn)
		m.eachExpr(e.Rhs, fn)
	case *ast.StringConcatOpExpr:
		m.eachExpr(e.Lhs, fn)
		m.eachExpr(e.Rhs, fn)
	case *ast.ArithmeticOpExpr:
		m.eachExpr(e.Lhs, fn)
		m.eachExpr(e.Rhs, fn)
	case *ast.UnaryMinusOpExpr:
		m.eachExpr(e.Expr, fn)
	case *ast.UnaryNotOpExpr:
		m.eachExpr(e.Expr, fn)
	case *ast.UnaryLenOpExpr:
		m.eachExpr(e.Expr, fn)
	}
}

// literal is the upper-case text of a literal or constant argument, empty when it is none.
func (m *model) literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.NumberExpr:
		return e.Value
	case *ast.UnaryMinusOpExpr:
		if n, ok := e.Expr.(*ast.NumberExpr); ok {
			return "-" + n.Value
		}
	}
	if strs, ok := m.eval(e).constants(); ok && len(strs) == 1 {
		return strings.ToUpper(strs[0])
	}
	return ""
}

// hasLiteral tells whether one of the arguments is one of the words.
func (m *model) hasLiteral(args []ast.Expr, words ...string) bool {
	for _, a := range args {
		if slices.Contains(words, m.literal(a)) {
			return true
		}
	}
	return false
}
