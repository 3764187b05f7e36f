//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// transferBodies: the first version loses what it takes, so that money is conserved only if nobody ever runs it.
var transferBodies = []string{
	"return {redis.call('DECRBY', KEYS[1], ARGV[1]), 0}",
	`local have = tonumber(redis.call('GET', KEYS[1]) or '0')
local amount = tonumber(ARGV[1])
if have < amount then
  return redis.error_reply('FUNDS ' .. KEYS[1] .. ' has only ' .. have)
end
return {redis.call('DECRBY', KEYS[1], amount), redis.call('INCRBY', KEYS[2], amount)}`,
}

const openingBalance = 1000

// holder is a client with an account that nobody else touches, so that it knows each reply in advance. What it pays goes
// to accounts that all share.
type holder struct {
	c       *redis.Client
	account string
	balance int64
	calls   int64 // of registered scripts
}

// check compares the balance in a transfer's reply.
func (h *holder) check(reply any, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", h.account, err)
	}
	items, ok := reply.([]any)
	if !ok || len(items) != 2 || items[0] != h.balance {
		return fmt.Errorf("%s: reply %v, want a balance of %d", h.account, reply, h.balance)
	}
	return nil
}

// pay expects to be told the balance after paying.
func (h *holder) pay() (keys []string, amount int64) {
	amount = 1 + rand.Int64N(3)
	if h.balance < 50 {
		amount = 0
	}
	h.balance -= amount
	h.calls++
	return []string{h.account, "shared:" + strconv.Itoa(rand.IntN(10))}, amount
}

// turn makes calls in every form.
func (h *holder) turn() error {
	for _, form := range []string{"transfer", "transfer@v2", shaOf(transferBodies[0]), shaOf(transferBodies[1])} {
		keys, amount := h.pay()
		if err := h.check(h.c.EvalSha(background, form, keys, amount).Result()); err != nil {
			return err
		}
	}
	keys, amount := h.pay()
	if err := h.check(h.c.Eval(background, transferBodies[0], keys, amount).Result()); err != nil {
		return err
	}
	h.calls++
	switch got, err := h.c.EvalSha(background, "balance", []string{h.account}).Int64(); {
	case err != nil:
		return fmt.Errorf("balance of %s: %w", h.account, err)
	case got != h.balance:
		return fmt.Errorf("balance of %s: %d, want %d", h.account, got, h.balance)
	}
	for _, pipe := range []redis.Pipeliner{h.c.Pipeline(), h.c.TxPipeline()} {
		if err := h.batch(pipe); err != nil {
			return err
		}
	}
	return nil
}

// batch mixes calls with plain commands on the same account.
func (h *holder) batch(pipe redis.Pipeliner) error {
	var want []int64
	var cmds []*redis.Cmd
	var plain []*redis.IntCmd
	for range 3 {
		keys, amount := h.pay()
		cmds = append(cmds, pipe.EvalSha(background, "transfer", keys, amount))
		want = append(want, h.balance)
		plain = append(plain, pipe.IncrBy(background, h.account, 0))
	}
	if _, err := pipe.Exec(background); err != nil {
		return fmt.Errorf("batch of %s: %w", h.account, err)
	}
	last := h.balance
	defer func() { h.balance = last }()
	for i := range cmds {
		h.balance = want[i]
		if err := h.check(cmds[i].Result()); err != nil {
			return err
		}
		if got := plain[i].Val(); got != want[i] {
			return fmt.Errorf("%s: the command behind a transfer saw %d, want %d", h.account, got, want[i])
		}
	}
	return nil
}

// TestMoneyIsConservedWhileNodesLoseTheirScripts is the promise of the whole script path: nobody ever sees NOSCRIPT, every reply is the right
// one, and each transfer happens once.
func TestMoneyIsConservedWhileNodesLoseTheirScripts(t *testing.T) {
	const holders, lasting, every = 200, 3 * time.Second, 50 * time.Millisecond
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica},
		script("transfer", transferBodies),
		script("balance", []string{large("return tonumber(redis.call('GET', KEYS[1]))")}))
	setup := p.redis()
	for i := range holders {
		if err := setup.Set(background, fmt.Sprint("own:", i), openingBalance, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	redisserver.WaitReplica(t, primary, replica)

	stop := make(chan struct{})
	var flushes atomic.Int64
	var flushing, working sync.WaitGroup
	errs := make(chan error, holders+2)
	for _, s := range []*redisserver.Server{primary, replica} {
		c := s.Client()
		flushing.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				if reply, err := c.Do("SCRIPT", "FLUSH"); err != nil || reply != "OK" {
					errs <- fmt.Errorf("SCRIPT FLUSH: %v %v", reply, err)
					return
				}
				flushes.Add(1)
			}
		})
	}
	all := make([]*holder, holders)
	deadline := time.Now().Add(lasting)
	for i := range all {
		h := &holder{c: p.redis(), account: fmt.Sprint("own:", i), balance: openingBalance}
		all[i] = h
		working.Go(func() {
			for first := true; first || time.Now().Before(deadline); first = false {
				if err := h.turn(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	working.Wait()
	close(stop)
	flushing.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	if n := flushes.Load(); n < 20 {
		t.Errorf("only %d flushes happened", n)
	}
	var total, calls int64
	for _, h := range all {
		total += balance(t, primary, h.account)
		calls += h.calls
	}
	for i := range 10 {
		total += balance(t, primary, fmt.Sprint("shared:", i))
	}
	if total != holders*openingBalance {
		t.Errorf("%d in all accounts, want %d", total, holders*openingBalance)
	}
	var counted float64
	for series, v := range p.Metrics() {
		if strings.HasPrefix(series, "scriptproxy_script_calls_total{") {
			if !strings.Contains(series, `outcome="ok"`) {
				t.Errorf("%s %v", series, v)
			}
			counted += v
		}
	}
	if !t.Failed() && int64(counted) != calls {
		t.Errorf("%v calls counted, %d made", counted, calls)
	}
	t.Logf("%d calls, %d flushes", calls, flushes.Load())
}

func balance(t *testing.T, s *redisserver.Server, account string) int64 {
	t.Helper()
	text, ok := s.Do("GET", account).(string)
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s holds %q", account, text)
	}
	return n
}
