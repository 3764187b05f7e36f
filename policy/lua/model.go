package lua

import "github.com/yuin/gopher-lua/ast"

// variable is one local variable, parameter or global of a script. Every place that gives it a value is known,
// because Lua's scopes are lexical; inits holds them.
type variable struct {
	name   string
	tok    int32 // its declaration; of a global, its first use
	global bool
	param  bool
	owner  *function // where it is declared; nil for a global

	inits   []ast.Expr // values given to it
	steps   []ast.Expr // calls whose later values it gets, and what a generic for walks
	unknown bool       // gets a value that no expression shows
	empty   bool       // is declared without a value

	fn     *function // the function it names, when it is given nothing else
	reads  int       // uses as a value
	called int       // uses as what is called; reads counts these too
	listed int       // uses that leave the first element of a list as it is; reads counts these too

	val  value       // see propagate
	deps []*variable // variables whose values come from this one

	from origin // where its values come from; see flow.go
}

// function is one function of the script; the first is the script itself.
type function struct {
	expr    *ast.FunctionExpr // nil for the script
	parent  *function
	name    *variable // the variable that names it and nothing else, else nil
	params  []*variable
	vararg  bool
	returns []*ast.ReturnStmt
	calls   []*ast.FuncCallExpr // calls through name
	defined int32               // token
}

// known tells whether every call of the function is in calls.
func (f *function) known() bool {
	return f.name != nil && f.name.fn == f && f.name.reads == f.name.called
}

// model is a body with its names resolved.
type model struct {
	*unit
	b        *budget
	commands Commands

	vars    []*variable
	globals map[string]*variable
	bound   map[*ast.IdentExpr]*variable
	locals  map[*ast.LocalAssignStmt][]*variable
	loopVar map[ast.Stmt][]*variable
	funcs   map[*ast.FunctionExpr]*function
	main    *function
	named   []namedCall

	tableChanged bool // a member of the library table is assigned
	tableMembers int  // uses of the library table to get a member of it

	globalWrites []globalWrite

	sites   []*site
	escapes []escape
	api     []apiUse
	others  []*otherCall
	loops   []*loop
	conds   []*condition
	rets    []*returned
	index   []*indexing
	tableIn []tableWrite
	params  paramUse
}

// namedCall is a call through a plain name.
type namedCall struct {
	v *variable
	e *ast.FuncCallExpr
}

type globalWrite struct {
	v   *variable
	tok int32
	fn  bool
}
