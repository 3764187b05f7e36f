// Package admin is the HTTP side of the proxy: metrics, health, the slow log
// and reloads.
package admin

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/metrics"
)

// Options are what the handlers speak of.
type Options struct {
	Metrics *metrics.Metrics
	SlowLog *metrics.SlowLog
	// Ready returns why the proxy should get no traffic, nothing when it should.
	Ready func() []string
	// Reload reads the configuration anew.
	Reload func(context.Context) error
	// ReadToken and AdminToken are bearer tokens; with neither, everybody who
	// reaches the listener may do everything.
	ReadToken, AdminToken string
	Logger                *slog.Logger
}

// Server is the HTTP listener. Its methods are for any goroutine.
type Server struct {
	opts Options
	http *http.Server
}

// New makes a server that doesn't listen yet.
func New(o Options) *Server {
	s := &Server{opts: o}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.reader(o.Metrics.Handler()))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /api/v1/slowlog", s.reader(http.HandlerFunc(s.slowlog)))
	mux.Handle("POST /-/reload", s.admin(http.HandlerFunc(s.reload)))
	mux.Handle("GET /debug/pprof/", s.admin(http.HandlerFunc(pprof.Index)))
	mux.Handle("GET /debug/pprof/profile", s.admin(http.HandlerFunc(pprof.Profile)))
	mux.Handle("GET /debug/pprof/trace", s.admin(http.HandlerFunc(pprof.Trace)))
	s.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Listen serves on an address in the background, and returns the address as
// it came out.
func (s *Server) Listen(address string) (string, error) {
	network, addr := config.SplitAddress(address)
	ln, err := net.Listen(network, addr)
	if err != nil {
		return "", err
	}
	go func() {
		if err := s.http.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.opts.Logger.Error("the admin listener ended", "error", err)
		}
	}()
	return ln.Addr().String(), nil
}

// Close ends the listener and its connections.
func (s *Server) Close() error { return s.http.Close() }

// reader lets pass who may read; admin who may change things.
func (s *Server) reader(h http.Handler) http.Handler {
	return s.guard(h, s.opts.ReadToken, s.opts.AdminToken)
}

func (s *Server) admin(h http.Handler) http.Handler { return s.guard(h, s.opts.AdminToken) }

func (s *Server) guard(h http.Handler, tokens ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.opts.ReadToken == "" && s.opts.AdminToken == "" {
			h.ServeHTTP(w, r)
			return
		}
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		for _, t := range tokens {
			if ok && t != "" && subtle.ConstantTimeCompare([]byte(given), []byte(t)) == 1 {
				h.ServeHTTP(w, r)
				return
			}
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="scriptproxy"`)
		fail(w, http.StatusUnauthorized, "a bearer token with the right to do this is needed")
	})
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	reasons := s.opts.Ready()
	if len(reasons) == 0 {
		w.Write([]byte("ok\n"))
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	w.Write([]byte(strings.Join(reasons, "\n") + "\n"))
}

func (s *Server) slowlog(w http.ResponseWriter, r *http.Request) {
	limit := 0
	if v := r.URL.Query().Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			fail(w, http.StatusBadRequest, "limit is not a whole number")
			return
		}
		limit = n
	}
	entries := s.opts.SlowLog.Entries(limit)
	if entries == nil {
		entries = []metrics.Entry{}
	}
	answer(w, http.StatusOK, map[string]any{"entries": entries})
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if err := s.opts.Reload(r.Context()); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, http.StatusOK, map[string]any{"reloaded": true})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.Encode(v)
}

func fail(w http.ResponseWriter, status int, text string) {
	answer(w, status, map[string]any{"error": text})
}
