package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/proxy"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
)

// protect adds to the data plane's settings what bounds script calls.
func protect(s *proxy.Settings, c *config.Config) {
	s.BusyWait = c.Limits.BusyWait
	s.Protection = proxy.Protection{
		Deadline: c.Scripts.Deadline, MaxConcurrent: c.Scripts.MaxConcurrent, MaxQueue: c.Scripts.MaxQueue,
		Breaker: breakerOf(c.Scripts.Breaker),
	}
	s.Watchdog = watchdog.Settings{Smallest: c.Scripts.Deadline, ManageThreshold: c.Watchdog.ManageBusyThreshold}
	for _, script := range c.Scripts.List {
		if d := script.Deadline; d > 0 && (s.Watchdog.Smallest == 0 || d < s.Watchdog.Smallest) {
			s.Watchdog.Smallest = d
		}
	}
}

var ranks = map[config.Priority]watchdog.Rank{
	config.PriorityLow: watchdog.RankLow, config.PriorityNormal: watchdog.RankNormal, config.PriorityHigh: watchdog.RankHigh,
}

func breakerOf(b config.Breaker) watchdog.BreakerSettings {
	return watchdog.BreakerSettings{Kills: b.Kills, Window: b.Window, Slow: b.SlowerThan, OpenFor: b.OpenFor}
}

// protections are what the configuration says of each script's calls, with
// one gate for all versions of a name.
type protections struct {
	defaults config.Scripts
	byName   map[string]config.Script
	gates    map[string]*watchdog.Gate
}

// set takes over a configuration. Gates stay, with the calls that are in them.
func (k *protections) set(c config.Scripts) {
	k.defaults = c
	k.byName = make(map[string]config.Script, len(c.List))
	for _, s := range c.List {
		k.byName[s.Name] = s
	}
	if k.gates == nil {
		k.gates = make(map[string]*watchdog.Gate)
	}
	for name, g := range k.gates {
		p := k.of(name)
		g.Set(p.MaxConcurrent, p.MaxQueue)
	}
}

// of is what bounds the calls of a script: a name that the configuration does
// not list has the defaults.
func (k *protections) of(name string) proxy.Protection {
	if s, ok := k.byName[name]; ok {
		return proxy.Protection{Deadline: s.Deadline, MaxConcurrent: s.MaxConcurrent, MaxQueue: s.MaxQueue, Breaker: breakerOf(s.Breaker), Rank: ranks[s.Priority]}
	}
	d := &k.defaults
	return proxy.Protection{Deadline: d.Deadline, MaxConcurrent: d.MaxConcurrent, MaxQueue: d.MaxQueue, Breaker: breakerOf(d.Breaker)}
}

// apply bounds the calls of a version.
func (k *protections) apply(name string, s *proxy.Script) {
	p := k.of(name)
	g := k.gates[name]
	if g == nil && p.MaxConcurrent > 0 {
		g = watchdog.NewGate(p.MaxConcurrent, p.MaxQueue)
		k.gates[name] = g
	}
	s.SetProtection(p, g)
}

// fallback is what a script's breaker does besides refusing.
func (k *protections) fallback(name string) config.BreakerFallback {
	if s, ok := k.byName[name]; ok {
		return s.Breaker.Fallback
	}
	return k.defaults.Breaker.Fallback
}

// fallbackTimeout bounds a rollback that a breaker asks for: the version has
// to be loaded on every node, one of which has just been freed.
const fallbackTimeout = 30 * time.Second

// breakerOpened goes back to the version before when the configuration says
// so, and the version that had to be ended is the one that callers get.
func (a *App) breakerOpened(s *proxy.Script) {
	a.mu.Lock()
	fallback := a.scripts.protect.fallback(s.Name)
	kills, window := a.scripts.protect.of(s.Name).Breaker.Kills, a.scripts.protect.of(s.Name).Breaker.Window
	a.mu.Unlock()
	if s.Name == "" || fallback != config.BreakerPrevious {
		return
	}
	log := a.log.With("script", s.Name, "version", s.Version)
	reg := a.registry.Snapshot().Script(s.Name)
	if reg == nil {
		return
	}
	to := ""
	switch {
	case reg.Canary != nil && reg.Canary.Version == s.Version:
		to = reg.Active // ends the canary
	case reg.Active != s.Version:
		return // somebody was quicker, or the call named its version
	case reg.Previous == "" || reg.RolledBack:
		log.Error("the breaker has no version to fall back to: its calls are refused")
		return
	default:
		to = reg.Previous
	}
	ctx, cancel := context.WithTimeout(context.Background(), fallbackTimeout)
	defer cancel()
	op := registry.Op{
		Who: "breaker", IfRevision: reg.Revision, Force: true,
		Why: fmt.Sprintf("%d calls of version %s had to be ended within %s", kills, s.Version, window),
	}
	result, err := a.registry.Rollback(ctx, op, s.Name, to)
	var conflict *registry.ConflictError
	switch {
	case errors.As(err, &conflict):
		log.Warn("the breaker does not fall back: the script has just been changed", "error", err)
	case err != nil:
		log.Error("the breaker could not fall back to the version before: its calls are refused", "to", to, "error", err)
	case !result.Unchanged:
		log.Warn("the breaker fell back to the version before", "to", to, "revision", result.Snapshot.Revision)
	}
}
