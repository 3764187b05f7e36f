//go:build linux

package registry

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/figures"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// scaleBody is a script of about 500 bytes, as long as scripts usually are, and each different.
func scaleBody(i int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- script number %d\nlocal sum = %d\n", i, i)
	for k := range 8 {
		fmt.Fprintf(&b, "local part%d = tonumber(redis.call('GET', KEYS[1]) or '%d')\nsum = sum + part%d\n", k, k, k)
	}
	return b.String() + "return sum"
}

func scaleSum(i int) int64 { return int64(i + 28) } // 0 + 1 + … + 7

// TestManyScriptsOnManyServers has one proxy in front of many sets of servers, each with every script: the cold preload, calls on all,
// an activation, and a compaction under load. With -servers 100 -scripts 10000 it gives the figures of docs/benchmarks.md.
func TestManyScriptsOnManyServers(t *testing.T) {
	servers, scripts := *scaleServers, *scaleScripts
	dir := t.TempDir()
	for i := range scripts {
		script := filepath.Join(dir, "s"+strconv.Itoa(i))
		if err := os.MkdirAll(script, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(script, "v1.lua"), scaleBody(i))
	}
	nodes := make([]*redisserver.Server, servers)
	for i := range nodes {
		nodes[i] = redisserver.Start(t)
	}
	s := newSite(t, object{
		"scripts": object{"dir": dir, "list": []object{{"name": "which", "active": "v1", "versions": versions("return 'v1'", "return 'v2'")}}},
		"log":     object{"format": "text", "level": "info"},
	}, nodes...)

	s.patience = scalePatience
	report := &scaleReport{servers: servers, scripts: scripts}
	began := time.Now()
	s.launch()
	shown := false
	for {
		status, text := s.tryReadiness()
		shown = shown || strings.Contains(text, "scripts are being loaded on ") && strings.Contains(text, " of ")
		if status == http.StatusOK {
			break
		}
		if time.Since(began) > scalePatience {
			t.Fatalf("not ready: %d %s\n%s", status, text, s.Log())
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.awaitAllLoaded(nodes, scripts+2)
	report.add("from the start to scripts on all servers, cold", time.Since(began))
	if servers > 10 && !shown {
		t.Error("readiness did not tell how far the loading is")
	}
	report.memory("memory of the proxy, loaded", s.Memory("VmRSS"))

	load := s.startScaleLoad(nodes, scripts)
	load.more(t, servers*20)
	report.latency("before", load.latencies())

	for i, n := range nodes {
		junk(t, n, scripts/10+1)
		if got := cached(t, n); got < scripts+2+scripts/10 {
			t.Fatalf("server %d has %d scripts", i, got)
		}
	}
	load.latencies()
	began = time.Now()
	s.must("script", "compact", "-yes")
	report.add("compaction of all servers under load", time.Since(began))
	report.latency("during the compaction", load.latencies())
	for i, n := range nodes {
		if got := cached(t, n); got > scripts+2 {
			t.Errorf("server %d has %d scripts after the compaction", i, got)
		}
	}

	load.latencies()
	began = time.Now()
	s.must("script", "activate", "which", "v2", "-yes")
	report.add("activation on all servers", time.Since(began))
	for name := range s.addrs {
		want(t, do(t, s.on(name), "EVALSHA", "which", 0), "v2")
	}

	began = time.Now()
	body := filepath.Join(t.TempDir(), "v3.lua")
	writeFile(t, body, "return 'v3'")
	s.must("script", "load", "-yes", "which", body)
	s.must("script", "activate", "-yes", "which", "v3")
	report.add("load and activation of a new version on all servers", time.Since(began))
	for name := range s.addrs {
		want(t, do(t, s.on(name), "EVALSHA", "which", 0), "v3")
	}
	load.stop(t)
	report.memory("memory of the proxy, in the end", s.Memory("VmRSS"))

	s.Stop()
	began = time.Now()
	s.start()
	s.awaitAllLoaded(nodes, scripts+2)
	report.add("from a restart to scripts on all servers, which have them", time.Since(began))
	t.Log("\n" + report.String())
	if *scaleMarkdown != "" {
		if err := figures.Put(*scaleMarkdown, "scale", report.String()); err != nil {
			t.Error(err)
		}
	}
}

// scalePatience bounds the wait for a million scripts.
const scalePatience = 10 * time.Minute

// awaitAllLoaded waits until every server has so many scripts, as the proxy knows.
func (s *site) awaitAllLoaded(nodes []*redisserver.Server, scripts int) {
	s.t.Helper()
	for deadline := time.Now().Add(scalePatience); ; time.Sleep(50 * time.Millisecond) {
		if strings.Contains(s.Log(), fmt.Sprintf("nodes_ready=%d nodes_up=%d", len(nodes), len(nodes))) && cached(s.t, nodes[len(nodes)-1]) >= scripts {
			return
		}
		all := true
		for _, n := range nodes {
			all = all && cached(s.t, n) >= scripts
		}
		if all {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("not every server has its scripts\n%s", s.Log())
		}
	}
}

// tryReadiness is readiness for a proxy that may not listen yet.
func (s *site) tryReadiness() (status int, text string) {
	err := s.Ready()
	if err == nil {
		return http.StatusOK, ""
	}
	return http.StatusServiceUnavailable, err.Error()
}

// scaleLoad is one client for each server, which calls any script by its name, and looks at every answer.
type scaleLoad struct {
	ended atomic.Bool
	all   sync.WaitGroup
	calls atomic.Int64
	mu    sync.Mutex
	took  []time.Duration
	wrong []string
}

func (s *site) startScaleLoad(nodes []*redisserver.Server, scripts int) *scaleLoad {
	s.t.Helper()
	l := &scaleLoad{}
	for i := range nodes {
		c := s.on("u" + strconv.Itoa(i))
		l.all.Go(func() {
			for !l.ended.Load() {
				k := rand.IntN(scripts)
				began := time.Now()
				v, err := c.Do("EVALSHA", "s"+strconv.Itoa(k), 1, "absent")
				took := time.Since(began)
				l.mu.Lock()
				l.took = append(l.took, took)
				if (err != nil || v != scaleSum(k)) && len(l.wrong) < 10 {
					l.wrong = append(l.wrong, fmt.Sprintf("script %d on server %d: %v, %v", k, i, v, err))
				}
				l.mu.Unlock()
				l.calls.Add(1)
				if err != nil {
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	return l
}

// more waits for so many more calls.
func (l *scaleLoad) more(t *testing.T, calls int) {
	t.Helper()
	until := l.calls.Load() + int64(calls)
	for deadline := time.Now().Add(patience); l.calls.Load() < until; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the clients do not go on")
		}
	}
}

// latencies gives those since it was asked last.
func (l *scaleLoad) latencies() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.took
	l.took = nil
	slices.Sort(took)
	return took
}

func (l *scaleLoad) stop(t *testing.T) {
	t.Helper()
	l.ended.Store(true)
	l.all.Wait()
	if len(l.wrong) > 0 {
		t.Errorf("%d calls; wrong: %s", l.calls.Load(), strings.Join(l.wrong, "; "))
	}
}

// scaleReport is the table of docs/benchmarks.md.
type scaleReport struct {
	servers, scripts int
	lines            []string
}

func (r *scaleReport) add(what string, d time.Duration) {
	r.lines = append(r.lines, fmt.Sprintf("| %s | %.2f s |", what, d.Seconds()))
}

func (r *scaleReport) memory(what string, bytes int64) {
	r.lines = append(r.lines, fmt.Sprintf("| %s | %.0f MiB |", what, float64(bytes)/(1<<20)))
}

func (r *scaleReport) latency(when string, took []time.Duration) {
	if len(took) == 0 {
		return
	}
	at := func(share float64) float64 {
		return took[int(share*float64(len(took)-1))].Seconds() * 1000
	}
	r.lines = append(r.lines, fmt.Sprintf("| calls %s: number, p50, p99, longest | %d, %.1f ms, %.1f ms, %.0f ms |", when, len(took), at(.5), at(.99), at(1)))
}

func (r *scaleReport) String() string {
	return fmt.Sprintf("%d scripts of about 500 bytes on %d servers, with the servers and the clients on the same %d CPUs as the proxy:\n\n| | |\n|---|---|\n%s\n",
		r.scripts, r.servers, runtime.NumCPU(), strings.Join(r.lines, "\n"))
}
