package api

import "time"

// Breakers is the answer to GET /api/v1/breakers.
type Breakers struct {
	Breakers []Breaker `json:"breakers"`
}

// States of a Breaker.
const (
	BreakerClosed   = "closed"
	BreakerHalfOpen = "half_open"
	BreakerOpen     = "open"
)

// Breaker is the circuit breaker of one version of a script on this proxy.
type Breaker struct {
	Script  string `json:"script,omitempty"` // empty: not registered
	Version string `json:"version,omitempty"`
	SHA     string `json:"sha"`
	State   string `json:"state"`
	// Since is when the state began.
	Since time.Time `json:"since"`
	// OpenFor is for how many seconds more calls are refused.
	OpenFor float64 `json:"open_for_seconds,omitempty"`
	Kills   int     `json:"kills"` // counted within the window
	Total   uint64  `json:"total"` // counted since the proxy was started
}

// BreakerReset is the body of POST /api/v1/breakers/reset: a name, a name and a
// version, or a sha.
type BreakerReset struct {
	Script  string `json:"script,omitempty"`
	Version string `json:"version,omitempty"`
	SHA     string `json:"sha,omitempty"`
}
