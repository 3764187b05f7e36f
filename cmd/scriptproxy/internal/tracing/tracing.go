// Package tracing exports a span for each sampled script call by OTLP over
// HTTP. It says nothing of keys or arguments.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// queued is how many calls may wait to be made spans of. A loop never
	// waits: what comes beyond is dropped and counted.
	queued = 4096
	// closeWait bounds the export of what is left at the end.
	closeWait = 5 * time.Second
)

// Options say where spans go. Endpoint is the collector's URL, such as
// http://127.0.0.1:4318.
type Options struct {
	Endpoint string
	Service  string // the name of this service in traces
	Version  string
	Instance string
	Logger   *slog.Logger
}

// Tracer turns calls into spans. Record may be called by any goroutine and
// does not block; Close is called once.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	calls    chan proxy.CallTrace
	done     chan struct{}
	dropped  atomic.Uint64
	log      *slog.Logger
}

// New connects to nothing yet: the exporter tries, and tries again, when it
// has spans to send.
func New(ctx context.Context, o Options) (*Tracer, error) {
	if u, err := url.Parse(o.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("tracing.endpoint %q is not a URL such as http://127.0.0.1:4318", o.Endpoint)
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(o.Endpoint+"/v1/traces"))
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	about := resource.NewSchemaless(
		attribute.String("service.name", o.Service),
		attribute.String("service.version", o.Version),
		attribute.String("service.instance.id", o.Instance),
	)
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	t := &Tracer{
		provider: provider, tracer: provider.Tracer("github.com/scriptproxy/scriptproxy"),
		calls: make(chan proxy.CallTrace, queued), done: make(chan struct{}), log: o.Logger,
	}
	go t.run()
	return t, nil
}

// Record takes a call over, or drops it when too many wait.
func (t *Tracer) Record(c proxy.CallTrace) {
	select {
	case t.calls <- c:
	default:
		t.dropped.Add(1)
	}
}

// Close exports what is left and ends. Record must not be called any more.
func (t *Tracer) Close() {
	close(t.calls)
	<-t.done
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last spans were not exported", "error", err)
	}
	if n := t.dropped.Load(); n > 0 {
		t.log.Warn("spans were dropped because the collector was too slow", "spans", n)
	}
}

func (t *Tracer) run() {
	defer close(t.done)
	for c := range t.calls {
		name := c.Name
		if name == "" {
			name = "unregistered"
		}
		_, span := t.tracer.Start(context.Background(), "script "+name,
			trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(c.End.Add(-c.Took)),
			trace.WithAttributes(
				attribute.String("db.system.name", "redis"),
				attribute.String("scriptproxy.script.name", c.Name),
				attribute.String("scriptproxy.script.version", c.Version),
				attribute.String("scriptproxy.script.sha", c.SHA),
				attribute.String("scriptproxy.route", c.Route),
				attribute.String("scriptproxy.outcome", c.Outcome),
				attribute.String("server.address", c.Node),
				attribute.Int("scriptproxy.keys", c.Keys),
			))
		if c.Outcome != "ok" {
			span.SetStatus(codes.Error, c.Outcome)
		}
		span.End(trace.WithTimestamp(c.End))
	}
}
