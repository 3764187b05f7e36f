//go:build linux

package proxy

import (
	"cmp"
	"fmt"
	"time"
)

// queuedScripts are the script calls that EXEC runs.
type queuedScripts struct {
	calls   int
	scripts []*Script // the first few, each once
	any     bool      // one is not known here, or there are more
	allowed time.Duration
	endless bool // one has no deadline
}

// queueScript notes a script call inside MULTI; deadline is a rule's, or 0.
func (s *session) queueScript(script *Script, deadline time.Duration) {
	e := s.needExtra()
	if e.multi == nil {
		e.multi = &queuedScripts{}
	}
	q := e.multi
	q.calls++
	d := cmp.Or(deadline, script.deadlineOr(s.w.gen.Settings.Deadline))
	q.allowed += d
	q.endless = q.endless || d == 0
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
