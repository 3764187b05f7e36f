package metrics

import (
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// collector exposes a Metrics to a registry: all of it, or all but the families
// that have a series for every script.
type collector struct {
	m       *Metrics
	scripts bool
}

// perScript are the families that textScripts writes for Handler.
var perScript = []*def{defScriptCalls, defScriptDuration, defSlowScripts, defActiveVersion}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range reference {
		if c.scripts || !slices.Contains(perScript, d) {
			ch <- d.desc
		}
	}
}

// Collect implements prometheus.Collector. It first gathers what the loops have
// counted.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.m.gather()
	c.m.collectCounted(ch)
	c.m.collectState(ch)
	c.m.collectNodes(ch)
	c.m.collectRare(ch)
	if c.scripts {
		c.m.collectScripts(ch)
		c.m.collectActive(ch)
	}
}

// sample is a counter or a gauge with labels that were made before.
type sample struct {
	def     *def
	labels  []*dto.LabelPair
	value   float64
	counter dto.Counter
	gauge   dto.Gauge
}

// Desc implements prometheus.Metric.
func (s *sample) Desc() *prometheus.Desc { return s.def.desc }

// Write implements prometheus.Metric.
func (s *sample) Write(out *dto.Metric) error {
	out.Label = s.labels
	if s.def.kind == counterType {
		s.counter.Value = &s.value
		out.Counter = &s.counter
	} else {
		s.gauge.Value = &s.value
		out.Gauge = &s.gauge
	}
	return nil
}

// send sends one sample; labels must be in alphabetical order.
func send(ch chan<- prometheus.Metric, d *def, value float64, labels ...*dto.LabelPair) {
	ch <- &sample{def: d, labels: labels, value: value}
}

func pair(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

func pairs(name string, values []string) []*dto.LabelPair {
	out := make([]*dto.LabelPair, len(values))
	for i, v := range values {
		out[i] = pair(name, v)
	}
	return out
}

var reloadResults = [...]string{"success", "failure"}

var (
	routePairs    = pairs(labelRoute, routeNames[:])
	outcomePairs  = pairs(labelOutcome, outcomeNames[:])
	classPairs    = pairs(labelClass, classNames[:])
	pingPairs     = pairs(labelAnswer, pingNames[:])
	errKindPairs  = pairs(labelKind, errKindNames[:])
	verdictPairs  = pairs(labelVerdict, verdictNames[:])
	linkKindPairs = pairs(labelKind, linkKindNames[:])
	rolePairs     = pairs(labelRole, roleNames[:])
	killPairs     = pairs(labelResult, killResultNames[:])
	reloadPairs   = pairs(labelResult, reloadResults[:])
)

// collectCounted sends what loops count, but for the script families.
func (m *Metrics) collectCounted(ch chan<- prometheus.Metric) {
	_, _, nodes, rules := m.ids.all()
	t := &m.totals
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, n := range t.requests {
		send(ch, defRequests, float64(n), classPairs[i])
	}
	for i, n := range t.pings {
		send(ch, defPing, float64(n), pingPairs[i])
	}
	for i, n := range t.errors {
		send(ch, defErrors, float64(n), errKindPairs[i])
	}
	for i, node := range nodes {
		var n uint64
		if i < len(t.heals) {
			n = t.heals[i]
		}
		if i == 0 && n == 0 {
			continue // "other", not in use
		}
		send(ch, defScriptHeals, float64(n), node.label)
	}
	for i, r := range rules {
		if i == 0 && r.counted == [numVerdicts]uint64{} {
			continue
		}
		for v, n := range r.counted {
			send(ch, defPolicyDecisions, float64(n), r.label, verdictPairs[v])
		}
	}
}

// collectState sends what is set from outside and belongs to no node or script.
func (m *Metrics) collectState(ch chan<- prometheus.Metric) {
	s := &m.state
	send(ch, defSessions, float64(s.sessions.Load()))
	send(ch, defSessionsOpened, float64(s.sessionsOpened.Load()))
	send(ch, defSessionsRejected, float64(s.sessionsRejected.Load()))
	send(ch, defRegistryRevision, float64(s.revision.Load()))
	send(ch, defRegistryDrift, float64(s.drift.Load()))
	send(ch, defRegistryOverrides, float64(s.overrides.Load()))
	if up := s.registryUp.Load(); up != 0 {
		send(ch, defRegistryUp, float64(up-1))
	}
	ok := 0.0
	if s.reloadOK.Load() {
		ok = 1
	}
	send(ch, defReloadOK, ok)
	if at := s.reloadTime.Load(); at != 0 {
		send(ch, defReloadTime, float64(at)/1e9)
	}
	send(ch, defReloads, float64(s.reloadSuccess.Load()), reloadPairs[0])
	send(ch, defReloads, float64(s.reloadFailure.Load()), reloadPairs[1])
	send(ch, defScrapeIncomplete, float64(m.incomplete.Load()))
	send(ch, defBuildInfo, 1, pair(labelGo, runtime.Version()),
		pair(labelRevision, valid(m.opts.Revision)), pair(labelVersion, valid(m.opts.Version)))
}

func (m *Metrics) collectNodes(ch chan<- prometheus.Metric) {
	_, _, nodes, _ := m.ids.all()
	for _, n := range nodes {
		for kind := range n.links {
			if v := n.links[kind].Load(); v != 0 || n.up.Load() != 0 {
				send(ch, defLinks, float64(v), linkKindPairs[kind], n.label)
			}
		}
		if v := n.reconnects.Load(); v != 0 || n.up.Load() != 0 {
			send(ch, defLinkReconnects, float64(v), n.label)
		}
		if v := n.conflicts.Load(); v != 0 || n.up.Load() != 0 {
			send(ch, defPrimaryConflicts, float64(v), n.label)
		}
		if n.gone.Load() {
			continue
		}
		if offset := n.offset.Load(); offset >= 0 {
			send(ch, defUpstreamOffset, float64(offset), n.label)
		}
		if up := n.up.Load(); up != 0 {
			send(ch, defUpstreamUp, float64(up-1), n.label, rolePairs[n.role.Load()])
		}
		if set := n.upstream.Load(); set != nil && n.up.Load() != 0 {
			send(ch, defUpstreamInfo, 1, n.label, set)
		}
		if busy := n.busy.Load(); busy != 0 {
			send(ch, defUpstreamBusy, float64(busy-1), n.label)
		}
		if lag := n.lagBytes.Load(); lag >= 0 {
			send(ch, defReplicaLagBytes, float64(lag), n.label)
		}
		if lag := n.lagSeconds.load(); lag >= 0 {
			send(ch, defReplicaLagSeconds, lag, n.label)
		}
		if cached := n.cached.Load(); cached >= 0 {
			send(ch, defUpstreamScripts, float64(cached), n.label)
		}
		if bytes := n.scriptMemory.Load(); bytes >= 0 {
			send(ch, defUpstreamScriptMemory, float64(bytes), n.label)
		}
	}
}

// maxRunning bounds the series of script_running_seconds.
const maxRunning = 1_000

// collectRare sends what few scripts have at a time, and what the callbacks
// tell.
func (m *Metrics) collectRare(ch chan<- prometheus.Metric) {
	scripts, names, _, _ := m.ids.all()
	for _, n := range names {
		if !n.killed() {
			continue
		}
		for r := range n.kills {
			send(ch, defScriptKills, float64(n.kills[r].Load()), killPairs[r], n.label)
		}
	}
	for _, s := range scripts {
		if b := s.breaker.Load(); b != 0 {
			send(ch, defScriptBreaker, float64(b-1), s.name.label, s.version)
		}
	}
	if f := m.state.running.Load(); f != nil {
		type place struct{ node, script string }
		longest := map[place]float64{}
		(*f)(func(node, script string, seconds float64) {
			p := place{valid(node), valid(script)}
			if v, ok := longest[p]; !ok && len(longest) >= maxRunning || ok && v >= seconds {
				return
			}
			longest[p] = seconds
		})
		for p, seconds := range longest {
			send(ch, defScriptRunning, seconds, pair(labelNode, p.node), pair(labelScript, p.script))
		}
	}
	if f := m.state.loops.Load(); f != nil {
		seen := map[int]bool{}
		(*f)(func(loop int, busy float64) {
			if !seen[loop] {
				seen[loop] = true
				send(ch, defLoopBusy, busy, pair(labelLoop, strconv.Itoa(loop)))
			}
		})
	}
}

func (n *scriptName) killed() bool {
	for i := range n.kills {
		if n.kills[i].Load() != 0 {
			return true
		}
	}
	return false
}

// collectScripts sends the families with series for every script.
func (m *Metrics) collectScripts(ch chan<- prometheus.Metric) {
	scripts, names, _, _ := m.ids.all()
	m.totals.mu.Lock()
	defer m.totals.mu.Unlock()
	for _, s := range scripts {
		for route, calls := range s.calls {
			if calls == nil {
				continue
			}
			for outcome, n := range calls {
				if n != 0 {
					send(ch, defScriptCalls, float64(n), outcomePairs[outcome], routePairs[route], s.name.label, s.version)
				}
			}
		}
	}
	for _, n := range names {
		if n.called {
			send(ch, defSlowScripts, float64(n.slow), n.label)
		}
		for route, h := range n.hist {
			if h != nil {
				ch <- h.metric(m.created, routePairs[route], n.label)
			}
		}
	}
}

func (m *Metrics) collectActive(ch chan<- prometheus.Metric) {
	if list := m.state.active.Load(); list != nil {
		for _, v := range *list {
			send(ch, defActiveVersion, 1, v.labels...)
		}
	}
}

// histogram is a snapshot of one series of script_duration_seconds.
type histogram struct {
	labels []*dto.LabelPair
	h      dto.Histogram
}

// Desc implements prometheus.Metric.
func (h *histogram) Desc() *prometheus.Desc { return defScriptDuration.desc }

// Write implements prometheus.Metric.
func (h *histogram) Write(out *dto.Metric) error {
	out.Label, out.Histogram = h.labels, &h.h
	return nil
}

// nativeZeroThreshold is the client library's default, under which Prometheus
// counts an observation as zero; only a time of 0 is.
const nativeZeroThreshold = prometheus.DefNativeHistogramZeroThreshold

func (t *histTotals) metric(created time.Time, labels ...*dto.LabelPair) *histogram {
	var (
		cumulative = new([numBuckets]uint64)
		bucket     = new([len(bucketSeconds)]dto.Bucket)
		count      uint64
	)
	out := &histogram{labels: labels}
	out.h.Bucket = make([]*dto.Bucket, len(bucketSeconds))
	for i, n := range t.buckets {
		count += n
		cumulative[i] = count
		if i < len(bucketSeconds) {
			bucket[i].CumulativeCount, bucket[i].UpperBound = &cumulative[i], &bucketSeconds[i]
			out.h.Bucket[i] = &bucket[i]
		}
	}
	sum := float64(t.nanos) / 1e9
	out.h.SampleCount, out.h.SampleSum = &cumulative[numBuckets-1], &sum
	out.h.CreatedTimestamp = timestamppb.New(created)
	if t.native != nil {
		t.native.write(&out.h)
	}
	return out
}

// write adds the native buckets to h.
func (s *sparse[N]) write(h *dto.Histogram) {
	schema, zero, threshold := int32(nativeSchema), uint64(s.zero), nativeZeroThreshold
	h.Schema, h.ZeroCount, h.ZeroThreshold = &schema, &zero, &threshold
	runs, deltas := s.spans()
	for i := range runs {
		h.PositiveSpan = append(h.PositiveSpan, &dto.BucketSpan{Offset: &runs[i].offset, Length: &runs[i].length})
	}
	h.PositiveDelta = deltas
}
