package lua

import (
	"fmt"
	"slices"
	"strings"

	"github.com/yuin/gopher-lua/ast"
)

// pagePath is the documentation page of the rules; each has its own heading.
const pagePath = "docs/lint.md"

// Rule is one thing that the lint looks for.
type Rule struct {
	ID          string
	Level       Level // the highest that its findings have
	Summary     string
	Explanation string // Markdown
	Fix         string // the general advice; a finding may carry a more exact one
	Bad, Good   string // a script that has the finding, and one that has not

	check func(*linter)
}

// Page is where the rule is explained.
func (r *Rule) Page() string { return pagePath + "#" + r.ID }

// Rules are all rules, in the order of the documentation.
func Rules() []Rule { return slices.Clone(allRules) }

// allRules is filled by init, because the checks of some rules refer to it.
var allRules []Rule

func init() {
	allRules = slices.Concat(bodyRules, commandRules, loopRules, keyRules, orderRules, effectRules, replyRules, lockRules, balanceRules)
}

func ruleByID(id string) *Rule {
	for i := range allRules {
		if allRules[i].ID == id {
			return &allRules[i]
		}
	}
	panic("lua: no rule " + id)
}

// linter is one run of the rules over one body.
type linter struct {
	*flow
	a    *Analysis
	head shebang
	opt  Options
	rule *Rule
	seen map[string]bool // to say a thing once
}

// lint runs every rule. Out of time, it keeps what it has and says that it is not all.
func lint(m *model, a *Analysis, head shebang, opt Options) {
	l := &linter{a: a, head: head, opt: opt, seen: map[string]bool{}}
	defer func() {
		if late, ok := recover().(exhausted); ok {
			a.Findings = append(a.Findings, bodyFinding(unanalysedRule, "the lint is incomplete: "+string(late)))
		}
		sortFindings(a.Findings)
	}()
	l.flow = newFlow(m)
	for i := range allRules {
		l.rule = &allRules[i]
		if l.rule.check != nil {
			l.rule.check(l)
		}
	}
}

// report adds a finding about the tokens of a span.
func (l *linter) report(level Level, sp span, message, fix string) {
	if len(l.a.Findings) >= maxFindings {
		return
	}
	if fix == "" {
		fix = l.rule.Fix
	}
	f := Finding{Rule: l.rule.ID, Level: min(level, l.rule.Level), Message: message, Fix: fix, Page: l.rule.Page()}
	f.Line, f.Column = l.position(l.toks[sp.first].off)
	f.EndLine, f.EndColumn = l.position(l.toks[max(sp.first, sp.last)].end)
	l.a.Findings = append(l.a.Findings, f)
}

func (l *linter) reportf(level Level, sp span, format string, args ...any) {
	l.report(level, sp, fmt.Sprintf(format, args...), "")
}

// once tells whether something is said for the first time by the present rule.
func (l *linter) once(what string) bool {
	key := l.rule.ID + "\x00" + what
	if l.seen[key] {
		return false
	}
	l.seen[key] = true
	return true
}

func (s *site) span() span { return span{s.tok, s.end} }

// name is how a command is written in messages: XGROUP CREATE.
func commandTitle(name string) string { return strings.ReplaceAll(name, "|", " ") }

func (s *site) title() string {
	titles := make([]string, len(s.names))
	for i, n := range s.names {
		titles[i] = commandTitle(n)
	}
	return strings.Join(titles, " or ")
}

// argSpan is the span of the i-th argument after the command's name.
func (l *linter) argSpan(s *site, i int) span {
	if s.spans == nil {
		s.spans = l.argSpans(s.call)
	}
	i += len(s.call.Args) - len(s.args)
	if i < len(s.spans) {
		return s.spans[i]
	}
	return s.span()
}

// argText is how that argument is written.
func (l *linter) argText(s *site, i int) string {
	if i >= len(s.args) {
		return ""
	}
	return l.text(l.argSpan(s, i))
}

// keyPositions are the arguments of a site that are keys.
func (l *linter) keyPositions(s *site) []int {
	if len(s.names) == 0 {
		return nil
	}
	return keyArgs(s.names[0], len(s.args), func(i int) string {
		if i >= 0 && i < len(s.args) {
			return l.literal(s.args[i])
		}
		return ""
	})
}

// keyText is how the first key of a site is written, empty when it has none.
func (l *linter) keyText(s *site) string {
	if at := l.keyPositions(s); len(at) > 0 {
		return l.argText(s, at[0])
	}
	return ""
}

// writes tells whether a site may write.
func (l *linter) writes(s *site) bool {
	for _, n := range s.names {
		if l.info(n).Write {
			return true
		}
	}
	return false
}

// exclusive tells whether two places are never both reached in one run, as far as their conditions show.
func (m *model) exclusive(a, b *guard) bool {
	for x := a; x != nil; x = x.parent {
		m.b.step()
		for y := b; y != nil; y = y.parent {
			if x.cond != nil && x.cond == y.cond && x.holds != y.holds {
				return true
			}
		}
	}
	return false
}

// guards calls fn for every condition that holds at a place, the innermost first, until it returns true.
func (p *place) guards(fn func(*guard) bool) bool {
	for g := p.guard; g != nil; g = g.parent {
		if g.cond != nil && fn(g) {
			return true
		}
	}
	return false
}

// compares tells whether an expression holds a comparison by one of the operators of which sides is true.
func (m *model) compares(e ast.Expr, operators string, sides func(l, r ast.Expr) bool) bool {
	found := false
	m.eachExpr(e, func(e ast.Expr) {
		if r, ok := e.(*ast.RelationalOpExpr); ok && !found && slices.Contains(strings.Fields(operators), r.Operator) {
			found = sides(r.Lhs, r.Rhs)
		}
	})
	return found
}
