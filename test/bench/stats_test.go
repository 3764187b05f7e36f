package main

import (
	"math"
	"testing"
)

func TestMedianIsTheMiddle(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(test.values); got != test.want {
			t.Errorf("median of %v is %v, want %v", test.values, got, test.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing is %v", got)
	}
}

// rates makes a row whose rounds had these requests per second, and CPU times a hundredth of them.
func rates(target string, perRound ...float64) row {
	r := row{Target: target}
	for _, v := range perRound {
		r.Samples = append(r.Samples, sample{PerSecond: v, ProxyCPU: v / 100, ServerCPU: v / 100})
	}
	return r
}

func TestRatiosAreTakenWithinEachRound(t *testing.T) {
	// The machine halves its speed from round to round: each ratio is 2, while the ratio of other rounds' values is not.
	g := groupResult{Rows: []row{rates(direct, 800, 400, 200), rates(twemproxy, 400, 200, 100)}}
	if got := g.ratio(perSecond, g.Rows[0], twemproxy); got != 2 {
		t.Errorf("ratio is %v", got)
	}
	g.Rows[0] = rates(direct, 800, 100, 800)
	g.Rows[1] = rates(twemproxy, 400, 200, 200)
	if got := g.ratio(perSecond, g.Rows[0], twemproxy); got != 2 { // of 2, 0.5 and 4
		t.Errorf("ratio is %v", got)
	}
}

func TestFiguresThatDoNotApplyAreNoNumbers(t *testing.T) {
	g := groupResult{Rows: []row{rates(direct, 100), rates(scriptproxy, 50)}}
	for name, v := range map[string]float64{
		"proxy CPU of direct":           proxyCPU.medianOf(g.Rows[0]),
		"proxy CPU as ratio to direct":  g.ratio(proxyCPU, g.Rows[1], direct),
		"ratio to an unmeasured target": g.ratio(perSecond, g.Rows[1], twemproxy),
		"ratio to a measurement of 0":   metric{value: func(s sample) float64 { return s.P50 }}.ratioOf(g.Rows[1], g.Rows[0]),
	} {
		if !math.IsNaN(v) {
			t.Errorf("%s is %v", name, v)
		}
	}
}

func TestGoalsAreJudgedInTheirDirection(t *testing.T) {
	rep := report{
		Groups: []groupResult{
			{Command: "GET", Clients: 50, Pipeline: 1, Title: "GET, 50 clients, pipeline 1", Rows: []row{rates(direct, 100), rates(scriptproxy, 80), rates(twemproxy, 100)}},
			{Command: "SET", Clients: 50, Pipeline: 16, Title: "SET, 50 clients, pipeline 16", Rows: []row{rates(scriptproxy, 1), rates(twemproxy, 1)}},
			{Command: "GET", Clients: 1, Pipeline: 1, Title: "GET, 1 client, pipeline 1", Rows: []row{rates(scriptproxy, 1), rates(twemproxy, 1)}},
			{Command: "EVALSHA", Clients: 50, Pipeline: 16, Title: "EVALSHA, 50 clients, pipeline 16", Rows: []row{rates(scriptproxy, 60), {Target: scriptproxy, ByName: true, Samples: rates("", 40).Samples}, rates(twemproxy, 100)}},
		},
		Idle: []idleResult{{scriptproxy, 1000, 513}, {twemproxy, 1000, 100}},
	}
	want := []struct {
		what     string
		measured float64
		met      bool
	}{
		{"proxy CPU ÷ twemproxy's: GET, 50 clients, pipeline 1", 0.8, true},
		{"Redis CPU ÷ direct: GET, 50 clients, pipeline 1", 0.8, false},
		{"requests/s ÷ direct: GET, 50 clients, pipeline 1", 0.8, false},
		{"proxy CPU ÷ twemproxy's: EVALSHA, 50 clients, pipeline 16", 0.6, false},
		{"proxy CPU ÷ twemproxy's: EVALSHA, 50 clients, pipeline 16, by name", 0.4, true},
		{"bytes per idle connection, of 1,000", 513, false},
	}
	got := rep.goals()
	if len(got) != len(want) {
		t.Fatalf("%d goals, want %d: %+v", len(got), len(want), got)
	}
	for i, w := range want {
		if got[i].what != w.what || math.Abs(got[i].measured-w.measured) > 1e-9 || got[i].met() != w.met {
			t.Errorf("goal %d is %+v (met: %v), want %+v", i, got[i], got[i].met(), w)
		}
	}
}
