package lua

import "github.com/yuin/gopher-lua/ast"

// use says what the surroundings do with an expression's value.
type use uint8

const (
	useValue  use = iota // anything: stored, passed on, returned
	useAlias             // given to a variable that the analysis follows
	useTest              // only its truth or identity is looked at
	useCallee            // called
	useObject            // indexed
)

// place is where something happens.
type place struct {
	fn        *function
	loop      *loop
	guard     *guard
	parent    ast.PositionHolder // the expression or statement around it
	stmt      ast.Stmt           // the statement it is in
	protected bool               // inside pcall(function() … end)
	optional  bool               // right of an and/or, so not always evaluated
	seq       int                // its number, in the order of the text
}

// unconditional tells whether every run of the script gets there.
func (p *place) unconditional() bool {
	return p.fn.parent == nil && p.fn.expr == nil && p.loop == nil && p.guard == nil
}

// guard is a condition that holds, or not, where the code stands.
type guard struct {
	cond   ast.Expr // nil: only perhaps reached, on a condition that is no expression (after a loop with an exit)
	holds  bool     // cond is true there; else it is false
	early  bool     // because the code left when it was otherwise
	parent *guard
}

type loopKind uint8

const (
	whileLoop loopKind = iota
	repeatLoop
	numericLoop
	genericLoop
)

type loop struct {
	place  // of the loop itself
	kind   loopKind
	stmt   ast.Stmt
	cond   ast.Expr // of while and repeat
	body   []ast.Stmt
	vars   []*variable
	tok    int32
	exits  bool // has a break, return or error of its own
	parent *loop
}

// within tells whether l is o or inside it.
func (l *loop) within(o *loop) bool {
	for ; l != nil; l = l.parent {
		if l == o {
			return true
		}
	}
	return false
}

// site is one call of a command.
type site struct {
	place
	call     *ast.FuncCallExpr
	pcall    bool     // an error comes back as a value
	names    []string // the commands it may be, upper case; a container's with its subcommand
	sure     bool     // it can be no other
	computed bool     // the name was put together from pieces
	args     []ast.Expr
	tok, end int32  // first and last token
	spans    []span // of the call's arguments; see linter.argSpan
}

// is tells whether the site calls one of the commands, and nothing else.
func (s *site) is(names ...string) bool {
	if !s.sure || len(s.names) == 0 {
		return false
	}
	for _, n := range s.names {
		found := false
		for _, want := range names {
			found = found || n == want
		}
		if !found {
			return false
		}
	}
	return true
}

// escape is a place where code or a call of a command gets out of sight.
type escape struct {
	tok  int32
	code bool   // loadstring and the like, else the redis table or a call function
	what string // how it is written
}

// apiUse is a use of another member of the redis table.
type apiUse struct {
	place
	name string
	call *ast.FuncCallExpr // nil when not called
	tok  int32
}

// otherCall is any other call.
type otherCall struct {
	place
	call *ast.FuncCallExpr
	path string    // of a global function: "table.insert"
	fn   *function // of a function of the script
	tok  int32
}

type condition struct {
	place
	expr ast.Expr
}

type returned struct {
	place
	stmt *ast.ReturnStmt
}

type indexing struct {
	place
	expr *ast.AttrGetExpr
	set  bool // assigned to
	tok  int32
}

// tableWrite puts a value into a table that a variable holds.
type tableWrite struct {
	place
	v     *variable
	key   ast.Expr
	value ast.Expr
}

// paramUse is how KEYS and ARGV are used.
type paramUse struct {
	fixed []fixedUse
	keys  bool // also as a whole, or with a computed index
	args  bool
}

type fixedUse struct {
	args  bool
	index int
	sure  bool      // on every run, and not only to see whether it is there
	into  *variable // the local that it initialises
}
