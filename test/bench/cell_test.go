package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func startTestBed(t *testing.T) *bed {
	t.Helper()
	b, err := startBed(options{}, []string{direct})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}

func TestEveryCommandIsMeasuredAndCountedByTheServer(t *testing.T) {
	b := startTestBed(t)
	for _, c := range []command{get, set, evalsha} {
		for _, l := range []load{{1, 1}, {50, 16}} {
			s, err := runCell(context.Background(), b, b.targets[0], c, l, 2000)
			if err != nil {
				t.Errorf("%s, %+v: %v", c.name, l, err)
				continue
			}
			if s.Requests < 2000 || s.PerSecond <= 0 || s.P50 <= 0 || s.P99 < s.P50 || s.ServerCPU <= 0 || s.ProxyCPU != 0 {
				t.Errorf("%s, %+v: implausible %+v", c.name, l, s)
			}
		}
	}
}

func TestWrongRepliesAreNotMeasured(t *testing.T) {
	b := startTestBed(t)
	if _, err := runCell(context.Background(), b, b.targets[0], evalshaByName, load{1, 1}, 10); err == nil || !strings.Contains(err.Error(), "NOSCRIPT") {
		t.Errorf("EVALSHA by name at a bare server: %v", err)
	}
	if reply, err := b.admin.Do("SET", "key:000000000042", "other"); err != nil || reply != "OK" {
		t.Fatalf("SET: %v, %v", reply, err)
	}
	if _, err := runCell(context.Background(), b, b.targets[0], get, load{1, 1}, 10); err == nil || !strings.Contains(err.Error(), "wrong") {
		t.Errorf("GET of another value: %v", err)
	}
}

func TestErrorsDuringACellEndTheRun(t *testing.T) {
	b := startTestBed(t)
	// The key that is looked at beforehand is right; most others are of the wrong type.
	for i := range 40 {
		key := "key:00000000000" + string(rune('0'+i%10))
		if _, err := b.admin.Do("DEL", key); err != nil {
			t.Fatal(err)
		}
		if _, err := b.admin.Do("RPUSH", key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := runCell(context.Background(), b, b.targets[0], get, load{1, 1}, 200000)
	if err == nil || !strings.Contains(err.Error(), "WRONGTYPE") && !strings.Contains(err.Error(), "errors") {
		t.Errorf("got %v", err)
	}
}

func TestRequestsThatDidNotReachTheServerEndTheRun(t *testing.T) {
	b := startTestBed(t)
	other := redisserver.Start(t)
	if err := fill(other.Addr()); err != nil {
		t.Fatal(err)
	}
	_, err := runCell(context.Background(), b, &target{name: direct, port: other.Port()}, get, load{1, 1}, 100)
	if err == nil || !strings.Contains(err.Error(), "executed 0 of 100") {
		t.Errorf("got %v", err)
	}
}

func TestCalibrationFindsHowManyRequestsACellNeeds(t *testing.T) {
	b := startTestBed(t)
	n, err := requestsFor(context.Background(), b, &cell{target: b.targets[0], command: get}, group{get, 50, 1}, options{seconds: 2})
	if err != nil || n < 1000 {
		t.Errorf("got %d, %v", n, err)
	}
	n, err = requestsFor(context.Background(), b, &cell{}, group{get, 50, 1}, options{seconds: 2, requests: 77})
	if err != nil || n != 77 {
		t.Errorf("with -requests: %d, %v", n, err)
	}
}

func TestRoundsKeepTheirSamplesInOrderOfTheRows(t *testing.T) {
	b := startTestBed(t)
	b.targets = append(b.targets, &target{name: twemproxy, port: b.server.Port()}) // a second way to the same server
	results, err := measureGroups(context.Background(), b, []group{{get, 1, 1}, {evalsha, 1, 1}}, options{rounds: 3, requests: 100}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range results {
		if len(g.Rows) != 2 || g.Rows[0].Target != direct || g.Rows[1].Target != twemproxy {
			t.Fatalf("rows are %+v", g.Rows)
		}
		for _, r := range g.Rows {
			if len(r.Samples) != 3 {
				t.Errorf("%s through %s has %d samples", g.Title, r.Target, len(r.Samples))
			}
		}
	}
}

func TestEvalshaByNameIsMeasuredThroughScriptproxyOnly(t *testing.T) {
	b := &bed{targets: []*target{{name: direct}, {name: scriptproxy}, {name: twemproxy}}}
	var rows []string
	for _, c := range cellsOf(b, group{evalsha, 50, 1}) {
		rows = append(rows, rowTitle(c.target.name, c.command.byName))
	}
	if want := []string{direct, scriptproxy, "scriptproxy, by name", twemproxy}; !slices.Equal(rows, want) {
		t.Errorf("rows are %q, want %q", rows, want)
	}
	if got := cellsOf(b, group{get, 50, 1}); len(got) != 3 {
		t.Errorf("GET has %d rows", len(got))
	}
}

func TestGroupsAreChosenByPartsOfTheirTitles(t *testing.T) {
	for only, want := range map[string]int{"": 12, "GET": 4, "EVALSHA, 50 clients": 2, "GET, 1 client,SET, 1000": 2, "idle": 0, "nothing": 0} {
		groups, idle := chooseGroups(only)
		if len(groups) != want || idle != (only == "" || only == "idle") {
			t.Errorf("%q chooses %d groups, idle %v", only, len(groups), idle)
		}
	}
}

func TestCSVIsReadByItsHeadings(t *testing.T) {
	s, err := parseCSV([]byte("\"test\",\"rps\",\"x\",\"p50_latency_ms\",\"p99_latency_ms\"\n\"EVALSHA a, b\",\"75187.97\",\"1\",\"0.343\",\"1.031\"\n"))
	if err != nil || s.PerSecond != 75187.97 || s.P50 != 0.343 || s.P99 != 1.031 {
		t.Errorf("got %+v, %v", s, err)
	}
	for _, broken := range []string{"", "\"test\",\"rps\"\n", "\"test\",\"rps\"\n\"GET\",\"1\"\n", "\"rps\",\"p50_latency_ms\",\"p99_latency_ms\"\n\"0\",\"1\",\"1\"\n"} {
		if _, err := parseCSV([]byte(broken)); err == nil {
			t.Errorf("%q is no error", broken)
		}
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for _, args := range [][]string{{"-rounds", "0"}, {"-seconds", "0"}, {"-requests", "-1"}, {"extra"}, {"-nonsense"}} {
		if _, err := parseFlags(args, io.Discard); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
	o, err := parseFlags([]string{"-smoke"}, io.Discard)
	if err != nil || o.rounds != 1 || o.requests == 0 {
		t.Errorf("-smoke gives %+v, %v", o, err)
	}
	if _, err := chooseTargets("direct,envoy"); err == nil {
		t.Error("an unknown target is no error")
	}
	if got, err := chooseTargets("twemproxy,direct"); err != nil || !slices.Equal(got, []string{direct, twemproxy}) {
		t.Errorf("targets are %q, %v", got, err)
	}
}

func TestMissingProxyBinaryIsNamed(t *testing.T) {
	_, err := startTarget(scriptproxy, 1, 0, options{proxy: "no/such/scriptproxy"})
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("got %v", err)
	}
}
