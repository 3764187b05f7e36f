package lua

// Level says how bad a finding is.
type Level uint8

const (
	Note    Level = iota // worth knowing; sound scripts have such findings
	Warning              // probably a mistake, or a danger to others
	Error                // surely a mistake
)

func (l Level) String() string { return [...]string{"note", "warning", "error"}[l] }

// Finding is one thing that a rule says about one place of a body. Lines and columns count from 1, columns in code
// points; the end is the first column after it.
type Finding struct {
	Rule      string
	Level     Level
	Line      int
	Column    int
	EndLine   int
	EndColumn int
	Message   string // what is wrong, here
	Fix       string // what to do about it
	Page      string // where the rule is explained: a path in the documentation, with an anchor
}

func (a *Analysis) addUnanalysed(string)                    {}
func (a *Analysis) addSyntax(*unit, error)                  {}
func (a *Analysis) addShebang(shebang)                      {}
func lint(m *model, a *Analysis, head shebang, opt Options) {}
