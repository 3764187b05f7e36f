package lua

import "github.com/yuin/gopher-lua/ast"

// afterIf notes what must have been so, or perhaps is, where the code goes on after an if.
func (t *tracer) afterIf(s *ast.IfStmt) {
	for {
		switch {
		case t.leaves(s.Then):
			t.guard = &guard{cond: s.Condition, early: true, parent: t.guard}
		case mayLeaveAny(s.Then):
			t.guard = &guard{early: true, parent: t.guard}
		}
		if t.leaves(s.Else) {
			t.guard = &guard{cond: s.Condition, holds: true, early: true, parent: t.guard}
			return
		}
		if len(s.Else) == 1 {
			if next, ok := s.Else[0].(*ast.IfStmt); ok {
				s = next
				continue
			}
		}
		if mayLeaveAny(s.Else) {
			t.guard = &guard{early: true, parent: t.guard}
		}
		return
	}
}

// leaves tells whether a block always ends in return, break or error.
func (t *tracer) leaves(stmts []ast.Stmt) bool {
	if len(stmts) == 0 {
		return false
	}
	switch s := stmts[len(stmts)-1].(type) {
	case *ast.ReturnStmt, *ast.BreakStmt:
		return true
	case *ast.FuncCallStmt:
		if c, ok := s.Expr.(*ast.FuncCallExpr); ok && c.Func != nil {
			return t.globalPath(c.Func) == "error"
		}
	case *ast.DoBlockStmt:
		return t.leaves(s.Stmts)
	case *ast.IfStmt:
		return t.leaves(s.Then) && t.leaves(s.Else)
	}
	return false
}

func mayLeaveAny(stmts []ast.Stmt) bool {
	for _, s := range stmts {
		if mayLeave(s) {
			return true
		}
	}
	return false
}

// mayLeave tells whether a return stands in a statement, outside of functions.
func mayLeave(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.ReturnStmt, *ast.BreakStmt:
		return true
	case *ast.IfStmt:
		return mayLeaveAny(s.Then) || mayLeaveAny(s.Else)
	case *ast.DoBlockStmt:
		return mayLeaveAny(s.Stmts)
	case *ast.WhileStmt:
		return mayLeaveAny(s.Stmts)
	case *ast.RepeatStmt:
		return mayLeaveAny(s.Stmts)
	case *ast.NumberForStmt:
		return mayLeaveAny(s.Stmts)
	case *ast.GenericForStmt:
		return mayLeaveAny(s.Stmts)
	}
	return false
}
