package admin

import (
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
)

// guard lets pass who may use a route.
func (s *Server) guard(r route) http.Handler {
	var tokens []string
	switch r.access {
	case accessAll:
		return r.handler
	case accessRead:
		tokens = []string{s.opts.ReadToken, s.opts.AdminToken}
	case accessAdmin:
		tokens = []string{s.opts.AdminToken}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if s.opts.ReadToken == "" && s.opts.AdminToken == "" {
			r.handler.ServeHTTP(w, req)
			return
		}
		given, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
		for _, t := range tokens {
			if ok && t != "" && subtle.ConstantTimeCompare([]byte(given), []byte(t)) == 1 {
				r.handler.ServeHTTP(w, req)
				return
			}
		}
		if ok && r.access == accessAdmin && s.opts.ReadToken != "" && subtle.ConstantTimeCompare([]byte(given), []byte(s.opts.ReadToken)) == 1 {
			fail(w, &api.Error{Status: http.StatusForbidden, Code: api.CodeForbidden, Message: "this token may only read; use the one of admin.tokens.admin_file"})
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="scriptproxy"`)
		fail(w, &api.Error{Status: http.StatusUnauthorized, Code: api.CodeUnauthorized, Message: "a bearer token with the right to do this is needed, one of admin.tokens"})
	})
}

// fenced refuses what a web page elsewhere makes a browser send: a request whose
// Origin is another than the server itself, and, where only this machine can
// reach the listener, one for a name that was made to point here (DNS
// rebinding). Programs that are no browsers send neither.
func (s *Server) fenced(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.local && !localName(r.Host) {
			fail(w, &api.Error{Status: http.StatusForbidden, Code: api.CodeForbidden, Message: "this listener is for this machine only: call it 127.0.0.1 or localhost, and not " + clip(r.Host)})
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && !sameOrigin(origin, r.Host) {
			fail(w, &api.Error{Status: http.StatusForbidden, Code: api.CodeForbidden, Message: "requests from pages of " + clip(origin) + " are refused"})
			return
		}
		h.ServeHTTP(w, r)
	})
}

func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && strings.EqualFold(u.Host, host)
}

// isLocal tells whether only this machine can reach a listener by IP; a unix
// socket needs no look at names.
func isLocal(network, address string) bool {
	if network == "unix" {
		return false
	}
	host, _, err := net.SplitHostPort(address)
	return err == nil && localName(host)
}

func localName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// clip keeps what a stranger sent from flooding a message.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
