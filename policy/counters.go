package policy

import "sync/atomic"

// Counters counts what the rules of one Set did. A loop keeps its own and sums them with Add when somebody
// asks, so that loops do not share cache lines; every method may be called by any goroutine.
type Counters struct {
	set   *Set
	cells []counterCell // by rule; the last one is the default
}

type counterCell struct {
	allowed, denied, audited, applied, limited atomic.Uint64
}

// RuleCount is what one rule did. Rule is empty for the default.
type RuleCount struct {
	Rule    string
	Allowed uint64 // calls it allowed
	Denied  uint64 // calls it denied
	Audited uint64 // calls it would have denied, or reported
	Applied uint64 // calls it set an attribute of
	Limited uint64 // calls its limits refused, or would have refused
}

// NewCounters returns counters for s at zero.
func NewCounters(s *Set) *Counters {
	return &Counters{set: s, cells: make([]counterCell, len(s.rules)+1)}
}

// Count counts a verdict of the counters' Set.
func (c *Counters) Count(v *Verdict) {
	n := len(c.cells) - 1
	if v.Rule >= 0 {
		n = int(v.Rule)
	}
	switch v.Action {
	case Allow:
		c.cells[n].allowed.Add(1)
	case Deny:
		c.cells[n].denied.Add(1)
	case Audit:
		c.cells[n].audited.Add(1)
	}
	if c.set.used == 0 {
		return
	}
	for a, from := range v.from {
		if from != 0 && a != attrReport && !v.countedBefore(a) {
			c.cells[from-1].applied.Add(1)
		}
	}
}

// countedBefore reports whether the rule that set attribute a has set an earlier one too.
func (v *Verdict) countedBefore(a attribute) bool {
	for earlier := attrRoute; earlier < a; earlier++ {
		if v.from[earlier] == v.from[a] {
			return true
		}
	}
	return false
}

// CountLimit counts an Admission that exceeded a limit; others it ignores.
func (c *Counters) CountLimit(a Admission) {
	if a.Exceeded != NoLimit {
		c.cells[a.Rule].limited.Add(1)
	}
}

// Add adds the counters to sums, which must have come from nil or from counters of the same Set, and
// returns it: one entry per rule in their order, and one for the default.
func (c *Counters) Add(sums []RuleCount) []RuleCount {
	if sums == nil {
		sums = make([]RuleCount, len(c.cells))
	}
	for i := range c.cells {
		cell, sum := &c.cells[i], &sums[i]
		if i < len(c.set.rules) {
			sum.Rule = c.set.rules[i].name
		}
		sum.Allowed += cell.allowed.Load()
		sum.Denied += cell.denied.Load()
		sum.Audited += cell.audited.Load()
		sum.Applied += cell.applied.Load()
		sum.Limited += cell.limited.Load()
	}
	return sums
}
