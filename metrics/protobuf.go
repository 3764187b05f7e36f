package metrics

import (
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of io.prometheus.client, from metrics.proto of the module
// github.com/prometheus/client_model.
const (
	familyName, familyHelp, familyType, familyMetric = 1, 2, 3, 4

	metricLabel, metricGauge, metricCounter, metricHistogram = 1, 2, 3, 7

	labelPairName, labelPairValue = 1, 2

	simpleValue = 1 // of Gauge and Counter

	histogramCount, histogramSum, histogramBucket                 = 1, 2, 3
	histogramSchema, histogramZeroThreshold, histogramZeroCount   = 5, 6, 7
	histogramPositiveSpan, histogramPositiveDelta, histogramSince = 12, 13, 15

	bucketCount, bucketBound = 1, 2
	spanOffset, spanLength   = 1, 2
	timeSeconds, timeNanos   = 1, 2
)

// protoWriter writes the perScript families in the delimited protobuf format:
// straight from the totals, for the same reason as textWriter.
type protoWriter struct {
	family    []byte
	metric    []byte
	histogram []byte
	series    int    // in family
	since     []byte // the histograms' created timestamp, encoded
}

// protoScripts calls write with one delimited message per family that has a
// series. A family must be encoded whole before its length is known; write is
// called without a lock.
func (m *Metrics) protoScripts(write func([]byte) error) error {
	scripts, names, _, _ := m.ids.all()
	p := &protoWriter{since: encodeTime(m.created)}

	steps := []func(){
		func() {
			p.begin(defScriptCalls)
			for _, s := range scripts {
				p.calls(s)
			}
		},
		func() {
			p.begin(defScriptDuration)
			for _, n := range names {
				p.durations(n)
			}
		},
		func() {
			p.begin(defSlowScripts)
			for _, n := range names {
				if n.called {
					p.label(labelScript, n.label.GetValue())
					p.simple(metricCounter, float64(n.slow))
				}
			}
		},
		func() {
			p.begin(defActiveVersion)
			if list := m.state.active.Load(); list != nil {
				for _, v := range *list {
					p.label(labelScript, v.Script)
					p.label(labelSHA, v.SHA)
					p.label(labelVersion, v.Version)
					p.simple(metricGauge, 1)
				}
			}
		},
	}
	var length []byte
	for _, encode := range steps {
		m.totals.mu.Lock()
		encode()
		m.totals.mu.Unlock()
		if p.series == 0 {
			continue
		}
		length = protowire.AppendVarint(length[:0], uint64(len(p.family)))
		if err := write(length); err != nil {
			return err
		}
		if err := write(p.family); err != nil {
			return err
		}
	}
	return nil
}

func (p *protoWriter) begin(d *def) {
	p.family = appendString(p.family[:0], familyName, d.name)
	p.family = appendString(p.family, familyHelp, d.help)
	p.family = appendVarint(p.family, familyType, uint64(d.kind))
	p.series = 0
}

func (p *protoWriter) calls(s *script) {
	for route, calls := range s.calls {
		if calls == nil {
			continue
		}
		for outcome, n := range calls {
			if n == 0 {
				continue
			}
			p.label(labelOutcome, outcomeNames[outcome])
			p.label(labelRoute, routeNames[route])
			p.label(labelScript, s.name.label.GetValue())
			p.label(labelVersion, s.version.GetValue())
			p.simple(metricCounter, float64(n))
		}
	}
}

func (p *protoWriter) durations(n *scriptName) {
	for route, t := range n.hist {
		if t == nil {
			continue
		}
		p.label(labelRoute, routeNames[route])
		p.label(labelScript, n.label.GetValue())

		var total uint64
		for _, c := range t.buckets {
			total += c
		}
		h := appendVarint(p.histogram[:0], histogramCount, total)
		h = appendDouble(h, histogramSum, float64(t.nanos)/1e9)
		var count uint64
		for i, bound := range bucketSeconds {
			count += t.buckets[i]
			h = protowire.AppendTag(h, histogramBucket, protowire.BytesType)
			h = protowire.AppendVarint(h, uint64(1+protowire.SizeVarint(count)+1+8))
			h = appendVarint(h, bucketCount, count)
			h = appendDouble(h, bucketBound, bound)
		}
		if t.native != nil {
			h = t.native.encode(h)
		}
		h = append(h, p.since...)
		p.histogram = h
		p.message(metricHistogram, h)
		p.end()
	}
}

// encode appends the native buckets: spans of adjacent ones, and each count as
// the difference to the one before.
func (s *sparse[N]) encode(h []byte) []byte {
	h = appendVarint(h, histogramSchema, protowire.EncodeZigZag(nativeSchema))
	h = appendDouble(h, histogramZeroThreshold, nativeZeroThreshold)
	h = appendVarint(h, histogramZeroCount, uint64(s.zero))
	spans, deltas := s.spans()
	for _, sp := range spans {
		offset := protowire.EncodeZigZag(int64(sp.offset))
		h = protowire.AppendTag(h, histogramPositiveSpan, protowire.BytesType)
		h = protowire.AppendVarint(h, uint64(2+protowire.SizeVarint(offset)+protowire.SizeVarint(uint64(sp.length))))
		h = appendVarint(h, spanOffset, offset)
		h = appendVarint(h, spanLength, uint64(sp.length))
	}
	for _, d := range deltas {
		h = appendVarint(h, histogramPositiveDelta, protowire.EncodeZigZag(d))
	}
	return h
}

// label adds a label to the metric that is being encoded.
func (p *protoWriter) label(name, value string) {
	m := protowire.AppendTag(p.metric, metricLabel, protowire.BytesType)
	m = protowire.AppendVarint(m, uint64(2+protowire.SizeBytes(len(name))+protowire.SizeBytes(len(value))))
	m = appendString(m, labelPairName, name)
	p.metric = appendString(m, labelPairValue, value)
}

// simple ends the metric with the value of a counter or a gauge.
func (p *protoWriter) simple(kind protowire.Number, value float64) {
	p.metric = protowire.AppendTag(p.metric, kind, protowire.BytesType)
	p.metric = protowire.AppendVarint(p.metric, 1+8)
	p.metric = appendDouble(p.metric, simpleValue, value)
	p.end()
}

func (p *protoWriter) message(field protowire.Number, b []byte) {
	p.metric = protowire.AppendTag(p.metric, field, protowire.BytesType)
	p.metric = protowire.AppendBytes(p.metric, b)
}

// end adds the metric to the family.
func (p *protoWriter) end() {
	p.family = protowire.AppendTag(p.family, familyMetric, protowire.BytesType)
	p.family = protowire.AppendBytes(p.family, p.metric)
	p.metric = p.metric[:0]
	p.series++
}

func encodeTime(t time.Time) []byte {
	b := appendVarint(nil, timeSeconds, uint64(t.Unix()))
	if n := t.Nanosecond(); n != 0 {
		b = appendVarint(b, timeNanos, uint64(n))
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, histogramSince, protowire.BytesType), b)
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendDouble(b []byte, field protowire.Number, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), math.Float64bits(v))
}
