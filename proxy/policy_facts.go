//go:build linux

package proxy

import (
	"sync"
	"sync/atomic"

	"github.com/scriptproxy/scriptproxy/policy"
)

// Facts are what the static analysis of a body found, as far as rules ask
// for it. They never change.
type Facts struct {
	Commands []string // used inside; nil when the body could not be analysed
	Findings []policy.Finding
	Linted   bool // whether findings were looked for
}

// about is what a script that is not registered carries for the policy.
type about struct {
	facts atomic.Pointer[Facts]
	// target is the latest policy's handle for the script.
	target atomic.Pointer[policy.Target]

	mu      sync.Mutex
	asked   bool // the analysis is on its way
	waiting []func()
}

// SetFacts is for the analysis. What waited for it goes on.
func (s *Script) SetFacts(f *Facts) {
	s.facts.Store(f)
	s.mu.Lock()
	s.asked = false
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, resume := range waiting {
		resume()
	}
}

// examined reports that the script's facts are known, with findings if those
// are asked for.
func (s *Script) examined(findings bool) bool {
	f := s.facts.Load()
	return f != nil && (f.Linted || !findings)
}

// examine leaves the session waiting until the script's facts are known: a
// rule asks for them, and a call that was let through before they are would
// be one too many.
func (s *session) examine(p *Policy, script *Script) routing {
	s.hold(holdScript)
	loop := s.w.loop
	resume := func() { loop.Do(func() { s.unhold(holdScript) }) }
	script.mu.Lock()
	if script.examined(p.findings) {
		script.mu.Unlock()
		resume()
		return waiting
	}
	script.waiting = append(script.waiting, resume)
	ask := !script.asked
	script.asked = true
	script.mu.Unlock()
	if ask {
		s.backend().known.examine(script)
	}
	return waiting
}

// examine has a script analysed, on another goroutine.
func (k *knownScripts) examine(s *Script) {
	if k.analyse == nil {
		s.SetFacts(&Facts{Linted: true})
		return
	}
	k.analyse(s)
}

// unregistered is the policy's handle for a script that it has no name for.
func (p *Policy) unregistered(script *Script) *policy.Target {
	if t := script.target.Load(); t.Of(p.set) {
		return t
	}
	info := policy.Script{SHA: script.SHA}
	if f := script.facts.Load(); f != nil {
		info.Commands, info.Findings = f.Commands, f.Findings
	}
	t := p.set.Unregistered(info)
	script.target.Store(t)
	return t
}

// unknownMax bounds what one loop remembers of scripts and functions that
// only the server may know; it is started over beyond.
const unknownMax = 4096

// unknownSHA is the policy's handle for a sha whose body is not known here,
// nil where rules make no difference between them.
func (w *worker) unknownSHA(p *Policy, arg []byte) *policy.Target {
	if !p.shas {
		return nil
	}
	var sha [40]byte
	lowerHex(&sha, arg)
	return w.unknownTarget(p, sha[:], func(name string) policy.Script { return policy.Script{SHA: name} })
}

// unknownFunction is the same for a function.
func (w *worker) unknownFunction(p *Policy, arg []byte) *policy.Target {
	if !p.functionNames {
		return nil
	}
	return w.unknownTarget(p, arg, func(name string) policy.Script { return policy.Script{Function: name} })
}

func (w *worker) unknownTarget(p *Policy, arg []byte, describe func(string) policy.Script) *policy.Target {
	if t := w.unknown[string(arg)]; t.Of(p.set) {
		return t
	}
	if w.unknown == nil || len(w.unknown) >= unknownMax {
		w.unknown = make(map[string]*policy.Target)
	}
	name := string(arg)
	t := p.set.Unregistered(describe(name))
	w.unknown[name] = t
	return t
}
