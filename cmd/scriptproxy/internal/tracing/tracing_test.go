package tracing

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector keeps the spans it is sent.
type collector struct {
	mu    sync.Mutex
	spans []*tracev1.Span
	raw   bytes.Buffer
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var req coltrace.ExportTraceServiceRequest
	if r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &req) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(body)
	for _, rs := range req.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
}

func TestEachCallIsASpanWithItsTimeAndOutcome(t *testing.T) {
	c := &collector{}
	server := httptest.NewServer(c)
	defer server.Close()
	tracer, err := New(context.Background(), Options{Endpoint: server.URL, Service: "scriptproxy", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now()
	tracer.Record(proxy.CallTrace{Name: "transfer", Version: "v2", SHA: "abc", Node: "127.0.0.1:6379", Route: "primary", Outcome: "ok", End: end, Took: 5 * time.Millisecond, Keys: 2})
	tracer.Record(proxy.CallTrace{Outcome: "killed", End: end, Took: time.Second})
	tracer.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) != 2 {
		t.Fatalf("%d spans", len(c.spans))
	}
	ok, killed := c.spans[0], c.spans[1]
	if ok.Name != "script transfer" || killed.Name != "script unregistered" {
		t.Fatalf("names %q, %q", ok.Name, killed.Name)
	}
	if took := ok.EndTimeUnixNano - ok.StartTimeUnixNano; took != uint64(5*time.Millisecond) || ok.EndTimeUnixNano != uint64(end.UnixNano()) {
		t.Fatalf("took %d, ended %d", took, ok.EndTimeUnixNano)
	}
	if ok.Status.GetCode() != tracev1.Status_STATUS_CODE_UNSET || killed.Status.GetCode() != tracev1.Status_STATUS_CODE_ERROR || killed.Status.GetMessage() != "killed" {
		t.Fatalf("status %v, %v", ok.Status, killed.Status)
	}
	for _, want := range []string{"transfer", "v2", "127.0.0.1:6379", "primary"} {
		if !strings.Contains(c.raw.String(), want) {
			t.Errorf("no %q in what was sent", want)
		}
	}
}

func TestSlowCollectorMakesNobodyWait(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
	defer server.Close()
	tracer, err := New(context.Background(), Options{Endpoint: server.URL, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		for range 10 * queued {
			tracer.Record(proxy.CallTrace{Name: "x", End: time.Now()})
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("Record waits for the collector")
	}
	close(release)
	tracer.Close()
}

func TestBadEndpointIsRefused(t *testing.T) {
	for _, endpoint := range []string{"", "127.0.0.1:4318", "ftp://x", "http://"} {
		if _, err := New(context.Background(), Options{Endpoint: endpoint}); err == nil || !strings.Contains(err.Error(), "tracing.endpoint") {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}
