package policy

import (
	"math/bits"
	"net/netip"
	"time"
)

// Request is one call to be decided. The handles spare Decide their computation; one that is missing or
// belongs to another Set is computed from the plain values, which is right but slow.
type Request struct {
	Session  *Session // from Set.Session
	User     string
	Addr     netip.Addr
	Listener int

	Command *Target // a plain command, from Set.Command; nil for a script call

	Script       ScriptRef // for script calls: of this Set's catalog
	Unregistered *Target   // with Script == Unregistered: from Set.Unregistered, or nil when nothing is known

	Class    Class
	Keys     int
	ArgBytes int64 // bytes of all arguments together

	Now *Moment // from Set.Moment; nil is now
}

// NoRule is the rule number of verdicts that the default gave.
const NoRule = -1

// Verdict says what becomes of a call. Attributes are set only when the call may run and the mode is
// enforce; limits are set in mode audit too, for Admit to report.
type Verdict struct {
	Action Action // Allow, Deny, or Audit: it runs, and is reported
	Rule   int32  // the rule that decided or, for Audit, that is reported; NoRule is the default
	Reason string // why, for Deny and Audit: "rule 'x': message"

	Route    Route
	Priority Priority
	Deadline time.Duration // 0 is none
	Version  string        // empty is the active one
	Limits   Limits

	audit bool                  // the mode is audit: limits are witnessed, not kept
	from  [numAttributes]uint16 // the number, plus one, of the rule that set each attribute
}

// Limits are the limits that apply to a call; see Verdict.Admit.
type Limits struct {
	Gate       *Gate
	ScriptRate *Limiter
	UserRate   *Limiter
}

const (
	reasonDefaultScripts  = "no rule allows it, and the default is deny"
	reasonDefaultCommands = "no rule allows the command, and the default is deny"
)

// Decide returns the verdict on a call. It is for the hot path: with its handles given it takes no lock and
// allocates nothing, save for the first call under a limit.
func (s *Set) Decide(r *Request) Verdict {
	v := Verdict{Action: Allow, Rule: NoRule}
	if s.mode == ModeOff {
		return v
	}
	session := r.Session
	if !session.Of(s) {
		session = s.Session(r.User, r.Addr, r.Listener)
	}
	target, fallback, reason := s.target(r)
	now := r.Now
	if !now.Of(s) {
		now = s.Moment(time.Now())
	}
	class := r.Class
	if class >= numClasses {
		class = ClassWrite
	}

	a := session.mask
	b, c, d := target.mask[:len(a)], now.mask[:len(a)], s.classes[class][:len(a)]
	e, f := s.keys.mask(int64(r.Keys))[:len(a)], s.arguments.mask(r.ArgBytes)[:len(a)]
	decisive, setters := s.decisive[:len(a)], s.setters[:len(a)]
	decided, pending := false, s.used
	for i := range a {
		// Who asks and what for leave little of most words.
		hits := a[i] & b[i]
		if hits == 0 {
			continue
		}
		if hits &= c[i] & d[i] & e[i] & f[i]; hits == 0 {
			continue
		}
		stop := hits & decisive[i]
		if stop != 0 {
			first := stop & -stop
			hits &= first | (first - 1)
		}
		if pending != 0 && hits&setters[i] != 0 {
			pending = v.collect(s, i, hits, pending)
		}
		if stop != 0 {
			v.Rule = int32(i*64 + bits.TrailingZeros64(stop))
			decided = true
			break
		}
	}
	if decided {
		if rule := s.rules[v.Rule]; rule.action == Deny {
			v.Action, v.Reason = Deny, rule.reason
		}
	} else if fallback == Deny {
		v.Action, v.Reason = Deny, reason
	}
	s.apply(&v, session, target)
	return v
}

// Prioritized reports that a rule sets the priority, and not only says so.
func (v *Verdict) Prioritized() bool { return v.from[attrPriority] != 0 && !v.audit }

// target returns what the call is about, and the default with its reason.
func (s *Set) target(r *Request) (*Target, Action, string) {
	if command := r.Command; command != nil {
		if command.set != s {
			command = s.Command(command.command, "")
		}
		return command, s.spec.DefaultCommands, reasonDefaultCommands
	}
	if uint(r.Script) < uint(len(s.scripts)) {
		return &s.scripts[r.Script], s.spec.Default, reasonDefaultScripts
	}
	if r.Unregistered.Of(s) {
		return r.Unregistered, s.spec.Default, reasonDefaultScripts
	}
	return s.unknownScript, s.spec.Default, reasonDefaultScripts
}

// collect notes the rules of word i that set attributes which are still pending, and returns those that are
// pending afterwards.
func (v *Verdict) collect(s *Set, i int, hits uint64, pending uint16) uint16 {
	for p := pending; p != 0; p &= p - 1 {
		a := bits.TrailingZeros16(p)
		if set := hits & s.attributes[i][a]; set != 0 {
			v.from[a] = uint16(i*64+bits.TrailingZeros64(set)) + 1
			pending &^= 1 << a
		}
	}
	return pending
}

// apply turns what was found into what the mode makes of it.
func (s *Set) apply(v *Verdict, session *Session, target *Target) {
	if v.Action == Deny {
		if s.mode == ModeAudit {
			v.Action = Audit
		}
		v.from = [numAttributes]uint16{}
		return
	}
	if s.used == 0 {
		return
	}
	if n := v.from[attrReport]; n != 0 {
		v.Action, v.Rule = Audit, int32(n-1)
		v.Reason = s.rules[n-1].reason
	}
	if n := v.from[attrGate]; n != 0 {
		v.Limits.Gate = s.gate(int32(n-1), target.subject)
	}
	if n := v.from[attrScriptRate]; n != 0 {
		v.Limits.ScriptRate = s.limiter(int32(n-1), PerScript, target.subject)
	}
	if n := v.from[attrUserRate]; n != 0 {
		v.Limits.UserRate = s.limiter(int32(n-1), PerUser, session.user.number)
	}
	if s.mode == ModeAudit {
		v.audit = true
		return
	}
	if n := v.from[attrRoute]; n != 0 {
		v.Route = s.rules[n-1].route
	}
	if n := v.from[attrDeadline]; n != 0 {
		v.Deadline = s.rules[n-1].deadline
	}
	if n := v.from[attrPriority]; n != 0 {
		v.Priority = *s.rules[n-1].priority
	}
	if n := v.from[attrVersion]; n != 0 {
		v.Version = s.rules[n-1].version
	}
}
