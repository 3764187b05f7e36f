package metrics

import (
	"math"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
)

// handler serves /metrics. The families with a series for every script are
// written from the totals directly: at 5,000 scripts they are a hundred thousand
// lines, and the client library's way, through a struct for each, takes ten times
// as long.
type handler struct {
	m *Metrics
	// library serves the formats that are not written here, and filtered
	// scrapes.
	library http.Handler
}

func newHandler(m *Metrics) http.Handler {
	return &handler{m: m, library: promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true})}
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...)
	kind := format.FormatType()
	if kind != expfmt.TypeTextPlain && kind != expfmt.TypeProtoDelim || r.URL.Query().Has("name[]") {
		h.library.ServeHTTP(w, r)
		return
	}
	// Gathering the light registry also gathers the shards.
	families, err := h.m.light.Gather()
	if err != nil {
		http.Error(w, "cannot gather metrics: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", string(format))
	w.Header().Add("Vary", "Accept")
	encoder := expfmt.NewEncoder(w, format)
	for _, f := range families {
		if err := encoder.Encode(f); err != nil {
			return // the client is gone
		}
	}
	if kind == expfmt.TypeProtoDelim {
		_ = h.m.protoScripts(func(b []byte) error { _, err := w.Write(b); return err }) // fails when the client is gone
		return
	}
	h.m.textScripts(&textWriter{w: w, b: make([]byte, 0, textChunk+textChunk/4)})
}

// textChunk is about how much text is formatted between two writes.
const textChunk = 64 << 10

// textWriter collects lines and writes them in chunks. After a failed write it
// drops everything.
type textWriter struct {
	w      http.ResponseWriter
	b      []byte
	last   [24]byte // for durations: the longest number and a line end
	failed bool
}

func (t *textWriter) full() bool { return len(t.b) >= textChunk }

func (t *textWriter) flush() {
	if !t.failed && len(t.b) > 0 {
		_, err := t.w.Write(t.b)
		t.failed = err != nil
	}
	t.b = t.b[:0]
}

func (t *textWriter) header(d *def) {
	kind := "counter"
	switch d.kind {
	case gaugeType:
		kind = "gauge"
	case histogramType:
		kind = "histogram"
	}
	t.b = append(t.b, "# HELP "+d.name+" "+d.help+"\n# TYPE "+d.name+" "+kind+"\n"...)
}

func (t *textWriter) integer(n uint64) {
	t.b = strconv.AppendUint(t.b, n, 10)
	t.b = append(t.b, '\n')
}

// bucketEnd are bucketSeconds as a line has them from the value of le up to its
// own, with +Inf.
var bucketEnd = func() (out [numBuckets]string) {
	for i, s := range append(bucketSeconds[:], math.Inf(1)) {
		out[i] = strconv.FormatFloat(s, 'g', -1, 64) + bucketClose
	}
	return out
}()

const bucketClose = `"} `

// textScripts writes the perScript families. It holds the totals' lock only
// while it formats a chunk, never while it writes one.
func (m *Metrics) textScripts(t *textWriter) {
	scripts, names, _, _ := m.ids.all()

	textFamily(m, t, defScriptCalls, scripts, t.calls)
	textFamily(m, t, defScriptDuration, names, t.durations)
	textFamily(m, t, defSlowScripts, names, t.slow)
	if list := m.state.active.Load(); list != nil {
		textFamily(m, t, defActiveVersion, *list, func(v activeVersion) {
			t.b = append(t.b, v.line...)
			t.integer(1)
		})
	}
	t.flush()
}

// textFamily writes a family that has a few lines, or none, for each element of
// the list; none at all if no element has any.
func textFamily[T any](m *Metrics, t *textWriter, d *def, list []T, lines func(T)) {
	start := len(t.b)
	t.header(d)
	empty := len(t.b)
	written := false
	for len(list) > 0 && !t.failed {
		n := textFill(m, t, list, lines)
		list = list[n:]
		written = written || len(t.b) > empty
		if t.full() {
			t.flush()
		}
	}
	if !written {
		t.b = t.b[:start]
	}
}

// textFill formats elements until there is a chunk, and returns how many.
func textFill[T any](m *Metrics, t *textWriter, list []T, lines func(T)) int {
	m.totals.mu.Lock()
	defer m.totals.mu.Unlock()
	for i, e := range list {
		lines(e)
		if t.full() {
			return i + 1
		}
	}
	return len(list)
}

func (t *textWriter) slow(n *scriptName) {
	if !n.called {
		return
	}
	t.b = append(t.b, defSlowScripts.name...)
	t.b = append(t.b, `{script="`...)
	t.b = append(t.b, n.text...)
	t.b = append(t.b, `"} `...)
	t.integer(n.slow)
}

func (t *textWriter) calls(s *script) {
	for route, calls := range s.calls {
		if calls == nil {
			continue
		}
		for outcome, n := range calls {
			if n == 0 {
				continue
			}
			t.b = append(t.b, defScriptCalls.name...)
			t.b = append(t.b, `{outcome="`...)
			t.b = append(t.b, outcomeNames[outcome]...)
			t.b = append(t.b, `",route="`...)
			t.b = append(t.b, routeNames[route]...)
			t.b = append(t.b, `",script="`...)
			t.b = append(t.b, s.name.text...)
			t.b = append(t.b, `",version="`...)
			t.b = append(t.b, s.verText...)
			t.b = append(t.b, `"} `...)
			t.integer(n)
		}
	}
}

func (t *textWriter) durations(n *scriptName) {
	for route, h := range n.hist {
		if h == nil {
			continue
		}
		// The first bucket's line up to the value of le serves the others too.
		from := len(t.b)
		t.series("_bucket", route, n)
		t.b = append(t.b, `,le="`...)
		to := len(t.b)
		var count uint64
		// Most buckets are empty, and their lines end as those before.
		last := append(t.last[:0], "0\n"...)
		for i, c := range h.buckets {
			if i > 0 {
				t.b = append(t.b, t.b[from:to]...)
			}
			if c > 0 {
				count += c
				last = append(strconv.AppendUint(last[:0], count, 10), '\n')
			}
			t.b = append(t.b, bucketEnd[i]...)
			t.b = append(t.b, last...)
		}
		t.series("_sum", route, n)
		t.b = append(t.b, "} "...)
		t.b = strconv.AppendFloat(t.b, float64(h.nanos)/1e9, 'g', -1, 64)
		t.b = append(t.b, '\n')
		t.series("_count", route, n)
		t.b = append(t.b, "} "...)
		t.integer(count)
	}
}

// series appends the name and labels of a duration series, without the closing
// brace.
func (t *textWriter) series(suffix string, route int, n *scriptName) {
	t.b = append(t.b, defScriptDuration.name...)
	t.b = append(t.b, suffix...)
	t.b = append(t.b, `{route="`...)
	t.b = append(t.b, routeNames[route]...)
	t.b = append(t.b, `",script="`...)
	t.b = append(t.b, n.text...)
	t.b = append(t.b, '"')
}
