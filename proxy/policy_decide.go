//go:build linux

package proxy

import (
	"net/netip"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// How a request passes the policy.
//
// A plain command that no rule speaks of costs one look into a slice. Any
// other is decided before it is looked at further, and a script call as soon
// as it is known what would run. What is denied is answered in its place
// among the session's replies. What may run takes its place within its
// limits (admit) when there is nothing left to wait for, and keeps it until
// its reply has come.

// ruling is what the policy says of the request that is being dispatched.
// There is one for each loop, so that deciding allocates nothing.
type ruling struct {
	// asked tells that the request was decided: settle it when it is taken or
	// left.
	asked   bool
	request policy.Request
	verdict policy.Verdict
	// gate is what an admitted call has to leave, until a pending takes that
	// over.
	gate *policy.Gate
	// route is where the verdict sends the request.
	route policy.Route
	// What it is about, for whom it is told: a plain command, or a script
	// call with what was called and, once that is known, what runs.
	plain      *ruled
	script     *Script
	registered bool // the policy knows the script by its name
	function   bool
	called     []byte
}

// forbidden asks the policy about a command that is no script call; cmd is
// nil for one that the table lacks. It reports whether the request was
// refused, and the client told.
func (s *session) forbidden(p *Policy, cmd *command.Command, r *resp.Request) bool {
	what := p.command(cmd, r)
	if what == nil {
		return false
	}
	u := &s.w.ruling
	u.request = policy.Request{Command: what.target, Class: what.class}
	u.plain = what
	if p.commandKeys && cmd != nil {
		s.w.keys, _ = cmd.Keys(r.Len(), r.Arg, s.w.keys[:0])
		u.request.Keys = len(s.w.keys)
	}
	if p.sizes {
		u.request.ArgBytes = bytesFrom(r, 1)
	}
	s.decide(p)
	v := &u.verdict
	if v.Rule == policy.NoRule && v.Action != policy.Allow && what.greeting {
		v.Action = policy.Allow
	}
	if v.Action == policy.Deny {
		s.denied(p, cmd)
		return true
	}
	u.route = v.Route
	s.w.rank = u.rank(nil)
	if s.flags&letIn != 0 {
		// It was let in before it had to wait.
		s.flags &^= letIn
		if s.ext != nil {
			u.gate, s.ext.gate = s.ext.gate, nil
		}
		return false
	}
	return !s.admit(p, cmd)
}

// mayPass reports whether the policy lets a large plain command pass that has
// not come as a whole. It says so only where nothing that is still to come,
// and no limit, can change the verdict; else the command is decided when it
// is complete.
func (s *session) mayPass(p *Policy, cmd *command.Command, r *resp.Request) bool {
	what := p.command(cmd, r)
	if what == nil {
		return true
	}
	if p.sizes || p.commandKeys {
		return false
	}
	u := &s.w.ruling
	u.request = policy.Request{Command: what.target, Class: what.class}
	u.plain = what
	s.decide(p)
	passes := u.verdict.Action == policy.Allow && !u.verdict.Limited()
	if passes {
		p.counters[s.w.loop.Index].Count(&u.verdict)
		s.w.shard.Policy(p.label(&u.verdict), metrics.VerdictAllow)
	}
	*u = ruling{}
	return passes
}

// judge asks the policy about a call of a script, which is nil where only the
// server may know it. It returns what runs, which a rule may have chosen.
func (s *session) judge(p *Policy, cmd *command.Command, r *resp.Request, script *Script, keys int) (*Script, routing) {
	u := &s.w.ruling
	u.request = policy.Request{Script: policy.Unregistered, Class: classOfCall(cmd, script), Keys: keys}
	u.script, u.called = script, r.Arg(1)
	var ref policy.ScriptRef
	if script != nil {
		ref, u.registered = p.refs[script]
	}
	switch {
	case u.registered:
		u.request.Script = ref
	case script == nil:
		u.request.Unregistered = s.w.unknownSHA(p, r.Arg(1))
	case p.facts && !script.examined(p.findings):
		return nil, s.examine(p, script)
	default:
		u.request.Unregistered = p.unregistered(script)
	}
	if p.sizes {
		u.request.ArgBytes = bytesFrom(r, 3)
	}
	s.decide(p)
	if u.verdict.Action == policy.Deny {
		if script == nil && s.mightRead(p) {
			s.w.shard.ScriptCall(0, metrics.RouteLocal, metrics.OutcomeNoScript, -1, false)
			s.turnAway(cmd, "-"+missingScript+" Please use EVAL."+crlf)
		} else {
			s.denied(p, cmd)
		}
		return nil, answered
	}
	u.route = u.verdict.Route
	if version := u.verdict.Version; version != "" && u.registered && version != script.Version {
		if e := p.versions[scriptVersion{script.Name, version}]; e != nil {
			if e.Script == nil {
				s.turnAway(cmd, e.Refusal)
				return nil, answered
			}
			u.script = e.Script
		}
	}
	return u.script, routed
}

// mightRead reports that a call of a script which nobody has shown to the
// proxy is denied as a write only, and would be let in if the script reads.
// Whoever is told NOSCRIPT shows it, and is judged by what it is.
func (s *session) mightRead(p *Policy) bool {
	request := &s.w.ruling.request
	if request.Class == policy.ClassRead {
		return false
	}
	request.Class = policy.ClassRead
	v := p.set.Decide(request)
	return v.Action != policy.Deny
}

// judgeFunction asks the policy about an FCALL of the function that script is
// a version of, nil where it is not registered, with the name target on the
// server. It returns what runs instead, where a rule has chosen.
func (s *session) judgeFunction(p *Policy, cmd *command.Command, r *resp.Request, script *Script, target string) (*Script, string, routing) {
	u := &s.w.ruling
	keys, err := command.NumKeysFunction(r.Arg(2), r.Len())
	if err != nil {
		keys = 0 // the server says what is wrong
	}
	u.request = policy.Request{Script: policy.Unregistered, Class: classOfCall(cmd, script), Keys: keys}
	u.script, u.function, u.called = script, true, r.Arg(1)
	refs, known := p.functions[string(r.Arg(1))]
	switch {
	case !known:
		u.request.Unregistered = s.w.unknownFunction(p, r.Arg(1))
	case s.w.gen.Scripts.Function(r.Arg(1)).Canary == script:
		u.request.Script = refs.canary
	default:
		u.request.Script = refs.active
	}
	u.registered = u.request.Script != policy.Unregistered
	if p.sizes {
		u.request.ArgBytes = bytesFrom(r, 3)
	}
	s.decide(p)
	if u.verdict.Action == policy.Deny {
		s.denied(p, cmd)
		return nil, "", answered
	}
	u.route = u.verdict.Route
	if version := u.verdict.Version; version != "" && script != nil && version != script.Version {
		if fn := s.w.gen.Scripts.fns[functionName(r.Arg(1))+"@"+version]; fn != nil {
			if fn.Script == nil {
				s.turnAway(cmd, fn.Refusal)
				return nil, "", answered
			}
			u.script, target = fn.Script, fn.Target
		}
	}
	return u.script, target, routed
}

// decide fills in who asks and when, and asks.
func (s *session) decide(p *Policy) {
	u := &s.w.ruling
	u.asked = true
	if !s.standing.Of(p.set) {
		s.standing = p.set.Session(s.userName(), s.clientAddr(), int(s.listener))
		s.w.srv.noteUser(s.serverUser())
	}
	u.request.Session = s.standing
	u.request.Now = s.w.minute(p.set)
	u.verdict = p.set.Decide(&u.request)
}

// admit takes the call's place within its limits, and counts it. It reports
// false when a limit refused it, and the client was told. Nothing may make
// the request wait afterwards but for plain commands.
func (s *session) admit(p *Policy, cmd *command.Command) bool {
	w, u := s.w, &s.w.ruling
	v := &u.verdict
	counters := p.counters[w.loop.Index]
	if v.Limited() {
		a := v.Admit(w.loop.Now())
		if a.Exceeded != policy.NoLimit {
			counters.CountLimit(a)
			s.tellLimited(p, a)
		}
		if !a.OK {
			kind, name, version := u.subject()
			w.shard.Error(metrics.ErrLimit)
			if u.plain == nil {
				w.shard.ScriptCall(metricOf(u.script), metrics.RouteLocal, metrics.OutcomeLimited, -1, false)
			}
			s.turnAway(cmd, string(append(p.set.AppendLimited([]byte{'-'}, kind, name, version, a), crlf...)))
			return false
		}
		u.gate = v.Limits.Gate
	}
	counters.Count(v)
	w.shard.Policy(p.label(v), verdictLabels[v.Action])
	if v.Action == policy.Audit {
		s.tellVerdict(p)
	}
	if p.learner != nil {
		s.learn(p)
	}
	return true
}

// denied counts and answers a request that the verdict denies.
func (s *session) denied(p *Policy, cmd *command.Command) {
	w, u := s.w, &s.w.ruling
	v := &u.verdict
	p.counters[w.loop.Index].Count(v)
	w.shard.Policy(p.label(v), metrics.VerdictDeny)
	w.shard.Error(metrics.ErrDenied)
	if u.plain == nil {
		w.shard.ScriptCall(metricOf(u.script), metrics.RouteLocal, metrics.OutcomeDenied, -1, false)
	}
	s.tellVerdict(p)
	kind, name, version := u.subject()
	s.turnAway(cmd, string(append(policy.AppendDenied([]byte{'-'}, kind, name, version, v.Reason), crlf...)))
}

var verdictLabels = [...]metrics.Verdict{
	policy.Allow: metrics.VerdictAllow, policy.Deny: metrics.VerdictDeny, policy.Audit: metrics.VerdictAudit,
}

// label is what a verdict is counted by.
func (p *Policy) label(v *policy.Verdict) metrics.RuleID {
	if v.Rule < 0 {
		return p.rules[len(p.rules)-1]
	}
	return p.rules[v.Rule]
}

// subject names what was asked for, for people.
func (u *ruling) subject() (kind, name, version string) {
	switch {
	case u.plain != nil:
		return "command", u.plain.name, ""
	case u.function:
		if u.script != nil {
			version = u.script.Version
		}
		return "function", functionName(u.called), version
	case u.script != nil:
		return "script", u.script.Label(), u.script.Version
	}
	return "script", string(u.called), ""
}

// functionName is the name in the first argument of an FCALL, without the
// version that may follow it.
func functionName(called []byte) string {
	for i, c := range called {
		if c == '@' {
			return string(called[:i])
		}
	}
	return string(called)
}

// turnAway answers a request that does not run. Inside MULTI the server is
// made to refuse something in its place, so that EXEC fails as it does after
// any command that was not queued. A refused EXEC ends its transaction, as
// Redis has it (server.c, rejectCommand).
func (s *session) turnAway(cmd *command.Command, text string) {
	switch {
	case s.state&inMulti == 0 || s.ded == nil:
		s.reply(text)
	case cmd != nil && cmd.Op == command.OpExec:
		p := s.w.newPending(s, kindAsync)
		p.read = true
		s.endTransaction(p)
		if s.ext != nil {
			s.ext.multi.leave()
			s.ext.notes, s.ext.multi = nil, nil
		}
		s.standIn(p, "*1\r\n$7\r\nDISCARD\r\n", "-EXECABORT Transaction discarded because of: "+text[1:])
	default:
		s.spoil(text)
	}
}

// classOfCall is what a script call may do.
func classOfCall(cmd *command.Command, script *Script) policy.Class {
	switch cmd.Op {
	case command.OpEvalRO, command.OpEvalShaRO, command.OpFCallRO:
		return policy.ClassRead
	}
	if script != nil && script.Class() == ClassRead {
		return policy.ClassRead
	}
	return policy.ClassWrite
}

func bytesFrom(r *resp.Request, first int) (n int64) {
	for i := first; i < r.Len(); i++ {
		n += int64(len(r.Arg(i)))
	}
	return n
}

// minute is the policy's handle for the time now.
func (w *worker) minute(set *policy.Set) *policy.Moment {
	now := w.loop.Now()
	if now >= w.minuteEnds || !w.moment.Of(set) {
		t := time.Now()
		w.moment = set.Moment(t)
		w.minuteEnds = now + int64(time.Minute) - int64(t.Second())*int64(time.Second) - int64(t.Nanosecond())
	}
	return w.moment
}

// clientAddr is the client's address; the zero Addr for a unix socket.
func (s *session) clientAddr() netip.Addr {
	at, err := netip.ParseAddrPort(s.remoteAddr())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}
