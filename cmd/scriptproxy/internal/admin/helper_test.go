package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/operate"
	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/filestore"
)

// bench is an admin server in front of a registry in memory, in which the node
// "n1" refuses bodies with the word "refused".
type bench struct {
	t   *testing.T
	srv *Server
	reg *registry.Registry
}

func newBench(t *testing.T, change func(*Options)) *bench {
	t.Helper()
	store, err := filestore.Open(filestore.Options{Instance: "here"})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := registry.New(context.Background(), registry.Options{
		Store: store, Instance: "here",
		Analyse: func(_ registry.Kind, body []byte) (registry.Analysis, error) {
			return registry.Analysis{Class: registry.ClassWrite, Contract: registry.Contract{MinKeys: bytes.Count(body, []byte("KEYS"))}}, nil
		},
		Prepare: func(_ context.Context, staged []registry.Staged) error {
			for _, s := range staged {
				if bytes.Contains(s.Version.Body, []byte("refused")) {
					return &registry.PrepareError{Node: "n1", Name: s.Script, Version: s.Version.ID, Err: errors.New("it does not compile")}
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
	})
	_, err = reg.Declare(context.Background(), []registry.Declared{
		{Name: "transfer", Active: "v2", Versions: []registry.DeclaredVersion{{ID: "v1", Body: []byte("return 1")}, {ID: "v2", Body: []byte("return 2")}}},
		{Name: "team/lock:a", Tags: []string{"lock"}, Versions: []registry.DeclaredVersion{{ID: "v1", Body: []byte("return 'lock'")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := metrics.New(metrics.Options{})
	o := Options{
		Metrics: m, SlowLog: metrics.NewSlowLog(10, false),
		Ready:  func() []string { return []string{"the primary is down", "draining"} },
		Reload: func(context.Context) error { return errors.New("c.yaml:1: no such key") },
		Logger: slog.New(slog.DiscardHandler),
		Desk: &operate.Desk{
			Registry: reg, Instance: "here",
			Changed: func(context.Context, registry.Result) []string { return nil },
			Use:     useOf,
			Breakers: func() []api.Breaker {
				return []api.Breaker{
					{Script: "transfer", Version: "v2", SHA: strings.Repeat("c", 40), State: api.BreakerOpen, Since: time.Now(), OpenFor: 12.5, Kills: 3, Total: 7},
					{SHA: strings.Repeat("a", 40), State: api.BreakerClosed, Since: time.Now()},
				}
			},
			ResetBreaker: func(r api.BreakerReset) error {
				if r.Script != "transfer" {
					return &api.Error{Status: http.StatusNotFound, Code: api.CodeNotFound, Message: "no breaker of it has opened"}
				}
				return nil
			},
			Nodes: func() []api.Node {
				return []api.Node{
					{Upstream: "default", Node: "127.0.0.1:1", Role: "primary", Serving: true, Up: true, Ready: true, Busy: 1.5, Offset: 42},
					{Upstream: "default", Node: "127.0.0.1:2", Role: "unknown", Error: "connection refused"},
				}
			},
			Cache: func(context.Context) (*api.Cache, error) {
				return &api.Cache{
					Nodes:        []api.CacheNode{{Node: "n1", Role: "primary", Up: true, Scripts: 3, Memory: 4096, Alive: 2, AliveBytes: 20}},
					Limits:       api.CacheLimits{Keep: "1h0m0s"},
					Unregistered: []api.ClientScript{{SHA: strings.Repeat("a", 40), Class: "read", LastUsed: time.Now(), Nodes: []api.NodeUse{{Node: "n1"}}}},
					Foreign:      []api.Foreign{{SHA: strings.Repeat("b", 40), LastUsed: time.Now()}},
					Shapes:       []api.Shape{{Shape: "return ?", Bodies: 2, Example: strings.Repeat("a", 40), Last: time.Now()}},
				}, nil
			},
			Compact: compactStub,
		},
	}
	if change != nil {
		change(&o)
	}
	return &bench{t, New(o), reg}
}

func useOf(scripts []*registry.Script) [][]api.Use {
	out := make([][]api.Use, len(scripts))
	for i, s := range scripts {
		for _, v := range s.Versions {
			out[i] = append(out[i], api.Use{Version: v.ID, Bytes: len(v.Body), Calls: 7, LastUsed: time.Now(), Nodes: []api.NodeUse{{Node: "n1", Loaded: true}},
				Breaker: &api.Breaker{Script: s.Name, Version: v.ID, SHA: v.SHA, State: api.BreakerHalfOpen, Since: time.Now()}})
		}
	}
	return out
}

// compactStub fails before the first step for the node "foreign", and after it for
// the node "broken".
func compactStub(_ context.Context, c api.Compact, progress func(api.Progress)) error {
	node := "n1"
	if len(c.Nodes) > 0 {
		node = c.Nodes[0]
	}
	if node == "foreign" {
		return &operate.ForeignError{Text: "scripts in use would be lost"}
	}
	progress(api.Progress{Step: api.StepStart, Node: node, Of: 2})
	if node == "broken" {
		return errors.New("node broken: it broke")
	}
	progress(api.Progress{Step: api.StepDone, Node: node, Loaded: 2, Of: 2, ScriptsBefore: 10, ScriptsAfter: 2, Seconds: 0.1})
	return nil
}

// request sends one request to the handler; header is pairs.
func (b *bench) request(method, target, body string, header ...string) *http.Response {
	b.t.Helper()
	req := httptest.NewRequest(method, "http://127.0.0.1:9380"+target, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.srv.http.Handler.ServeHTTP(w, req)
	return w.Result()
}

// want sends a request, checks the status, and decodes the answer into out unless
// that is nil.
func (b *bench) want(status int, out any, method, target, body string, header ...string) *http.Response {
	b.t.Helper()
	resp := b.request(method, target, body, header...)
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if resp.StatusCode != status {
		b.t.Fatalf("%s %s: status %d, want %d: %s", method, target, resp.StatusCode, status, text)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			b.t.Fatalf("%s %s: %v: %s", method, target, err, text)
		}
	}
	return resp
}
