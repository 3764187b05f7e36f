//go:build linux

package registry

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// changer activates v1 and v2 in turn until a request fails.
type changer struct {
	acked string // the version of the last change that was answered
	asked string // the version of the change that was not
	err   string // an answer that is none of success
}

func (c *changer) run(p *proxy) {
	for {
		next := map[string]string{"v1": "v2", "v2": "v1"}[c.acked]
		c.asked = next
		status, answer, err := p.try(http.MethodPost, "/api/v1/scripts/which/activate", object{"version": next})
		if err != nil {
			return
		}
		if status != http.StatusOK {
			c.err = fmt.Sprint(answer["error"])
			return
		}
		c.acked, c.asked = next, ""
	}
}

func TestKilledProxyComesBackBeforeOrAfterItsChange(t *testing.T) {
	primary := redisserver.Start(t)
	p := newProxy(t, object{
		"scripts":  declare("which", "return 'v1'", "return 'v2'"),
		"registry": object{"state_file": "state/registry"},
	}, primary).start()
	last := "v1"
	before, after := 0, 0
	for round := range *kills {
		c := &changer{acked: last}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.run(p)
		}()
		time.Sleep(time.Duration(rand.Int64N(int64(60 * time.Millisecond))))
		p.Kill()
		<-done
		if c.err != "" {
			t.Fatalf("round %d: %s", round, c.err)
		}
		p.start()
		last = p.active("which")
		switch last {
		case c.acked:
			before++
		case c.asked:
			after++
		default:
			t.Fatalf("round %d: %s is active; %s was answered and %q asked for", round, last, c.acked, c.asked)
		}
		if v := do(t, p.client(), "EVALSHA", "which", 0); v != last {
			t.Fatalf("round %d: %v runs, and %s is active", round, v, last)
		}
		_, audit := p.api(http.MethodGet, "/api/v1/audit?limit=1", nil)
		if newest := audit["changes"].([]any)[0].(object); newest["action"] != "declare" && newest["to"] != last {
			t.Fatalf("round %d: %s is active, and the audit log ends with %v", round, last, newest)
		}
	}
	t.Logf("%d kills: %d times the state before the change that was under way, %d times the one after", *kills, before, after)
}

func TestKilledStoreComesBackBeforeOrAfterTheChange(t *testing.T) {
	primary, store := redisserver.Start(t), redisserver.Start(t, redisserver.AOF())
	p := newProxy(t, object{"scripts": declare("which", "return 'v1'", "return 'v2'"), "registry": onRedis(store)}, primary).start()
	last := "v1"
	for round := range max(3, *kills/3) {
		c := &changer{acked: last}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.run(p)
		}()
		time.Sleep(time.Duration(rand.Int64N(int64(60 * time.Millisecond))))
		store.Kill()
		<-done
		store.Restart()
		// The proxy is told what the store has; a change whose answer was lost may have been saved.
		for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			if status, _ := p.api(http.MethodPost, "/api/v1/scripts/which/tags", object{"tags": []string{fmt.Sprint("round", round)}}); status == http.StatusOK {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the store is back, and changes fail")
			}
		}
		last = p.active("which")
		if last != c.acked && last != c.asked {
			t.Fatalf("round %d: %s is active; %s was answered and %q asked for", round, last, c.acked, c.asked)
		}
		if v := do(t, p.client(), "EVALSHA", "which", 0); v != last {
			t.Fatalf("round %d: %v runs, and %s is active", round, v, last)
		}
	}
}
