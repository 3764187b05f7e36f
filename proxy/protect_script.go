//go:build linux

package proxy

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
)

// Protection bounds the calls of one script.
type Protection struct {
	// Deadline is how long a call may run; 0 for as long as it likes.
	Deadline time.Duration
	// MaxConcurrent calls may be on the nodes at a time, 0 for any number;
	// MaxQueue more may wait here.
	MaxConcurrent, MaxQueue int
	Breaker                 watchdog.BreakerSettings
	// Rank is that of the calls where no rule sets their priority.
	Rank watchdog.Rank
}

// protection is what a Script keeps of it. The zero value takes the defaults
// of the Settings.
type protection struct {
	deadline atomic.Int64 // 0: the default; negative: none
	// guarded tells that gate or breaker have to be asked.
	guarded  atomic.Bool
	gate     atomic.Pointer[watchdog.Gate]
	breaker  atomic.Pointer[watchdog.Breaker]
	rank     atomic.Int32                             // a watchdog.Rank
	breakers atomic.Pointer[watchdog.BreakerSettings] // nil: the default
}

// SetProtection says what bounds the calls. gate is shared by the versions of
// one name; nil for none.
func (s *Script) SetProtection(p Protection, gate *watchdog.Gate) {
	deadline := int64(p.Deadline)
	if deadline == 0 {
		deadline = -1
	}
	s.deadline.Store(deadline)
	s.rank.Store(int32(p.Rank))
	s.breakers.Store(&p.Breaker)
	if b := s.breaker.Load(); b != nil {
		b.Set(p.Breaker)
	}
	s.setGate(gate)
}

func (s *Script) setGate(gate *watchdog.Gate) {
	s.gate.Store(gate)
	if gate != nil {
		s.guarded.Store(true)
	}
}

// deadlineOr is the script's deadline; a nil script has the default.
func (s *Script) deadlineOr(otherwise time.Duration) time.Duration {
	if s == nil {
		return otherwise
	}
	switch d := s.deadline.Load(); {
	case d > 0:
		return time.Duration(d)
	case d < 0:
		return 0
	}
	return otherwise
}

// breakerOr is the script's breaker, made when it is first needed: most
// scripts never need one.
func (s *Script) breakerOr(otherwise watchdog.BreakerSettings) *watchdog.Breaker {
	if b := s.breaker.Load(); b != nil {
		return b
	}
	set := s.breakers.Load()
	if set == nil {
		set = &otherwise
	}
	if set.Kills == 0 {
		return nil
	}
	s.breaker.CompareAndSwap(nil, watchdog.NewBreaker(s, *set))
	s.guarded.Store(true)
	return s.breaker.Load()
}

// slowRun is from when on a run counts for the script's breaker; a nil script
// has none.
func (s *Script) slowRun(otherwise time.Duration) time.Duration {
	if s == nil {
		return 0
	}
	if set := s.breakers.Load(); set != nil {
		return set.Slow
	}
	return otherwise
}

// label names the script for people.
func (s *Script) label() string {
	if s.Name == "" {
		return "script " + s.SHA
	}
	return "script '" + s.Name + "'"
}

// versioned is label with the version.
func (s *Script) versioned() string {
	if s.Version == "" {
		return s.label()
	}
	return s.label() + " version " + s.Version
}

// notRouted is for a script call for which no link was at hand: by waits with
// the request, or is given back when it was answered. It reports whether it was.
func (s *session) notRouted(script *Script, by admission, st routing) bool {
	if st == waiting {
		s.keepPlace(by)
		return false
	}
	by.giveBack()
	s.w.shard.ScriptCall(metricOf(script), metrics.RouteLocal, s.w.turned, -1, false)
	return true
}

func breakerText(script *Script, a watchdog.Admission) string {
	if a.Left <= 0 {
		return fmt.Sprintf("-LIMIT %s: breaker half open, and the one call that it lets through has not ended; nothing ran\r\n", script.versioned())
	}
	which := "had to be ended"
	if a.Slow > 0 {
		which += " or took " + a.Slow.String()
	}
	return fmt.Sprintf("-LIMIT %s: breaker open for %s more, after %d calls that %s within %s; nothing ran\r\n",
		script.versioned(), max(time.Second, a.Left.Round(time.Second)), a.Kills, which, a.Window)
}

// admission is what a call was let in by, to be given back when it has ended.
type admission struct {
	gate  *watchdog.Gate
	trial *watchdog.Breaker
}

// giveBack is for a call that was let in and does not run after all.
func (a admission) giveBack() {
	if a.gate != nil {
		a.gate.Exit()
	}
	if a.trial != nil {
		a.trial.Tried(loop.Now(), false)
	}
}

// enter lets a call in, has it wait for others of its script, or refuses it.
func (s *session) enter(script *Script) (a admission, st routing) {
	var gate *watchdog.Gate
	if script != nil && s.state&inMulti == 0 {
		gate = script.gate.Load()
	}
	if s.flags&(inGate|hasPlace) != 0 && s.w.protect.gates[s] != gate {
		s.leaveGate()
	}
	var breaker *watchdog.Breaker
	if script != nil {
		breaker = script.breaker.Load()
	}
	if breaker != nil && !breaker.Closed() {
		if answer := breaker.Admit(loop.Now(), true); answer.Refused {
			s.refuseCall(metrics.ErrLimit, script, breakerText(script, answer))
			return a, answered
		}
	}
	if gate != nil {
		if st = s.enterGate(script, gate); st != routed {
			return a, st
		}
		a.gate = gate
	}
	if breaker != nil && !breaker.Closed() && s.state&inMulti == 0 {
		answer := breaker.Admit(loop.Now(), false)
		if answer.Refused {
			a.giveBack()
			s.refuseCall(metrics.ErrLimit, script, breakerText(script, answer))
			return admission{}, answered
		}
		if answer.Trial {
			a.trial = breaker
		}
	}
	return a, routed
}

// enterGate asks a script's gate, unless the session has a place already.
func (s *session) enterGate(script *Script, gate *watchdog.Gate) routing {
	l := &s.w.protect
	if s.flags&hasPlace == 0 {
		switch gate.Enter(s, s.w.rank) {
		case watchdog.Queued:
			s.flags |= inGate
			l.gates[s] = gate
			s.hold(holdTurn)
			return waiting
		case watchdog.Full:
			_, _, most, queue := gate.Load()
			kind := metrics.ErrLimit
			if s.w.rank < 0 {
				kind = metrics.ErrLowPriority
			}
			s.refuseCall(kind, script, fmt.Sprintf("-LIMIT %s: max_concurrent %d and max_queue %d are used up; nothing ran\r\n", script.label(), most, queue))
			return answered
		}
	}
	if s.flags&(inGate|hasPlace) != 0 {
		s.flags &^= inGate | hasPlace
		delete(l.gates, s)
	}
	return routed
}

// keepPlace is for a call that was let in and waits for a node.
func (s *session) keepPlace(a admission) {
	if a.trial != nil {
		a.trial.Tried(loop.Now(), false)
	}
	if a.gate != nil {
		s.flags |= hasPlace
		s.w.protect.gates[s] = a.gate
	}
}

// leaveGate takes the session off the queue of a script, or gives its place
// back.
func (s *session) leaveGate() {
	gate := s.w.protect.gates[s]
	delete(s.w.protect.gates, s)
	if s.flags&hasPlace != 0 {
		gate.Exit()
	} else {
		gate.Leave(s)
	}
	s.flags &^= inGate | hasPlace
}

// refuseCall answers a script call that a limit keeps from running. Inside
// MULTI the transaction must not run without it.
func (s *session) refuseCall(kind metrics.ErrKind, script *Script, text string) {
	s.w.shard.Error(kind)
	s.w.shard.ScriptCall(metricOf(script), metrics.RouteLocal, metrics.OutcomeLimited, -1, false)
	if s.state&inMulti != 0 && s.ded != nil {
		s.spoil(text)
		return
	}
	s.replyDynamic(text)
}

// spoil answers a call inside MULTI with text, and sends the server one in
// its place that it refuses too, so that EXEC aborts.
func (s *session) spoil(text string) {
	p := s.w.newPending(s, kindAsync)
	p.read = true
	s.standIn(p, "*1\r\n$7\r\nEVALSHA\r\n", text)
}

// standIn sends the server a request of the proxy's own, and answers p with
// text when it is answered.
func (s *session) standIn(p *pending, request, text string) {
	f := &standIn{p: p, text: text}
	f.call.Owner = f
	s.enqueue(p)
	s.ded.Send([]byte(request), &f.call)
}

// standIn is refused by the server in the place of a call that the proxy
// refused.
type standIn struct {
	call upstream.Call
	p    *pending
	text string
}

func (f *standIn) Reply(_ *upstream.Call, _ []byte, done bool) {
	if done {
		f.p.answer(f.text)
	}
}

func (f *standIn) Lost(*upstream.Call, bool, error) { f.p.answer(f.text) }

// Wake is called by a gate when the session's turn may have come, on any
// goroutine.
func (s *session) Wake() { s.w.loop.Do(func() { s.unhold(holdTurn) }) }

// protect applies what a generation says.
func (s *Server) protect(set *Settings) {
	s.dog.Apply(set.Watchdog)
	for _, b := range s.backends {
		b.known.limit(&set.Protection)
	}
}

// limit gives the scripts that clients bring the bounds of the settings.
func (k *knownScripts) limit(p *Protection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.maxConcurrent, k.maxQueue = p.MaxConcurrent, p.MaxQueue
	for _, s := range k.bySHA {
		k.bound(s)
		if b := s.breaker.Load(); b != nil {
			b.Set(p.Breaker)
		}
	}
}

// bound applies the bounds to one script.
func (k *knownScripts) bound(s *Script) {
	switch g := s.gate.Load(); {
	case g != nil:
		g.Set(k.maxConcurrent, k.maxQueue)
	case k.maxConcurrent > 0:
		s.setGate(watchdog.NewGate(k.maxConcurrent, k.maxQueue))
	}
}
