package lua

import "github.com/yuin/gopher-lua/ast"

// A command is often collected in a list and called by unpack: local c = {'ZADD', key}; table.insert(c, x);
// redis.call(unpack(c)). Its name can be seen when nothing touches the list's first element: the list is a local, made
// once, and only appended to, measured and unpacked.

// noteListUse counts a use of a variable that leaves its first element alone.
func (r *resolver) noteListUse(e ast.Expr) {
	if v := r.variableOf(e); v != nil {
		v.listed++
	}
}

// noteListCall looks for unpack(list) and table.insert(list, value).
func (r *resolver) noteListCall(e *ast.FuncCallExpr) {
	switch f := e.Func.(type) {
	case *ast.IdentExpr:
		if f.Value == "unpack" && r.bound[f].global && len(e.Args) == 1 {
			r.noteListUse(e.Args[0])
		}
	case *ast.AttrGetExpr:
		if key, ok := f.Key.(*ast.StringExpr); ok && key.Value == "insert" && r.isTableLibrary(f.Object) && len(e.Args) == 2 && !spreads(e.Args) {
			r.noteListUse(e.Args[0])
		}
	}
}

// noteElement looks at an assignment to a member: list[#list + 1] = value appends; table.x = f changes the library.
func (r *resolver) noteElement(e ast.Expr) {
	a, ok := e.(*ast.AttrGetExpr)
	if !ok {
		return
	}
	if r.isTableLibrary(a.Object) {
		r.tableChanged = true
	}
	v := r.variableOf(a.Object)
	sum, ok := a.Key.(*ast.ArithmeticOpExpr)
	if v == nil || !ok || sum.Operator != "+" {
		return
	}
	size, ok1 := sum.Lhs.(*ast.UnaryLenOpExpr)
	one, ok2 := sum.Rhs.(*ast.NumberExpr)
	if ok1 && ok2 && one.Value == "1" && r.variableOf(size.Expr) == v {
		v.listed++
	}
}

func (r *resolver) isTableLibrary(e ast.Expr) bool {
	id, ok := e.(*ast.IdentExpr)
	return ok && id.Value == "table" && r.bound[id].global
}

// tableLibraryKept tells whether table.insert still is what Redis made it: only members of table are used, and none is
// assigned.
func (m *model) tableLibraryKept() bool {
	v := m.globals["table"]
	return v == nil || !m.tableChanged && len(v.inits) == 0 && !v.unknown && v.reads == m.tableMembers
}

// firstUnpacked is the first element of the list in unpack(list), nil when it can't be seen.
func (m *model) firstUnpacked(e ast.Expr) ast.Expr {
	c, ok := e.(*ast.FuncCallExpr)
	if !ok || c.Func == nil || len(c.Args) != 1 || m.globalPath(c.Func) != "unpack" || !m.tableLibraryKept() {
		return nil
	}
	v := m.variableOf(c.Args[0])
	if v == nil || v.global || v.param || v.unknown || len(v.inits) != 1 || v.reads != v.listed {
		return nil
	}
	list, ok := v.inits[0].(*ast.TableExpr)
	if !ok || len(list.Fields) == 0 {
		return nil
	}
	for _, f := range list.Fields {
		if f.Key != nil {
			return nil
		}
	}
	return list.Fields[0].Value
}
