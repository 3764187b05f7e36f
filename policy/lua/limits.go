package lua

import "time"

// The limits of one analysis. A body inside them makes it allocate at most some 32 MB, freed or not (measured by
// TestHostileBodiesStayInsideTheirMemory, which holds it to 64 MB), and ends it when the time is up. Real scripts are
// far below: the largest of those in docs/lint-public-scripts.md has 40 kB and 4,900 tokens.
const (
	defaultTimeout  = 50 * time.Millisecond
	defaultMaxBytes = 1 << 20
	maxTokens       = 60_000
	maxNesting      = 200   // brackets and blocks inside each other; Lua 5.1's own limit (LUAI_MAXCCALLS)
	maxChain        = 1_000 // operators that nest to the right, without a bracket; Lua refuses from 200
	maxDepth        = 3_000 // depth of the syntax tree, which chains like a+b+c… or f()()()… deepen without nesting
	maxFindings     = 1_000
)

// exhausted is the panic by which an analysis gives up; Analyse recovers it.
type exhausted string

// budget is what is left of one analysis's allowance.
type budget struct {
	deadline time.Time
	timeout  time.Duration
	maxBytes int
	steps    uint32
}

func newBudget(opt Options) *budget {
	b := &budget{timeout: opt.Timeout, maxBytes: opt.MaxBytes}
	if b.timeout <= 0 {
		b.timeout = defaultTimeout
	}
	if b.maxBytes <= 0 {
		b.maxBytes = defaultMaxBytes
	}
	b.deadline = time.Now().Add(b.timeout)
	return b
}

// step is called once per unit of work; every 512th looks at the clock.
func (b *budget) step() {
	b.steps++
	if b.steps&511 == 0 && time.Now().After(b.deadline) {
		panic(b.late())
	}
}

func (b *budget) late() exhausted {
	return exhausted("the analysis took longer than its limit of " + b.timeout.String())
}

// deep panics when the syntax tree is deeper than any walk may recurse.
func (b *budget) deep(depth int) {
	if depth > maxDepth {
		panic(exhausted("the expressions are nested too deeply to be analysed"))
	}
}
