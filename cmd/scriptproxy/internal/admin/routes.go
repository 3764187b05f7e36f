package admin

import (
	"net/http"
	"net/http/pprof"
)

// access says who may use a route.
type access uint8

const (
	accessAll   access = iota // everybody who reaches the listener: health checks carry no tokens
	accessRead                // the read-only token or the admin token
	accessAdmin               // the admin token
)

type route struct {
	method, path string
	access       access
	handler      http.Handler
}

// routes lists everything that is served. docs/openapi.yaml describes each of
// them; a test compares the two.
func (s *Server) routes() []route {
	get := func(path string, h http.HandlerFunc) route { return route{"GET", path, accessRead, h} }
	post := func(path string, h http.HandlerFunc) route { return route{"POST", path, accessAdmin, h} }
	return []route{
		{"GET", "/metrics", accessRead, s.opts.Metrics.Handler()},
		{"GET", "/livez", accessAll, http.HandlerFunc(s.livez)},
		{"GET", "/readyz", accessAll, http.HandlerFunc(s.readyz)},
		post("/-/reload", s.reload),
		{"GET", "/debug/pprof/", accessAdmin, http.HandlerFunc(pprof.Index)},
		{"GET", "/debug/pprof/profile", accessAdmin, http.HandlerFunc(pprof.Profile)},
		{"GET", "/debug/pprof/trace", accessAdmin, http.HandlerFunc(pprof.Trace)},

		get("/api/v1/slowlog", s.slowlog),
		get("/api/v1/registry", s.registry),
		get("/api/v1/audit", s.audit),
		get("/api/v1/fleet", s.fleet),
		get("/api/v1/wait", s.wait),

		get("/api/v1/scripts", s.scripts),
		get("/api/v1/scripts/{name}", s.script),
		get("/api/v1/scripts/{name}/diff", s.diff),
		get("/api/v1/scripts/{name}/versions/{version}", s.version),
		{"DELETE", "/api/v1/scripts/{name}", accessAdmin, s.change(s.remove)},
		{"DELETE", "/api/v1/scripts/{name}/versions/{version}", accessAdmin, s.change(s.remove)},
		post("/api/v1/scripts/{name}/versions", s.change(s.load)),
		post("/api/v1/scripts/{name}/activate", s.change(s.activate)),
		post("/api/v1/scripts/{name}/rollback", s.change(s.rollback)),
		post("/api/v1/scripts/{name}/canary", s.change(s.canary)),
		post("/api/v1/scripts/{name}/promote", s.change(s.promote)),
		post("/api/v1/scripts/{name}/abort", s.change(s.abort)),
		post("/api/v1/scripts/{name}/retire", s.change(s.retire)),
		post("/api/v1/scripts/{name}/unretire", s.change(s.unretire)),
		post("/api/v1/scripts/{name}/pin", s.change(s.pin)),
		post("/api/v1/scripts/{name}/tags", s.change(s.tags)),

		get("/api/v1/policy", s.policy),
		{"POST", "/api/v1/policy/explain", accessRead, http.HandlerFunc(s.explain)},
		get("/api/v1/policy/learn", s.learned),
		post("/api/v1/policy/learn", s.learn),
		{"DELETE", "/api/v1/policy/learn", accessAdmin, http.HandlerFunc(s.stopLearning)},

		get("/api/v1/breakers", s.breakers),
		post("/api/v1/breakers/reset", s.resetBreaker),

		get("/api/v1/nodes", s.nodes),
		get("/api/v1/cache", s.cache),
		post("/api/v1/cache/compact", s.compact),
	}
}
