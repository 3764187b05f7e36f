//go:build linux

package protect

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// counter is one client's count: what it was told, and how often it was not told anything.
type counter struct {
	acked, failed atomic.Int64
	last          atomic.Int64 // when it was told, in nanoseconds
}

// handOver makes to the primary and from its replica, as an operator does by hand: no write is taken while to catches up.
func handOver(t *testing.T, from, to *redisserver.Server) {
	t.Helper()
	if got := from.Do("CLIENT", "PAUSE", 10_000, "WRITE"); got != "OK" {
		t.Fatalf("CLIENT PAUSE: %v", got)
	}
	redisserver.WaitReplica(t, from, to)
	if got := to.Do("REPLICAOF", "NO", "ONE"); got != "OK" {
		t.Fatalf("REPLICAOF NO ONE: %v", got)
	}
	if got := from.Do("REPLICAOF", "127.0.0.1", strconv.Itoa(to.Port())); got != "OK" {
		t.Fatalf("REPLICAOF: %v", got)
	}
	if got := from.Do("CLIENT", "UNPAUSE"); got != "OK" {
		t.Fatalf("CLIENT UNPAUSE: %v", got)
	}
}

func TestManualFailoverBothWaysLosesNoAcknowledgedWrite(t *testing.T) {
	a, b := redisserver.StartPair(t)
	p := startProxy(t, a, []*redisserver.Server{b}, set("loops", 2), script("count", []string{"return redis.call('INCR', KEYS[1])"}))
	const clients = 30
	counts := make([]counter, clients)
	start := time.Now()
	w := gather(p, "INCR and script", clients, time.Millisecond, func(i int, c *redisserver.Client) (any, error) {
		ask := []any{"INCR", fmt.Sprintf("count:%d", i)}
		if i%2 == 0 {
			ask = []any{"EVALSHA", "count", 1, ask[1]}
		}
		reply, err := c.Do(ask...)
		if n, ok := reply.(int64); ok {
			counts[i].acked.Store(n)
			counts[i].last.Store(time.Now().UnixNano())
		} else {
			counts[i].failed.Add(1)
		}
		return reply, err
	})
	primary, replica := a, b
	for round := range 4 {
		time.Sleep(400 * time.Millisecond)
		handOver(t, primary, replica)
		primary, replica = replica, primary
		switched := time.Now()
		for end := switched.Add(patience); ; time.Sleep(time.Millisecond) {
			late := 0
			for i := range counts {
				if counts[i].last.Load() < switched.UnixNano() {
					late++
				}
			}
			if late == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("round %d: %d clients could not write within %v", round+1, late, patience)
			}
		}
		t.Logf("round %d: every client wrote again within %v of the nodes' switch", round+1, time.Since(switched).Round(time.Millisecond))
		// The proxy knows by now: nothing more may go to the one that is a replica.
		refused := w.refusals("READONLY")
		time.Sleep(300 * time.Millisecond)
		if n := w.refusals("READONLY"); n != refused {
			t.Errorf("round %d: %d writes were sent to the replica long after the switch", round+1, n-refused)
		}
	}
	fails := w.report(phase{"all", start, time.Now()})
	for code := range fails {
		if code != "READONLY" && code != "UNAVAILABLE" {
			t.Errorf("clients were told %s: %s", code, w.texts[code])
		}
	}
	for i := range counts {
		text, _ := primary.Do("GET", fmt.Sprintf("count:%d", i)).(string)
		n, _ := strconv.ParseInt(text, 10, 64)
		if acked, failed := counts[i].acked.Load(), counts[i].failed.Load(); n < acked || n > acked+failed {
			t.Errorf("client %d was told %d, with %d failures, and the count is %d", i, acked, failed, n)
		}
	}
}

func TestTwoPrimariesGetNoTrafficUntilItIsClear(t *testing.T) {
	a, b := redisserver.StartPair(t)
	p := startProxy(t, a, []*redisserver.Server{b}, set("routing.reads", "replica"))
	c := p.dial()
	if got := do(t, c, "SET", "k", 1); got != "OK" {
		t.Fatal(got)
	}
	redisserver.WaitReplica(t, a, b)
	b.Do("REPLICAOF", "NO", "ONE")
	b.Do("SET", "newer", strings.Repeat("x", 1000))
	p.Eventually("refuse writes", func() error {
		if got := do(t, c, "SET", "k", 2); !isError(got, "UNAVAILABLE no primary", a.Addr(), b.Addr(), "all say they are the primary", b.Addr()+" with the newest offset", "did not run") {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	if got := do(t, c, "GET", "k"); !isError(got, "UNAVAILABLE") {
		t.Errorf("a read: %v", got)
	}
	// b has the newer data, a the clients: both are told, here and in the metrics.
	if got := do(t, c, "SET", "k", 2); !isError(got, b.Addr()+" with the newest offset", "and "+a.Addr()+" was it until now") {
		t.Errorf("what speaks for whom: %v", got)
	}
	p.Eventually("count it, and show who is in it and which has the newer data", func() error {
		m := p.Metrics()
		for _, s := range []*redisserver.Server{a, b} {
			if n := m[fmt.Sprintf("scriptproxy_primary_conflicts_total{node=%q}", s.Addr())]; n != 1 {
				return fmt.Errorf("%v conflicts of %s were counted", n, s.Addr())
			}
			if up := m[fmt.Sprintf("scriptproxy_upstream_up{node=%q,role=\"primary\"}", s.Addr())]; up != 1 {
				return fmt.Errorf("%s is not shown as a primary that is up", s.Addr())
			}
		}
		of := func(s *redisserver.Server) float64 {
			return m[fmt.Sprintf("scriptproxy_upstream_offset_bytes{node=%q}", s.Addr())]
		}
		if of(b) <= of(a) || of(a) == 0 {
			return fmt.Errorf("offsets %v and %v", of(a), of(b))
		}
		return nil
	})
	if status, body := p.Get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "all say they are the primary") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if !strings.Contains(p.Log(), "no primary") {
		t.Error("the log does not say so")
	}
	value := a.Do("GET", "k")
	never(t, 500*time.Millisecond, func() error {
		if got := do(t, c, "SET", "k", 3); !isError(got, "UNAVAILABLE") {
			return fmt.Errorf("a write: %v", got)
		}
		return nil
	})
	if got := a.Do("GET", "k"); got != value || b.Do("GET", "k") != "1" {
		t.Errorf("writes got through: %v, then %v", value, got)
	}
	a.Do("REPLICAOF", "127.0.0.1", strconv.Itoa(b.Port()))
	cleared := time.Now()
	p.Eventually("write to the one that is left", func() error {
		if got := do(t, c, "SET", "k", 4); got != "OK" {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	t.Logf("writes are taken again %v after it was clear", time.Since(cleared).Round(time.Millisecond))
	if got := b.Do("GET", "k"); got != "4" {
		t.Errorf("the write went elsewhere: %v", got)
	}
}

func TestPrimaryThatRestartsAsReplicaIsFollowed(t *testing.T) {
	a, b := redisserver.StartPair(t)
	p := startProxy(t, a, []*redisserver.Server{b}, set("loops", 2))
	c := p.dial()
	do(t, c, "SET", "k", "old")
	redisserver.WaitReplica(t, a, b)
	a.Kill()
	b.Do("REPLICAOF", "NO", "ONE")
	p.Eventually("write to the promoted one", func() error {
		if got := do(t, c, "SET", "k", "new"); got != "OK" {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	// It comes back empty and as a primary, until the operator says otherwise.
	a.Restart()
	a.Do("REPLICAOF", "127.0.0.1", strconv.Itoa(b.Port()))
	redisserver.WaitReplica(t, b, a)
	p.Eventually("serve again", func() error {
		if got := do(t, c, "GET", "k"); got != "new" {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	if got := do(t, c, "SET", "k", "newer"); got != "OK" || b.Do("GET", "k") != "newer" {
		t.Errorf("a write: %v, and the primary has %v", got, b.Do("GET", "k"))
	}
}
