//go:build linux

package proxy

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/scriptproxy/scriptproxy/policy"
)

// Learner takes in what is called while it is part of the current
// Generation's policy. The loops only look whether a call like it was seen
// before; what is new goes to a goroutine.
type Learner struct {
	recorder *policy.Recorder
	calls    chan policy.Call
	done     sync.WaitGroup

	mu     sync.Mutex
	lacked map[string]bool // commands that no rule can name
}

// maxLacked bounds the commands that are noted as unknown.
const maxLacked = 100

// learnQueue bounds the calls that wait to be taken in. A loop that finds it
// full takes a call in itself.
const learnQueue = 1024

// NewLearner makes a Learner; Stop ends it.
func NewLearner(o policy.RecorderOptions) *Learner {
	l := &Learner{recorder: policy.NewRecorder(o), calls: make(chan policy.Call, learnQueue)}
	l.done.Add(1)
	go func() {
		defer l.done.Done()
		for c := range l.calls {
			l.recorder.Record(&c)
		}
	}()
	return l
}

// Recorder is what was learned up to now.
func (l *Learner) Recorder() *policy.Recorder { return l.recorder }

// Notes say what no rule can allow.
func (l *Learner) Notes() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var notes []string
	for name := range l.lacked {
		notes = append(notes, "the command "+name+" is left out: the server does not have it, and rules can't name it")
	}
	slices.Sort(notes)
	return notes
}

// lacks takes note of a command that no rule can name.
func (l *Learner) lacks(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lacked == nil {
		l.lacked = make(map[string]bool)
	}
	if len(l.lacked) < maxLacked && !strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c > '~' }) {
		l.lacked[name] = true
	}
}

// Stop ends the learner, when no generation has it any more and Server.Pass
// has returned since; it returns when everything is taken in.
func (l *Learner) Stop() {
	close(l.calls)
	l.done.Wait()
}

// Pass returns when no loop works on a request that was decided by a
// generation before the current one.
func (s *Server) Pass() {
	var passed sync.WaitGroup
	for _, w := range s.workers {
		passed.Add(1)
		if !w.loop.Do(passed.Done) {
			passed.Done()
		}
	}
	passed.Wait()
}

// learn takes in the call that was just admitted.
func (s *session) learn(p *Policy) {
	u := &s.w.ruling
	c := policy.Call{User: s.userName(), Addr: s.peer(), Class: u.request.Class, Keys: u.request.Keys, ArgBytes: u.request.ArgBytes}
	switch {
	case u.plain != nil && u.plain.greeting:
		return // let through without a rule
	case u.plain != nil && u.plain.lacked:
		p.learner.lacks(u.plain.name)
		return
	case u.plain != nil:
		c.Command = u.plain.name
	case u.registered:
		c.Script = u.script.Name
	case u.function:
		c.Function = s.w.text(u.called)
	case u.script != nil:
		c.SHA = u.script.SHA
	default:
		c.SHA = strings.ToLower(s.w.text(u.called))
	}
	if p.learner.recorder.Seen(&c) {
		return
	}
	select {
	case p.learner.calls <- c:
	default:
		p.learner.recorder.Record(&c)
	}
}

// text is a request's bytes as a string that is made once for the same
// bytes.
func (w *worker) text(b []byte) string {
	if s, ok := w.texts[string(b)]; ok {
		return s
	}
	if w.texts == nil || len(w.texts) >= unknownMax {
		w.texts = make(map[string]string)
	}
	s := string(b)
	w.texts[s] = s
	return s
}

// peer is the client's address, which is looked up once.
func (s *session) peer() netip.Addr {
	e := s.needExtra()
	if !e.peerKnown {
		e.peer, e.peerKnown = s.clientAddr(), true
	}
	return e.peer
}
