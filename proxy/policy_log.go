//go:build linux

package proxy

import (
	"context"
	"log/slog"

	"github.com/scriptproxy/scriptproxy/policy"
)

// What the policy denies, or would deny in enforce mode, is logged, but each
// rule has one line a second at most on each loop, which says how many more
// there were. The lines are written by a goroutine: a loop never waits for
// the log.

// tellEvery is the time between two lines about the same rule, in
// nanoseconds.
const tellEvery = int64(1e9)

// told is when a rule was last logged by a loop, and how often it was not
// since.
type told struct {
	at   int64
	more uint64
}

// verdictLine is one line of the log.
type verdictLine struct {
	text, rule, reason, kind, name, version, user, client string
	more                                                  uint64
}

// verdictQueue bounds the lines that wait to be written; what does not fit is
// counted with the next line of its rule.
const verdictQueue = 256

func (s *Server) writeVerdicts() {
	for l := range s.verdicts {
		attrs := []slog.Attr{
			slog.String("rule", l.rule), slog.String(l.kind, l.name), slog.String("user", l.user), slog.String("client", l.client),
		}
		if l.version != "" {
			attrs = append(attrs, slog.String("version", l.version))
		}
		if l.reason != "" {
			attrs = append(attrs, slog.String("reason", l.reason))
		}
		if l.more > 0 {
			attrs = append(attrs, slog.Uint64("not logged before", l.more))
		}
		s.log.LogAttrs(context.Background(), slog.LevelWarn, l.text, attrs...)
	}
}

// tellVerdict logs a call that is denied or would be.
func (s *session) tellVerdict(p *Policy) {
	v := &s.w.ruling.verdict
	text := "the policy denies a call"
	if v.Action == policy.Audit {
		text = "the policy reports a call"
		if v.Rule < 0 || p.set.Rules()[v.Rule].Action == policy.Deny {
			text = "the policy would deny a call"
		}
	}
	s.tell(p, v.Rule, text, v.Reason)
}

// tellLimited logs a call that a limit refused or would refuse.
func (s *session) tellLimited(p *Policy, a policy.Admission) {
	text := "a limit refuses a call"
	if a.OK {
		text = "a limit would refuse a call"
	}
	s.tell(p, a.Rule, text, "")
}

func (s *session) tell(p *Policy, rule int32, text, reason string) {
	w := s.w
	if w.toldBy != p {
		w.toldBy, w.told = p, make([]told, len(p.rules))
	}
	n := len(w.told) - 1
	name := DefaultRule
	if rule >= 0 {
		n, name = int(rule), p.set.Rules()[rule].Name
	}
	t := &w.told[n]
	now := w.loop.Now()
	if t.at != 0 && now-t.at < tellEvery {
		t.more++
		return
	}
	kind, subject, version := w.ruling.subject()
	line := verdictLine{text, name, reason, kind, oneLine(subject), version, s.userName(), s.remoteAddr(), t.more}
	select {
	case w.srv.verdicts <- line:
		*t = told{at: max(now, 1)}
	default:
		t.more++
	}
}
