package policy

// LimitKind says which limit refused a call.
type LimitKind uint8

const (
	NoLimit LimitKind = iota
	LimitConcurrency
	LimitScriptRate
	LimitUserRate
)

// Admission is the outcome of Verdict.Admit.
type Admission struct {
	// OK says that the call may run now, and that Verdict.Leave must be called once when it is over.
	OK bool
	// Exceeded is the limit that refused the call or, when OK is set all the same, that would have refused
	// it in enforce mode.
	Exceeded LimitKind
	// Rule is the number of the rule that set that limit, else NoRule.
	Rule int32
}

// Limited reports whether the verdict has limits; without, Admit always lets in and Leave does nothing.
func (v *Verdict) Limited() bool { return v.Limits != Limits{} }

// Admit takes the call's place within its limits, all of them or none. now is a monotonic time in
// nanoseconds, the same clock for all calls. It is for the hot path: no lock, no allocation.
func (v *Verdict) Admit(now int64) Admission {
	l := &v.Limits
	if v.audit {
		return v.witness(now)
	}
	if l.Gate != nil && !l.Gate.Acquire() {
		return v.exceeded(false, LimitConcurrency)
	}
	if l.ScriptRate != nil && !l.ScriptRate.Allow(now) {
		v.Leave()
		return v.exceeded(false, LimitScriptRate)
	}
	if l.UserRate != nil && !l.UserRate.Allow(now) {
		if l.ScriptRate != nil {
			l.ScriptRate.Return()
		}
		v.Leave()
		return v.exceeded(false, LimitUserRate)
	}
	return Admission{OK: true, Rule: NoRule}
}

// witness counts the call against its limits and lets it in whatever they say: audit mode.
func (v *Verdict) witness(now int64) Admission {
	l := &v.Limits
	kind := NoLimit
	if l.Gate != nil && !l.Gate.Enter() {
		kind = LimitConcurrency
	}
	if l.ScriptRate != nil && !l.ScriptRate.Allow(now) && kind == NoLimit {
		kind = LimitScriptRate
	}
	if l.UserRate != nil && !l.UserRate.Allow(now) && kind == NoLimit {
		kind = LimitUserRate
	}
	return v.exceeded(true, kind)
}

func (v *Verdict) exceeded(ok bool, kind LimitKind) Admission {
	a := Admission{OK: ok, Exceeded: kind, Rule: NoRule}
	switch kind {
	case LimitConcurrency:
		a.Rule = int32(v.from[attrGate]) - 1
	case LimitScriptRate:
		a.Rule = int32(v.from[attrScriptRate]) - 1
	case LimitUserRate:
		a.Rule = int32(v.from[attrUserRate]) - 1
	}
	return a
}

// Leave ends a call that was admitted.
func (v *Verdict) Leave() {
	if v.Limits.Gate != nil {
		v.Limits.Gate.Release()
	}
}
