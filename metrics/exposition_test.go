package metrics

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"
)

const protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

// populated returns a Metrics in which every family has a series, some with
// names that need escaping.
func populated(t testing.TB, o Options) *Metrics {
	m, ls := loops(t, o, 2)
	names := []string{"transfer", `quo"ted`, `back\slash`, "new\nline", "smørrebrød", "bad\xffutf8", ""}
	var ids []ScriptID
	var active []ActiveVersion
	for i, n := range names {
		for v := range i + 1 {
			ids = append(ids, m.Script(n, fmt.Sprintf("v%d", v)))
		}
		active = append(active, ActiveVersion{n, "v0", fmt.Sprintf("%040x", i)})
	}
	node, rule := m.Node("10.0.0.1:6379"), m.Rule(`rule "one"`)
	for _, l := range ls {
		l.do(func(s *Shard) {
			for i := range 1000 {
				record(s, ids, node, rule, i*i)
			}
		})
	}
	m.SetActiveVersions(append(active, active[0])) // one of them twice
	m.Sessions(3)
	m.Sessions(-1)
	m.SessionRejected()
	m.Links(node, LinkShared, 2)
	m.LinkReconnect(node)
	m.UpstreamUp(node, RoleReplica, true)
	m.UpstreamOf(node, "orders")
	m.UpstreamBusy(node, false)
	m.ReplicaLag(node, 42, .5)
	m.UpstreamScripts(node, 7, 4096)
	m.UpstreamOffset(node, 12345, 2)
	m.Kill(ids[0], KillUnkillable)
	m.Breaker(ids[0], BreakerOpen)
	m.RegistryRevision(17)
	m.RegistryDrift(2)
	m.RegistryUp(true)
	m.ConfigReload(true, time.Unix(1_700_000_000, 0))
	m.OnCollectRunning(func(emit func(node, script string, seconds float64)) {
		emit("10.0.0.1:6379", "transfer", 1)
		emit("10.0.0.1:6379", "transfer", 3)
		emit("10.0.0.1:6379", "transfer", 2)
	})
	m.OnCollectLoops(func(emit func(loop int, busy float64)) {
		emit(0, .25)
		emit(1, .5)
		emit(1, .75)
	})
	return m
}

// parse reads the text format with Prometheus's own parser.
func parse(t testing.TB, text io.Reader) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(text)
	if err != nil {
		t.Fatal("the text format does not parse:", err)
	}
	return families
}

func TestTextFormatSaysWhatTheRegistrySays(t *testing.T) {
	m := populated(t, Options{Version: "1.2.3", Revision: "abc"})
	text := parse(t, scrape(t, m, "text/plain").Body)
	gathered, err := m.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	// Through the library's own text encoder and back, so that both have lost
	// what text cannot say.
	var b bytes.Buffer
	ours := 0
	for _, f := range gathered {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range parse(t, &b) {
		got := text[name]
		if got == nil {
			t.Errorf("%s is not in the text", name)
			continue
		}
		if !strings.HasPrefix(name, namespace) {
			continue // the runtime's values move
		}
		ours++
		sortSeries(got)
		sortSeries(want)
		if !proto.Equal(got, want) {
			t.Errorf("%s in text\n%v\nin the registry\n%v", name, got, want)
		}
	}
	if ours != len(reference) || len(text) != len(gathered) {
		t.Errorf("%d of our families of %d; %d families in text, %d gathered", ours, len(reference), len(text), len(gathered))
	}
}

func sortSeries(f *dto.MetricFamily) {
	slices.SortFunc(f.Metric, func(a, b *dto.Metric) int { return strings.Compare(series("", a), series("", b)) })
}

func TestProtobufSaysWhatTheRegistrySays(t *testing.T) {
	for _, native := range []bool{false, true} {
		m := populated(t, Options{NativeHistograms: native})
		gathered, err := m.Registry().Gather()
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]*dto.MetricFamily{}
		for _, f := range gathered {
			want[f.GetName()] = f
		}
		w := scrape(t, m, protobuf)
		d := expfmt.NewDecoder(w.Body, expfmt.ResponseFormat(w.Result().Header))
		n := 0
		for {
			got := &dto.MetricFamily{}
			if err := d.Decode(got); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal("the protobuf format does not decode:", err)
			}
			n++
			if !strings.HasPrefix(got.GetName(), namespace) {
				continue
			}
			expected := want[got.GetName()]
			if expected == nil {
				t.Errorf("%s is not in the registry", got.GetName())
				continue
			}
			sortSeries(got)
			sortSeries(expected)
			if !proto.Equal(got, expected) {
				t.Errorf("%s in protobuf\n%v\nin the registry\n%v", got.GetName(), got, expected)
			}
		}
		if n != len(gathered) {
			t.Errorf("%d families in protobuf, %d gathered", n, len(gathered))
		}
	}
}

func TestAFamilyWithoutSeriesIsNotServed(t *testing.T) {
	m := New(Options{})
	for _, accept := range []string{"text/plain", protobuf} {
		body := scrape(t, m, accept).Body.String()
		for _, d := range perScript {
			if strings.Contains(body, d.name) {
				t.Errorf("%s: %s is served without a series", accept, d.name)
			}
		}
	}
}

func TestAFilteredScrapeHasOnlyWhatWasAskedFor(t *testing.T) {
	m := populated(t, Options{})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics?name[]="+defScriptCalls.name, nil))
	families := parse(t, w.Body)
	if len(families) != 1 || families[defScriptCalls.name] == nil {
		t.Errorf("families %v, want only %s", families, defScriptCalls.name)
	}
}

func TestExpositionIsCleanOfLint(t *testing.T) {
	m := populated(t, Options{NativeHistograms: true})
	problems, err := testutil.GatherAndLint(m.Registry())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestCollectorsAreConsistentWithTheirDescriptions(t *testing.T) {
	for _, scripts := range []bool{true, false} {
		m := populated(t, Options{NativeHistograms: true})
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(&collector{m: m, scripts: scripts})
		if _, err := r.Gather(); err != nil {
			t.Errorf("scripts %v: %v", scripts, err)
		}
	}
}

func TestACollectorOfAnotherPackageIsServedInEveryFormat(t *testing.T) {
	m := New(Options{})
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "scriptproxy_extra_total", Help: "Extra."})
	m.Register(c)
	for _, accept := range []string{"text/plain", protobuf} {
		if w := scrape(t, m, accept); !strings.Contains(w.Body.String(), "scriptproxy_extra_total") {
			t.Errorf("%s lacks the collector's family", accept)
		}
	}
}

// stalled is a client that stops reading once it has something.
type stalled struct {
	*httptest.ResponseRecorder
	reached chan struct{}
	release chan struct{}
}

func (s *stalled) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(defScriptCalls.name)) {
		select {
		case <-s.reached:
		default:
			close(s.reached)
		}
		<-s.release
	}
	return len(b), nil
}

func TestAScraperThatDoesNotReadStopsNobody(t *testing.T) {
	m, ls := loops(t, Options{}, 1)
	id := m.Script("s", "v1")
	count := func(s *Shard) { s.ScriptCall(id, RoutePrimary, OutcomeOK, time.Second, false) }
	ls[0].do(count)

	slow := &stalled{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		m.Handler().ServeHTTP(slow, httptest.NewRequest("GET", "/metrics", nil))
	}()
	<-slow.reached
	ls[0].do(count)
	expect(t, values(t, m.Registry()), "script_calls_total{outcome=ok,route=primary,script=s,version=v1}", 2)
	close(slow.release)
	<-finished
}

// gone is a client whose connection is closed.
type gone struct {
	http.ResponseWriter
	writes int
}

func (g *gone) Write([]byte) (int, error) {
	g.writes++
	return 0, io.ErrClosedPipe
}

func TestNothingMoreIsWrittenToAScraperThatIsGone(t *testing.T) {
	m, ls := loops(t, Options{}, 1)
	ls[0].do(func(s *Shard) {
		for i := range 2000 {
			s.ScriptCall(m.Script(fmt.Sprint("script-", i), "v1"), RoutePrimary, OutcomeOK, 0, false)
		}
	})
	m.gather()
	w := &gone{ResponseWriter: httptest.NewRecorder()}
	m.textScripts(&textWriter{w: w})
	if w.writes != 1 {
		t.Errorf("text: %d writes, want one that failed", w.writes)
	}
	w.writes = 0
	err := m.protoScripts(func(b []byte) error { _, err := w.Write(b); return err })
	if w.writes != 1 || err != io.ErrClosedPipe {
		t.Errorf("protobuf: %d writes and %v, want one that failed", w.writes, err)
	}
}
