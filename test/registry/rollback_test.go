//go:build linux

package registry

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// good moves money; bad makes some out of nothing, and leaves a trace of each run.
const (
	good = `local n = tonumber(ARGV[1])
redis.call('DECRBY', KEYS[1], n) redis.call('INCRBY', KEYS[2], n)
return 'good'`
	bad = `local n = tonumber(ARGV[1])
redis.call('DECRBY', KEYS[1], n) redis.call('INCRBY', KEYS[2], n + 1) redis.call('INCR', 'runs of bad')
return 'bad'`
)

// caller is one client in a closed loop.
type caller struct {
	addr string
	form []any // EVALSHA or EVAL with what names the script

	began    []time.Duration // of calls that ran bad, since the start
	took     []timed
	failures []string
}

type timed struct{ at, took time.Duration }

func (c *caller) run(t0 time.Time, stop *atomic.Bool, id int) {
	conn, err := redisserver.DialClient(c.addr, "")
	if err != nil {
		c.failures = append(c.failures, err.Error())
		return
	}
	defer conn.Close()
	call := append(slices.Clone(c.form), 2, "account:"+strconv.Itoa(id%100), "account:"+strconv.Itoa((id+1)%100), 1)
	for !stop.Load() {
		at := time.Since(t0)
		reply, err := conn.Do(call...)
		c.took = append(c.took, timed{at, time.Since(t0) - at})
		switch {
		case err != nil:
			c.failures = append(c.failures, err.Error())
			return
		case reply == "bad":
			c.began = append(c.began, at)
		case reply != "good":
			c.failures = append(c.failures, fmt.Sprint(reply))
		}
	}
}

func TestRollbackReachesEveryClientWhateverItCarries(t *testing.T) {
	primary, replica := redisserver.StartPair(t)
	p := newProxy(t, object{"scripts": declare("transfer", good, bad)}, primary, replica).start()
	forms := [][]any{
		{"EVALSHA", "transfer"},
		{"EVALSHA", registry.SHA([]byte(good))},
		{"EVALSHA", registry.SHA([]byte(bad))},
		{"EVAL", bad},
	}
	for i := range 100 {
		primary.Do("SET", "account:"+strconv.Itoa(i), 1000)
	}

	t0 := time.Now()
	var stop atomic.Bool
	var wg sync.WaitGroup
	callers := make([]*caller, crowd())
	for i := range callers {
		callers[i] = &caller{addr: p.addr, form: forms[i%len(forms)]}
		wg.Go(func() { callers[i].run(t0, &stop, i) })
	}
	time.Sleep(700 * time.Millisecond)
	if runs := primary.Do("GET", "runs of bad"); runs != nil {
		t.Errorf("v2 ran %v times before it was active", runs)
	}
	total := balance(t, primary)

	activated := time.Since(t0)
	p.must("script", "activate", "-yes", "transfer", "v2")
	for deadline := time.Now().Add(patience); primary.Do("GET", "runs of bad") == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("v2 does not run although it is active")
		}
	}
	time.Sleep(300 * time.Millisecond)

	rolling := time.Since(t0)
	p.must("script", "rollback", "transfer")
	rolled := time.Since(t0)
	runs := primary.Do("GET", "runs of bad")
	time.Sleep(700 * time.Millisecond)
	stop.Store(true)
	wg.Wait()

	if later := primary.Do("GET", "runs of bad"); later != runs {
		t.Errorf("v2 had run %v times when the rollback returned, and %v times later", runs, later)
	}
	n, _ := strconv.Atoi(fmt.Sprint(runs))
	if now := balance(t, primary); now != total+n {
		t.Errorf("%d runs of v2 made %d out of nothing", n, now-total)
	}
	var before, after []time.Duration
	calls := 0
	for i, c := range callers {
		for _, f := range c.failures {
			t.Errorf("client %d, which says %.20v: %s", i, c.form, f)
		}
		for _, at := range c.began {
			if at > rolled || at < activated {
				t.Errorf("a call begun %s after the rollback returned ran v2 (%.20v)", at-rolled, c.form)
			}
		}
		for _, m := range c.took {
			switch {
			case m.at < activated:
				before = append(before, m.took)
			case m.at > rolling:
				after = append(after, m.took)
			}
		}
		calls += len(c.took)
	}
	t.Logf("%d clients, %d calls, %d ran v2; the rollback took %s; p99 before %s, from the rollback on %s",
		len(callers), calls, n, (rolled - rolling).Round(time.Millisecond), quantile(before, 0.99), quantile(after, 0.99))
}

// balance sums the accounts in one step.
func balance(t *testing.T, s *redisserver.Server) int {
	t.Helper()
	sum := s.Do("EVAL", "local sum = 0 for i = 0, 99 do sum = sum + redis.call('GET', 'account:' .. i) end return sum", 0)
	n, ok := sum.(int64)
	if !ok {
		t.Fatalf("the sum of the accounts is %v", sum)
	}
	return int(n)
}

func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(q*float64(len(d))))].Round(10 * time.Microsecond)
}
