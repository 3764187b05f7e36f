//go:build linux

package protect

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// pairs is how many read-after-write pairs are tried: 10_000_000 for a long run.
var pairs = flag.Int("pairs", 0, "read-after-write pairs in each consistency test; 0: 300,000, or 60,000 under the race detector")

func pairCount() int {
	switch {
	case *pairs > 0:
		return *pairs
	case program.RaceDetector:
		return 60_000
	}
	return 300_000
}

// freeze stops one of the servers after the other for a while, and lets it go on, until stop is closed.
func freeze(t *testing.T, servers []*redisserver.Server, still, between time.Duration) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			s := servers[i%len(servers)].Process
			if err := s.Pause(); err != nil {
				t.Error(err)
			}
			time.Sleep(still)
			if err := s.Continue(); err != nil {
				t.Error(err)
			}
			select {
			case <-done:
				return
			case <-time.After(between):
			}
		}
	})
	return sync.OnceFunc(func() { close(done); wg.Wait() })
}

// tally is what came of many pairs.
type tally struct {
	pairs, stale int64
	// fromPrimary is the share of the reads that the primary answered.
	fromPrimary float64
	took        time.Duration
	example     string
}

// readAfterWrite has clients write a key of their own and read it, at once and again and again, half of them with a script, while
// replicas stop and go. Each read makes a pair with the write before it. Up to maxReads follow a write. There are at least total pairs,
// and as many more as there are within the time in which the replicas have stopped and gone on a few times.
func readAfterWrite(t *testing.T, consistency string, total, maxReads int) tally {
	t.Helper()
	primary := redisserver.Start(t)
	replicas := []*redisserver.Server{redisserver.Start(t, redisserver.ReplicaOf(primary)), redisserver.Start(t, redisserver.ReplicaOf(primary))}
	for _, r := range replicas {
		redisserver.WaitReplica(t, primary, r)
	}
	p := startProxy(t, primary, replicas, set("routing.reads", "replica"), set("routing.consistency", consistency), set("loops", 2),
		script("read", []string{readBody}))
	before := reads(primary)
	stop := freeze(t, replicas, 200*time.Millisecond, 50*time.Millisecond)
	defer stop()
	const clients, least = 48, 3 * time.Second
	var pairs, stale atomic.Int64
	var example atomic.Pointer[string]
	began := time.Now()
	var wg sync.WaitGroup
	for i := range clients {
		c := p.dial()
		wg.Go(func() {
			key := fmt.Sprintf("pair:%d", i)
			ask := []any{"GET", key}
			if i%2 == 0 {
				ask = []any{"EVALSHA", "read", 1, key}
			}
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for n := 1; ; n++ {
				want := strconv.Itoa(n)
				if reply, err := c.Do("SET", key, want); err != nil || reply != "OK" {
					t.Errorf("SET: %v, %v", reply, err)
					return
				}
				// One read at once, and more while the replicas catch up.
				for range 1 + random.IntN(maxReads) {
					if pairs.Load() >= int64(total) && time.Since(began) >= least {
						return
					}
					got, err := c.Do(ask...)
					if err != nil || isError(got) {
						t.Errorf("%v: %v, %v", ask, got, err)
						return
					}
					pairs.Add(1)
					if got != want {
						stale.Add(1)
						text := fmt.Sprintf("client %d wrote %s and read %v", i, want, got)
						example.CompareAndSwap(nil, &text)
					}
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	stop()
	got := tally{pairs: pairs.Load(), stale: stale.Load(), took: took, fromPrimary: float64(reads(primary)-before) / float64(pairs.Load())}
	if e := example.Load(); e != nil {
		got.example = *e
	}
	t.Logf("%s: %d pairs in %v, %d stale reads, %.1f %% of the reads went to the primary", consistency, got.pairs, took.Round(time.Second), got.stale, 100*got.fromPrimary)
	return got
}

// reads is how many GETs a server has carried out, those of scripts too.
func reads(s *redisserver.Server) (n int) {
	fmt.Sscanf(s.Info("commandstats")["cmdstat_get"], "calls=%d", &n)
	return n
}

func TestClientsReadTheirOwnWrites(t *testing.T) {
	// At some 400 reads a second a client goes on for up to half a second, in which replicas catch up.
	if got := readAfterWrite(t, "session", pairCount(), 200); got.stale != 0 {
		t.Errorf("%d stale reads; the first: %s", got.stale, got.example)
	} else if got.fromPrimary >= 1 {
		t.Error("no replica was read at all")
	}
}

func TestEventualConsistencyShowsTheLag(t *testing.T) {
	if got := readAfterWrite(t, "eventual", max(30_000, pairCount()/10), 2); got.stale == 0 {
		t.Error("no stale read, where they are allowed: the test shows nothing")
	} else if got.fromPrimary > .5 {
		t.Errorf("%.0f %% of the reads went to the primary", 100*got.fromPrimary)
	}
}

func TestStrongConsistencyReadsThePrimary(t *testing.T) {
	if got := readAfterWrite(t, "strong", pairCount()/50, 2); got.stale != 0 || got.fromPrimary != 1 {
		t.Errorf("%d stale reads, %.3f from the primary", got.stale, got.fromPrimary)
	}
}

func TestReplicaThatRestartsEmptyIsNotReadUntilItHasCaughtUp(t *testing.T) {
	primary := redisserver.Start(t)
	replica := redisserver.Start(t, redisserver.ReplicaOf(primary))
	primary.Do("SET", "k", "value")
	redisserver.WaitReplica(t, primary, replica)
	p := startProxy(t, primary, []*redisserver.Server{replica}, set("routing.reads", "replica"), set("loops", 2))
	var mu sync.Mutex
	wrong := map[string]int{}
	w := gather(p, "GET, replica", 20, 0, func(_ int, c *redisserver.Client) (any, error) {
		reply, err := c.Do("GET", "k")
		if reply != "value" {
			mu.Lock()
			wrong[fmt.Sprint(reply)]++
			mu.Unlock()
		}
		return reply, err
	})
	start := time.Now()
	for range 6 {
		time.Sleep(250 * time.Millisecond)
		replica.Kill()
		// It comes back without data, and is a primary of nothing until it has the primary's.
		replica.Restart()
	}
	w.report(phase{"all", start, time.Now()})
	if len(wrong) > 0 {
		t.Errorf("wrong replies: %v", wrong)
	}
	redisserver.WaitReplica(t, primary, replica)
	before := reads(replica)
	c := p.dial()
	p.Eventually("read the replica again", func() error {
		do(t, c, "GET", "k")
		if reads(replica) == before {
			return fmt.Errorf("it does not")
		}
		return nil
	})
}
