package lua

import (
	"slices"

	"github.com/yuin/gopher-lua/ast"
)

// kindSet says which of the special values an expression may have.
type kindSet uint8

const (
	isAPI      kindSet = 1 << iota // the table redis or server
	isCall                         // its function call
	isPCall                        // its function pcall
	isLuaPCall                     // Lua's own pcall
)

const anyCall = isCall | isPCall

// maxStrings is how many different constants a name is followed through.
const maxStrings = 8

// value is what an expression may be. It only ever grows while propagate runs.
type value struct {
	kinds    kindSet
	strs     []string // constants it may be, sorted
	other    bool     // it may be something else too
	computed bool     // a constant was put together from pieces
}

func (v *value) add(o value) (changed bool) {
	if v.kinds|o.kinds != v.kinds {
		v.kinds |= o.kinds
		changed = true
	}
	for _, s := range o.strs {
		changed = v.addString(s) || changed
	}
	if o.other && !v.other {
		v.other, changed = true, true
	}
	if o.computed && !v.computed {
		v.computed, changed = true, true
	}
	return changed
}

func (v *value) addString(s string) bool {
	i, found := slices.BinarySearch(v.strs, s)
	if found || v.other && len(v.strs) >= maxStrings {
		return false
	}
	if len(v.strs) >= maxStrings || len(s) > 256 {
		changed := !v.other
		v.other = true
		return changed
	}
	v.strs = slices.Insert(slices.Clip(v.strs), i, s)
	return true
}

// constants are the strings it must be one of; ok is false when it may be anything else.
func (v value) constants() (strs []string, ok bool) {
	return v.strs, !v.other && v.kinds == 0 && len(v.strs) > 0
}

// propagate finds what each variable may be, from everything that is assigned to it, to a fixed point. It takes no
// account of order: a variable may be anything that it is ever given.
func (m *model) propagate() {
	for _, v := range m.vars {
		if v.global {
			switch v.name {
			case "redis", "server":
				v.val.kinds = isAPI
			case "pcall":
				if len(v.inits) == 0 && !v.unknown {
					v.val.kinds = isLuaPCall
				}
			}
			v.val.other = true
		}
		if v.unknown {
			v.val.other = true
		}
	}
	m.bindParams()
	queue := slices.Clone(m.vars)
	queued := make(map[*variable]bool, len(queue))
	for _, v := range queue {
		queued[v] = true
		for _, e := range v.inits {
			m.dependencies(e, v)
		}
	}
	for len(queue) > 0 {
		m.b.step()
		v := queue[0]
		queue = queue[1:]
		queued[v] = false
		changed := false
		for _, e := range v.inits {
			changed = v.val.add(m.eval(e)) || changed
		}
		if !changed {
			continue
		}
		for _, d := range v.deps {
			if !queued[d] {
				queued[d] = true
				queue = append(queue, d)
			}
		}
	}
}

// bindParams gives the parameters of a function whose calls are all known the values that those calls pass.
func (m *model) bindParams() {
	for _, f := range m.funcs {
		for i, p := range f.params {
			if !f.known() {
				p.unknown, p.val.other = true, true
				continue
			}
			for _, c := range f.calls {
				if e := valueAt(c.Args, i); e != nil {
					p.inits = append(p.inits, e)
				} else if spreads(c.Args) {
					p.unknown, p.val.other = true, true
				}
			}
		}
	}
}

// dependencies notes that to takes its value from the variables in e.
func (m *model) dependencies(e ast.Expr, to *variable) {
	m.b.step()
	switch e := e.(type) {
	case *ast.IdentExpr:
		if v := m.bound[e]; v != nil {
			v.deps = append(v.deps, to)
		}
	case *ast.AttrGetExpr:
		m.dependencies(e.Object, to)
		m.dependencies(e.Key, to)
	case *ast.LogicalOpExpr:
		m.dependencies(e.Lhs, to)
		m.dependencies(e.Rhs, to)
	case *ast.StringConcatOpExpr:
		m.dependencies(e.Lhs, to)
		m.dependencies(e.Rhs, to)
	}
}

// eval is what an expression may be, as far as the variables are known by now.
func (m *model) eval(e ast.Expr) value {
	m.b.step()
	switch e := e.(type) {
	case *ast.NilExpr, *ast.FalseExpr:
		return value{}
	case *ast.StringExpr:
		var v value
		v.addString(e.Value)
		return v
	case *ast.IdentExpr:
		if v := m.bound[e]; v != nil {
			return v.val
		}
	case *ast.AttrGetExpr:
		return m.evalAttr(e)
	case *ast.LogicalOpExpr:
		// "a and b" gives b or something false, which names no command and calls nothing.
		v := m.eval(e.Rhs)
		if e.Operator == "or" {
			l := m.eval(e.Lhs)
			l.strs = slices.Clone(l.strs)
			l.add(v)
			return l
		}
		return v
	case *ast.StringConcatOpExpr:
		return concat(m.eval(e.Lhs), m.eval(e.Rhs))
	}
	return value{other: true}
}

func (m *model) evalAttr(e *ast.AttrGetExpr) value {
	if m.eval(e.Object).kinds&isAPI == 0 {
		return value{other: true}
	}
	out := value{}
	names, ok := m.eval(e.Key).constants()
	if !ok {
		return value{kinds: anyCall, other: true}
	}
	for _, n := range names {
		switch n {
		case "call":
			out.kinds |= isCall
		case "pcall":
			out.kinds |= isPCall
		default:
			out.other = true
		}
	}
	return out
}

func concat(l, r value) value {
	ls, lok := l.constants()
	rs, rok := r.constants()
	if !lok || !rok || len(ls)*len(rs) > maxStrings {
		return value{other: true}
	}
	out := value{computed: true}
	for _, a := range ls {
		for _, b := range rs {
			out.addString(a + b)
		}
	}
	return out
}
