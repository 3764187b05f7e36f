//go:build linux

package registry

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/figures"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

const fleetSize = 5

func newFleet(t *testing.T, n int, settings object, primary *redisserver.Server) []*proxy {
	t.Helper()
	fleet := make([]*proxy, n)
	for i := range fleet {
		fleet[i] = newProxy(t, settings, primary)
		fleet[i].launch()
	}
	for _, p := range fleet {
		p.AwaitReady()
	}
	return fleet
}

// prober is a client that calls a script all the time.
type prober struct {
	mu    sync.Mutex
	reply string
	since time.Time // of the first call which was answered so
	err   error
}

func (p *prober) run(c *redisserver.Client, stop *atomic.Bool) {
	for !stop.Load() {
		v, err := c.Do("EVALSHA", "which", 0)
		now := time.Now()
		p.mu.Lock()
		if text, ok := v.(string); !ok || err != nil {
			p.err = fmt.Errorf("%v, %v", v, err)
		} else if text != p.reply {
			p.reply, p.since = text, now
		}
		p.mu.Unlock()
		time.Sleep(100 * time.Microsecond)
	}
}

// says returns since when the answer is want; ok is false while it is another.
func (p *prober) says(want string) (since time.Time, ok bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.since, p.reply == want, p.err
}

func TestFleetSwitchesWithOneCommand(t *testing.T) {
	primary, store := redisserver.Start(t), redisserver.Start(t)
	settings := object{"scripts": declare("which", "return 'v1'", "return 'v2'"), "registry": onRedis(store)}
	fleet := newFleet(t, fleetSize, settings, primary)
	var stop atomic.Bool
	var wg sync.WaitGroup
	probers := make([]*prober, len(fleet))
	for i, p := range fleet {
		probers[i] = &prober{}
		c := p.client()
		wg.Go(func() { probers[i].run(c, &stop) })
	}
	defer wg.Wait()
	defer stop.Store(true)

	var last, answered []time.Duration
	for range *repetitions {
		fleet[0].change("/api/v1/scripts/which/activate", object{"version": "v2"})
		allSay(t, probers, "v2")
		sent := time.Now()
		revision := fleet[1].change("/api/v1/scripts/which/rollback", object{})
		if status, e := fleet[1].api(http.MethodGet, fmt.Sprintf("/api/v1/wait?revision=%d&timeout=30s", revision), nil); status != http.StatusOK {
			t.Fatalf("waiting for the fleet: %v", e["error"])
		}
		returned := time.Now()
		for _, p := range fleet {
			c := p.client()
			if v := do(t, c, "EVALSHA", "which", 0); v != "v1" {
				t.Fatalf("%s answers %v after the wait", p.addr, v)
			}
			c.Close()
		}
		last = append(last, allSay(t, probers, "v1").Sub(sent))
		answered = append(answered, returned.Sub(sent))
	}
	report(t, last, answered)
}

// allSay waits until all probers get an answer, and returns when the last of them first did.
func allSay(t *testing.T, probers []*prober, want string) (latest time.Time) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for i, p := range probers {
		for {
			since, ok, err := p.says(want)
			if err != nil {
				t.Fatalf("the client of proxy %d: %v", i, err)
			}
			if ok {
				if since.After(latest) {
					latest = since
				}
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("proxy %d does not answer %s", i, want)
			}
			time.Sleep(200 * time.Microsecond)
		}
	}
	return latest
}

func report(t *testing.T, last, answered []time.Duration) {
	t.Helper()
	row := func(what string, d []time.Duration) string {
		return fmt.Sprintf("| %s | %s | %s | %s |\n", what, quantile(d, 0.5), quantile(d, 0.99), quantile(d, 1))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d rollbacks on %d proxies that share a registry in Redis, with a client calling each of them all the time;\n", len(last), fleetSize)
	fmt.Fprintf(&b, "one machine with %d CPUs (%s/%s) for proxies, servers and clients together.\n\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	b.WriteString("| from the command | median | p99 | longest |\n|---|---|---|---|\n")
	b.WriteString(row("to the first call of the last proxy that runs the version before", last))
	b.WriteString(row("to the answer that every proxy serves it", answered))
	t.Log("\n" + b.String())
	if *markdown == "" {
		return
	}
	if err := figures.Put(*markdown, "fleet", b.String()); err != nil {
		t.Error(err)
	}
}

func TestOfTwoOperatorsOneGetsTheConflictAndTheCurrentState(t *testing.T) {
	primary, store := redisserver.Start(t), redisserver.Start(t)
	settings := object{"scripts": declare("which", "return 1", "return 2", "return 3"), "registry": onRedis(store)}
	fleet := newFleet(t, 2, settings, primary)
	for round := range 10 {
		// Both looked at the same state.
		base := `"` + fmt.Sprint(fleet[0].change("/api/v1/scripts/which/activate", object{"version": "v1", "why": "round " + fmt.Sprint(round)})) + `"`
		if _, e := fleet[1].api(http.MethodGet, "/api/v1/wait", nil); e["error"] != nil {
			t.Fatal(e["error"])
		}
		var wg sync.WaitGroup
		status, answers := make([]int, 2), make([]object, 2)
		for i, p := range fleet {
			wg.Go(func() {
				var err error
				status[i], answers[i], err = p.try(http.MethodPost, "/api/v1/scripts/which/activate", object{"version": fmt.Sprintf("v%d", i+2), "who": fmt.Sprintf("operator %d", i)}, "If-Match", base)
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		winner := 0
		if status[1] == http.StatusOK {
			winner = 1
		}
		loser := 1 - winner
		if status[winner] != http.StatusOK || status[loser] != http.StatusPreconditionFailed || answers[loser]["code"] != "conflict" {
			t.Fatalf("round %d: status %v, %v and %v", round, status, answers[0]["error"], answers[1]["error"])
		}
		want := fmt.Sprintf("v%d", winner+2)
		if current := answers[loser]["current"].(object); current["active"] != want || current["changed_by"] != fmt.Sprintf("operator %d", winner) {
			t.Errorf("round %d: the loser is told %v", round, current)
		}
		if _, e := fleet[loser].api(http.MethodGet, fmt.Sprintf("/api/v1/wait?revision=%v", answers[winner]["revision"]), nil); e["error"] != nil {
			t.Fatal(e["error"])
		}
		for _, p := range fleet {
			if got := p.active("which"); got != want {
				t.Errorf("round %d: %s is active on %s, not %s", round, got, p.addr, want)
			}
		}
	}
	// Without If-Match, changes of different scripts and plain repetitions get along: nothing is lost.
	_, audit := fleet[0].api(http.MethodGet, "/api/v1/audit?limit=100", nil)
	moves := 0
	for _, c := range audit["changes"].([]any) {
		if c.(object)["action"] == "activate" {
			moves++
		}
	}
	if moves != 19 { // the first round finds v1 active
		t.Errorf("the audit log has %d activations, not 19", moves)
	}
}

func TestProxiesServeWithoutTheirStoreAndFollowWhenItIsBack(t *testing.T) {
	primary, store := redisserver.Start(t), redisserver.Start(t, redisserver.AOF())
	settings := object{"scripts": declare("which", "return 'v1'", "return 'v2'"), "registry": onRedis(store)}
	fleet := newFleet(t, 2, settings, primary)
	fleet[0].must("script", "activate", "-yes", "which", "v2")
	store.Kill()
	for _, p := range fleet {
		if v := do(t, p.client(), "EVALSHA", "which", 0); v != "v2" {
			t.Errorf("%s answers %v without the store", p.addr, v)
		}
	}
	if r := fleet[0].cli("script", "rollback", "which"); r.code != 1 || !strings.Contains(r.stderr, "cannot be reached") {
		t.Errorf("a rollback without the store: status %d, %s", r.code, r.stderr)
	}
	store.Restart()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		r := fleet[0].cli("script", "rollback", "which")
		if r.code == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the store is back, and: %s", r.stderr)
		}
	}
	for _, p := range fleet {
		if v := do(t, p.client(), "EVALSHA", "which", 0); v != "v1" {
			t.Errorf("%s answers %v after the rollback", p.addr, v)
		}
	}
}
