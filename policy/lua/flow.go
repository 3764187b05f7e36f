package lua

import (
	"slices"

	"github.com/yuin/gopher-lua/ast"
)

// origin says where a value comes from; several at once are possible.
type origin uint16

const (
	fromKeys     origin = 1 << iota // KEYS, or a library function's keys
	fromArgs                        // ARGV
	fromLiteral                     // written in the script
	fromReply                       // a value read from Redis
	fromBuilt                       // put together: concatenation, string.format …
	fromTime                        // the clock
	fromRandom                      // math.random
	fromMember                      // a random member or key
	fromUnsorted                    // a reply without a defined order
	fromPairs                       // the order of pairs() or next()
	fromUnknown                     // a parameter of a function that nothing known calls, and the like
)

// maxFlowPasses bounds the passes over all variables. Values that travel through longer chains of variables, against
// the order of the text, are lost to the lint; classification does not depend on them.
const maxFlowPasses = 12

// flow knows where values come from. It takes no account of order and branches.
type flow struct {
	*model
	siteOf map[*ast.FuncCallExpr]*site
	callOf map[*ast.FuncCallExpr]*otherCall
	inits  map[*variable][]tableWrite
	sorted map[*variable]bool
}

func newFlow(m *model) *flow {
	f := &flow{
		model:  m,
		siteOf: make(map[*ast.FuncCallExpr]*site, len(m.sites)),
		callOf: make(map[*ast.FuncCallExpr]*otherCall, len(m.others)),
		inits:  map[*variable][]tableWrite{},
		sorted: map[*variable]bool{},
	}
	for _, s := range m.sites {
		f.siteOf[s.call] = s
	}
	for _, w := range m.tableIn {
		f.inits[w.v] = append(f.inits[w.v], w)
	}
	for _, c := range m.others {
		f.callOf[c.call] = c
		v := f.variableOf(valueAt(c.call.Args, 0))
		if v == nil {
			continue
		}
		switch c.path {
		case "table.insert":
			n := len(c.call.Args)
			f.inits[v] = append(f.inits[v], tableWrite{place: c.place, v: v, value: c.call.Args[n-1]})
		case "table.sort":
			f.sorted[v] = true
		}
	}
	f.seedLibrary()
	f.run()
	for _, v := range m.vars {
		if v.from == 0 && !v.global && (v.param || v.unknown) {
			v.from = fromUnknown
		}
	}
	f.run()
	return f
}

// seedLibrary gives the parameters of functions that a library registers their meaning: keys and arguments.
func (f *flow) seedLibrary() {
	for _, u := range f.api {
		if u.name != "register_function" || u.call == nil {
			continue
		}
		for _, a := range u.call.Args {
			f.seedCallback(a)
			if t, ok := a.(*ast.TableExpr); ok {
				for _, field := range t.Fields {
					f.seedCallback(field.Value)
				}
			}
		}
	}
}

func (f *flow) seedCallback(e ast.Expr) {
	fe, ok := e.(*ast.FunctionExpr)
	if v := f.variableOf(e); v != nil && v.fn != nil {
		fe, ok = v.fn.expr, true
	}
	if !ok {
		return
	}
	for i, p := range f.funcs[fe].params {
		switch i {
		case 0:
			p.from |= fromKeys
		case 1:
			p.from |= fromArgs
		}
	}
}

func (f *flow) run() {
	for range maxFlowPasses {
		changed := false
		for _, v := range f.vars {
			f.b.step()
			o := v.from
			for _, e := range v.inits {
				o |= f.origin(e)
			}
			for _, e := range v.steps {
				o |= f.origin(e)
			}
			for _, w := range f.inits[v] {
				o |= f.origin(w.value)
				if w.key != nil {
					o |= f.origin(w.key) & (fromUnsorted | fromPairs)
				}
			}
			if f.sorted[v] {
				o &^= fromUnsorted | fromPairs
			}
			if o != v.from {
				v.from = o
				changed = true
			}
		}
		if !changed {
			return
		}
	}
}

// origin is where the value of an expression may come from.
func (f *flow) origin(e ast.Expr) origin {
	f.b.step()
	switch e := e.(type) {
	case *ast.StringExpr, *ast.NumberExpr:
		return fromLiteral
	case *ast.IdentExpr:
		return f.originOfName(e)
	case *ast.AttrGetExpr:
		if f.eval(e.Object).kinds&isAPI != 0 {
			return fromLiteral
		}
		return f.origin(e.Object)
	case *ast.FuncCallExpr:
		return f.originOfCall(e)
	case *ast.StringConcatOpExpr:
		return f.origin(e.Lhs) | f.origin(e.Rhs) | fromBuilt
	case *ast.ArithmeticOpExpr:
		return f.origin(e.Lhs) | f.origin(e.Rhs)
	case *ast.UnaryMinusOpExpr:
		return f.origin(e.Expr)
	case *ast.LogicalOpExpr:
		if e.Operator == "and" {
			return f.origin(e.Rhs)
		}
		return f.origin(e.Lhs) | f.origin(e.Rhs)
	case *ast.TableExpr:
		var o origin
		for _, field := range e.Fields {
			o |= f.origin(field.Value)
		}
		return o
	}
	return 0
}

func (f *flow) originOfName(e *ast.IdentExpr) origin {
	v := f.bound[e]
	switch {
	case v == nil:
		return 0
	case v.global && v.name == "KEYS":
		return fromKeys
	case v.global && v.name == "ARGV":
		return fromArgs
	case v.param: // the order in which a function is called is its caller's business
		return v.from &^ (fromUnsorted | fromPairs)
	}
	return v.from
}

var unsortedReplies = []string{"SMEMBERS", "SUNION", "SINTER", "SDIFF", "HKEYS", "HVALS", "HGETALL", "KEYS", "SCAN", "SSCAN", "HSCAN"}

var randomReplies = []string{"SRANDMEMBER", "SPOP", "RANDOMKEY", "HRANDFIELD", "ZRANDMEMBER"}

// builders put their arguments together or take them apart.
var builders = []string{"string.format", "string.gsub", "string.rep", "string.sub", "string.match", "table.concat",
	":format", ":gsub", ":rep", ":sub", ":match"}

func (f *flow) originOfCall(e *ast.FuncCallExpr) origin {
	if s := f.siteOf[e]; s != nil {
		return originOfReply(s)
	}
	c := f.callOf[e]
	if c == nil { // a member of redis
		return f.originOfAll(e.Args) | fromBuilt
	}
	if c.fn != nil {
		var o origin
		for _, r := range c.fn.returns {
			o |= f.originOfAll(r.Exprs)
		}
		return o
	}
	o := f.originOfAll(e.Args)
	if e.Receiver != nil {
		o |= f.origin(e.Receiver)
	}
	switch c.path {
	case "math.random":
		return fromRandom
	case "os.time", "os.clock":
		return fromTime
	case "pairs", "next":
		return o | fromPairs
	case "type", "redis.sha1hex":
		return fromBuilt
	case "pcall", "xpcall":
		return o
	}
	if slices.Contains(builders, c.path) {
		o |= fromBuilt
	}
	return o
}

func (f *flow) originOfAll(list []ast.Expr) origin {
	var o origin
	for _, e := range list {
		o |= f.origin(e)
	}
	return o
}

func originOfReply(s *site) origin {
	switch {
	case s.is("TIME"):
		return fromTime
	case s.is(randomReplies...):
		return fromReply | fromMember
	case s.is(unsortedReplies...):
		return fromReply | fromUnsorted
	}
	return fromReply
}

// replies are the sites whose reply an expression is: a call, or a variable that is given nothing but replies
// (and nil, false and empty tables). ok is false when it may be anything else.
func (f *flow) replies(e ast.Expr) (sites []*site, ok bool) { return f.repliesIn(e, 4) }

func (f *flow) repliesIn(e ast.Expr, hops int) ([]*site, bool) {
	f.b.step()
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		if s := f.siteOf[e]; s != nil && len(s.names) > 0 && s.sure && f.wholeReply(s) {
			return []*site{s}, true
		}
	case *ast.LogicalOpExpr:
		if e.Operator == "or" {
			l, lok := f.repliesIn(e.Lhs, hops)
			r, rok := f.repliesIn(e.Rhs, hops)
			return append(l, r...), lok && rok
		}
	case *ast.NilExpr, *ast.FalseExpr:
		return nil, true
	case *ast.TableExpr:
		return nil, len(e.Fields) == 0
	case *ast.IdentExpr:
		v := f.bound[e]
		if v == nil || v.global || v.unknown || v.param || hops == 0 || len(v.inits) == 0 || len(v.inits) > 16 {
			return nil, false
		}
		var all []*site
		for _, i := range v.inits {
			s, ok := f.repliesIn(i, hops-1)
			if !ok {
				return nil, false
			}
			all = append(all, s...)
		}
		return all, len(all) > 0
	}
	return nil, false
}

// wholeReply tells whether the call's value is the reply: Lua's pcall puts true or false before it.
func (f *flow) wholeReply(s *site) bool { return f.eval(s.call.Func).kinds&anyCall != 0 }

// sitesIn collects the calls of commands that an expression, or a variable in it, takes a value from.
func (f *flow) sitesIn(e ast.Expr) []*site {
	var out []*site
	seen := map[*variable]bool{}
	var visit func(e ast.Expr, hops int)
	visit = func(e ast.Expr, hops int) {
		f.eachExpr(e, func(e ast.Expr) {
			switch e := e.(type) {
			case *ast.FuncCallExpr:
				if s := f.siteOf[e]; s != nil {
					out = append(out, s)
				}
			case *ast.IdentExpr:
				v := f.bound[e]
				if v == nil || hops == 0 || seen[v] {
					return
				}
				seen[v] = true
				for _, i := range v.inits {
					visit(i, hops-1)
				}
				for _, i := range v.steps {
					visit(i, hops-1)
				}
			}
		})
	}
	visit(e, 4)
	return out
}
