//go:build linux

package proxy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
)

// queuedScripts are the script calls that EXEC runs.
type queuedScripts struct {
	calls   int
	scripts []*Script // the first few, each once
	any     bool      // one is not known here, or there are more
	allowed time.Duration
	endless bool // one has no deadline
	// gates are those of the scripts, each once, in the order in which they
	// have to be entered. EXEC has entered so many of them, or stands in the
	// queue of the next one, with rank.
	gates   []*watchdog.Gate
	entered int
	rank    watchdog.Rank
}

// queueScript notes a script call inside MULTI; deadline is a rule's, or 0.
func (s *session) queueScript(script *Script, deadline time.Duration) {
	e := s.needExtra()
	if e.multi == nil {
		e.multi = &queuedScripts{}
	}
	q := e.multi
	if q.calls++; q.calls == 1 || s.w.rank > q.rank {
		q.rank = s.w.rank
	}
	d := cmp.Or(deadline, script.deadlineOr(s.w.gen.Settings.Deadline))
	q.allowed += d
	q.endless = q.endless || d == 0
	if script != nil {
		q.guard(script.gate.Load())
	}
	if script == nil || len(q.scripts) == 8 {
		q.any = true
		return
	}
	for _, known := range q.scripts {
		if known == script {
			return
		}
	}
	q.scripts = append(q.scripts, script)
}

// guard notes the gate of a call, or nil.
func (q *queuedScripts) guard(gate *watchdog.Gate) {
	if gate == nil || slices.Contains(q.gates, gate) {
		return
	}
	at := len(q.gates)
	for at > 0 && gate.Before(q.gates[at-1]) {
		at--
	}
	q.gates = slices.Insert(q.gates, at, gate)
}

// leave gives back the places that EXEC has; q may be nil.
func (q *queuedScripts) leave() {
	if q == nil {
		return
	}
	for _, gate := range q.gates[:q.entered] {
		gate.Exit()
	}
	q.entered = 0
}

// enterAll has EXEC take a place of each of its scripts, however often it
// calls it, or wait for them, or be refused. Its calls run one after the other,
// and the transaction is only sent as a whole.
func (s *session) enterAll(cmd *command.Command) routing {
	if s.ext == nil || s.ext.multi == nil {
		return routed
	}
	q, l := s.ext.multi, &s.w.protect
	for q.entered < len(q.gates) {
		gate := q.gates[q.entered]
		switch gate.Enter(s, q.rank) {
		case watchdog.Queued:
			s.flags |= inGate
			l.gates[s] = gate
			s.hold(holdTurn)
			return waiting
		case watchdog.Full:
			_, _, most, queue := gate.Load()
			kind := metrics.ErrLimit
			if q.rank < 0 {
				kind = metrics.ErrLowPriority
			}
			s.w.shard.Error(kind)
			s.turnAway(cmd, fmt.Sprintf("-LIMIT %s: max_concurrent %d and max_queue %d are used up; nothing ran\r\n", q.label(), most, queue))
			return answered
		}
		q.entered++
		s.flags &^= inGate
		delete(l.gates, s)
	}
	return routed
}

// execScripts has EXEC watched like the scripts that it runs.
func (s *session) execScripts(p *pending) {
	if s.ext == nil || s.ext.multi == nil {
		return
	}
	p.watched.exec = s.ext.multi
	s.ext.multi = nil
	s.w.watch(p)
}

// deadline is that of all calls together.
func (q *queuedScripts) deadline(*Settings) time.Duration {
	if q.endless {
		return 0
	}
	return q.allowed
}

// only is the script that all calls are of, or nil.
func (q *queuedScripts) only() *Script {
	if q.any || len(q.scripts) != 1 {
		return nil
	}
	return q.scripts[0]
}

func (q *queuedScripts) label() string {
	if sc := q.only(); sc != nil {
		return sc.label()
	}
	return fmt.Sprintf("a transaction with %d script calls", q.calls)
}
