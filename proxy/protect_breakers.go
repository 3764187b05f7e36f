//go:build linux

package proxy

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
)

// breakerList is the breakers that are not closed, or were lately.
type breakerList struct {
	mu   sync.Mutex
	list map[*Script]*watchdog.Breaker
}

func (b *breakerList) add(br *watchdog.Breaker) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.list == nil {
		b.list = make(map[*Script]*watchdog.Breaker)
	}
	b.list[br.Owner.(*Script)] = br
}

// BreakerInfo is the state of one script version's breaker.
type BreakerInfo struct {
	// Name and Version are empty for a script that is not registered.
	Name, Version, SHA string
	State              metrics.BreakerState
	// Since is when the state began.
	Since time.Time
	// Kills were counted within the window, Total since the program started.
	Kills int
	Total uint64
	// Left is how long it stays open.
	Left time.Duration
}

// Breakers are the breakers that have opened and not been forgotten since, by
// name: one that closed again is listed for an hour.
func (s *Server) Breakers() []BreakerInfo {
	now := loop.Now()
	s.breakers.mu.Lock()
	defer s.breakers.mu.Unlock()
	var out []BreakerInfo
	for script, b := range s.breakers.list {
		out = append(out, infoOf(script, b, now))
	}
	slices.SortFunc(out, func(a, b BreakerInfo) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.SHA, b.SHA))
	})
	return out
}

func infoOf(script *Script, b *watchdog.Breaker, now int64) BreakerInfo {
	st := b.Status(now)
	return BreakerInfo{
		Name: script.Name, Version: script.Version, SHA: script.SHA, State: st.State,
		Since: time.Now().Add(-time.Duration(now - st.Since)), Kills: st.Kills, Total: st.Total, Left: st.Left,
	}
}

// Breaker is the state of a script's breaker, and whether it is known to be
// other than closed.
func (s *Server) Breaker(script *Script) (BreakerInfo, bool) {
	b := script.breaker.Load()
	if b == nil || b.Closed() {
		return BreakerInfo{}, false
	}
	return infoOf(script, b, loop.Now()), true
}

// ResetBreakers closes the breakers that Breakers lists and match picks. It
// returns how many match picked.
func (s *Server) ResetBreakers(match func(*Script) bool) (picked int) {
	now := loop.Now()
	s.breakers.mu.Lock()
	for script, b := range s.breakers.list {
		if match(script) {
			picked++
			b.Reset(now)
			s.log.Warn("breaker closed by an operator", "script", script.Label(), "version", script.Version, "sha", script.SHA)
		}
	}
	s.breakers.mu.Unlock()
	s.sweepBreakers(now)
	return picked
}

// breakerKept is how long a closed breaker stays listed.
const breakerKept = time.Hour

// sweepBreakers tells the metrics what time has changed.
func (s *Server) sweepBreakers(now int64) {
	s.breakers.mu.Lock()
	defer s.breakers.mu.Unlock()
	for script, b := range s.breakers.list {
		st := b.Status(now)
		if script.Name != "" {
			s.metrics.Breaker(script.metric, st.State)
		}
		if st.State == metrics.BreakerClosed && now-st.Since > int64(breakerKept) {
			delete(s.breakers.list, script)
		}
	}
}

// breakerOpened is told by the watchdog, on any goroutine.
func (s *Server) breakerOpened(b *watchdog.Breaker) {
	script := b.Owner.(*Script)
	s.breakers.add(b)
	if script.Name != "" {
		s.metrics.Breaker(script.metric, metrics.BreakerOpen)
	}
	s.log.Error("breaker opened: calls of the script are refused", "script", script.Label(), "version", script.Version, "sha", script.SHA)
	if s.onBreaker != nil {
		go s.onBreaker(script)
	}
}
