package main

import (
	"flag"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

func goldenReport() *report {
	group := func(command string, clients, pipeline int, title string, rows ...row) groupResult {
		return groupResult{Command: command, Clients: clients, Pipeline: pipeline, Title: title, Rows: rows}
	}
	measured := func(target string, byName bool, perSecond, proxy float64) row {
		return row{Target: target, ByName: byName, Samples: []sample{{PerSecond: perSecond, P50: 0.5, P99: 1.25, ProxyCPU: proxy, ProxyUser: proxy / 4, ServerCPU: 2}}}
	}
	return &report{
		Machine: machine{CPU: "a CPU", Cores: 2, Memory: "1.0 GiB", Kernel: "Linux 6.1 amd64", Go: "go1.26", Versions: []string{"Redis 7", "twemproxy 0.5"}},
		Command: "bench", Rounds: 1, Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: time.Minute,
		Noise: noiseShare{Others: 0.01, Steal: 0.002},
		Groups: []groupResult{
			group("GET", 50, 1, "GET, 50 clients, pipeline 1", measured(direct, false, 100000, 0), measured(scriptproxy, false, 120000, 5), measured(twemproxy, false, 80000, 8)),
			group("EVALSHA", 50, 1, "EVALSHA, 50 clients, pipeline 1", measured(scriptproxy, false, 1234567, 5), measured(scriptproxy, true, 90000, 5), measured(twemproxy, false, 80000, 4)),
			group("GET", 1, 1, "GET, 1 client, pipeline 1", measured(direct, false, 20000, 0)),
		},
		Idle: []idleResult{{scriptproxy, 10000, 256.4}, {twemproxy, 10000, 272}},
	}
}

func TestReportIsWrittenAsBefore(t *testing.T) {
	for s, file := range map[style]string{terminal: "testdata/report.txt", markdown: "testdata/report.md"} {
		var b strings.Builder
		if err := goldenReport().write(&b, s); err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if b.String() != string(want) {
			t.Errorf("%s differs (run with -update when that is meant); got:\n%s", file, b.String())
		}
	}
}

func TestFailedWriteOfAReportIsAnError(t *testing.T) {
	if err := goldenReport().write(fullDisk{}, markdown); err == nil {
		t.Error("no error")
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestNumbersAreGroupedByThousands(t *testing.T) {
	for _, test := range []struct {
		v         float64
		precision int
		want      string
	}{
		{0, 0, "0"}, {999, 0, "999"}, {1000, 0, "1,000"}, {1234567.891, 2, "1,234,567.89"}, {-1234, 0, "-1,234"}, {math.NaN(), 2, "–"},
	} {
		if got := thousands(test.v, test.precision); got != test.want {
			t.Errorf("%v is written %q, want %q", test.v, got, test.want)
		}
	}
}
