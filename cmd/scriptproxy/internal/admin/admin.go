// Package admin is the HTTP side of the proxy: metrics, health, reloads and the
// API, which docs/openapi.yaml describes.
package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/operate"
	"github.com/scriptproxy/scriptproxy/metrics"
)

// Options are what the handlers speak of.
type Options struct {
	Metrics *metrics.Metrics
	SlowLog *metrics.SlowLog
	// Desk takes the requests about scripts.
	Desk *operate.Desk
	// Ready returns why the proxy should get no traffic, nothing when it should.
	Ready func() []string
	// Warnings returns what an operator should know although the proxy is
	// ready; it may be nil.
	Warnings func() []string
	// Policy takes the requests about the policy.
	Policy PolicyDesk
	// Reload reads the configuration anew.
	Reload func(context.Context) error
	// ReadToken and AdminToken are bearer tokens; with neither, everybody who
	// reaches the listener may do everything.
	ReadToken, AdminToken string
	// TLS, when not nil, is spoken on the listener.
	TLS    *tls.Config
	Logger *slog.Logger
}

// Server is the HTTP listener. Its methods are for any goroutine.
type Server struct {
	opts  Options
	http  *http.Server
	local bool // only this machine can reach the listener
}

// New makes a server that doesn't listen yet.
func New(o Options) *Server {
	s := &Server{opts: o}
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.Handle(r.method+" "+r.path, s.guard(r))
	}
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Message: "there is no " + r.Method + " " + clip(r.URL.Path) + "; docs/openapi.yaml lists what there is"})
	})
	s.http = &http.Server{
		Handler:           s.fenced(mux),
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Listen serves on an address in the background, and returns the address as
// it came out.
func (s *Server) Listen(address string) (string, error) {
	network, addr := config.SplitAddress(address)
	s.local = isLocal(network, addr)
	ln, err := net.Listen(network, addr)
	if err != nil {
		return "", err
	}
	if s.opts.TLS != nil {
		ln = tls.NewListener(ln, s.opts.TLS)
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

func (s *Server) livez(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) }

// readyz says ok, or why the proxy should get no traffic; then what an operator
// should know all the same. The same is had as JSON by who accepts that.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	out := api.Ready{Reasons: append([]string{}, s.opts.Ready()...), Warnings: []string{}}
	if s.opts.Warnings != nil {
		out.Warnings = append(out.Warnings, s.opts.Warnings()...)
	}
	out.Ready = len(out.Reasons) == 0
	status := http.StatusOK
	if !out.Ready {
		status = http.StatusServiceUnavailable
	}
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		write(w, status, out)
		return
	}
	lines := out.Reasons
	if out.Ready {
		lines = []string{"ok"}
	}
	for _, text := range out.Warnings {
		lines = append(lines, "warning: "+text)
	}
	w.WriteHeader(status)
	w.Write([]byte(strings.Join(lines, "\n") + "\n"))
}

func (s *Server) slowlog(w http.ResponseWriter, r *http.Request) {
	limit, err := count(r, "limit", 0)
	if err != nil {
		fail(w, err)
		return
	}
	entries := s.opts.SlowLog.Entries(limit)
	if entries == nil {
		entries = []metrics.Entry{}
	}
	answer(w, map[string]any{"entries": entries})
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if err := s.opts.Reload(r.Context()); err != nil {
		fail(w, badRequest("%s", err))
		return
	}
	answer(w, map[string]any{"reloaded": true})
}
