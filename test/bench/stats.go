package main

import (
	"math"
	"slices"
)

// metric is one figure of a sample.
type metric struct {
	heading   string
	value     func(sample) float64
	precision int  // digits after the point
	proxyOnly bool // means nothing for the direct target
	ratios    bool // shown as ratios to direct and twemproxy too
}

var (
	perSecond = metric{heading: "requests/s", value: func(s sample) float64 { return s.PerSecond }, ratios: true}
	p50       = metric{heading: "p50 ms", value: func(s sample) float64 { return s.P50 }, precision: 3, ratios: true}
	p99       = metric{heading: "p99 ms", value: func(s sample) float64 { return s.P99 }, precision: 3, ratios: true}
	proxyCPU  = metric{heading: "proxy CPU µs", value: func(s sample) float64 { return s.ProxyCPU }, precision: 2, proxyOnly: true, ratios: true}
	proxyUser = metric{heading: "of it user", value: func(s sample) float64 { return s.ProxyUser }, precision: 2, proxyOnly: true}
	serverCPU = metric{heading: "Redis CPU µs", value: func(s sample) float64 { return s.ServerCPU }, precision: 2, ratios: true}
)

var metrics = []metric{perSecond, p50, p99, proxyCPU, proxyUser, serverCPU}

// median returns the middle value, the mean of the two middle ones of an even number, and NaN of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// medianOf returns the median of a metric over a row's rounds, NaN where the metric does not apply.
func (m metric) medianOf(r row) float64 {
	if m.proxyOnly && r.Target == direct {
		return math.NaN()
	}
	var values []float64
	for _, s := range r.Samples {
		values = append(values, m.value(s))
	}
	return median(values)
}

// ratioOf returns the median over the rounds of r's value divided by base's in the same round, NaN where the metric does not apply to
// one of them or base measured 0.
func (m metric) ratioOf(r, base row) float64 {
	if m.proxyOnly && (r.Target == direct || base.Target == direct) {
		return math.NaN()
	}
	var ratios []float64
	for i := range min(len(r.Samples), len(base.Samples)) {
		if b := m.value(base.Samples[i]); b != 0 {
			ratios = append(ratios, m.value(r.Samples[i])/b)
		}
	}
	return median(ratios)
}

// row returns the group's row of a target, the one with the script's sha unless byName.
func (g groupResult) row(target string, byName bool) (row, bool) {
	for _, r := range g.Rows {
		if r.Target == target && r.ByName == byName {
			return r, true
		}
	}
	return row{}, false
}

// ratio returns m of one row over m of a target's row in the same group, NaN when one of them was not measured.
func (g groupResult) ratio(m metric, r row, base string) float64 {
	b, found := g.row(base, false)
	if !found {
		return math.NaN()
	}
	return m.ratioOf(r, b)
}
