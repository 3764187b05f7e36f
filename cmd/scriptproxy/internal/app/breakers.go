package app

import (
	"fmt"
	"net/http"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/proxy"
)

// breakers answers GET /api/v1/breakers.
func (a *App) breakers() (list []api.Breaker) {
	for _, b := range a.server.Breakers() {
		list = append(list, breakerAnswer(b))
	}
	return list
}

// breakerOfVersion is a version's breaker, or nil while it is closed.
func (a *App) breakerOfVersion(s *proxy.Script) *api.Breaker {
	b, open := a.server.Breaker(s)
	if !open {
		return nil
	}
	out := breakerAnswer(b)
	return &out
}

func breakerAnswer(b proxy.BreakerInfo) api.Breaker {
	return api.Breaker{
		Script: b.Name, Version: b.Version, SHA: b.SHA, State: b.State.String(),
		Since: b.Since.UTC(), OpenFor: max(0, b.Left).Seconds(), Kills: b.Kills, Total: b.Total,
	}
}

// resetBreaker closes the breakers of a script, of one of its versions, or of
// a sha.
func (a *App) resetBreaker(r api.BreakerReset) error {
	what := r.Script
	switch {
	case r.SHA != "":
		what = r.SHA
	case r.Version != "":
		what += " version " + r.Version
	}
	picked := a.server.ResetBreakers(func(s *proxy.Script) bool {
		if r.SHA != "" {
			return s.SHA == r.SHA
		}
		return s.Name == r.Script && (r.Version == "" || s.Version == r.Version)
	})
	if picked == 0 {
		return &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Message: fmt.Sprintf("no breaker of %s has opened on this proxy", what)}
	}
	return nil
}
