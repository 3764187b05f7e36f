//go:build linux

package edge

import (
	"fmt"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// TestReloadMovesClientsToAnotherPrimary: a client that has something on the old server may end it, and one that does not end it is
// closed after drain_timeout.
func TestReloadMovesClientsToAnotherPrimary(t *testing.T) {
	old, next := redisserver.StartPair(t)
	config := func(primary string) string {
		return fmt.Sprintf("listen: [127.0.0.1:PORT]\nupstream: {primary: %q}\nlimits: {drain_timeout: 1s}\n", primary)
	}
	p := start(t, config(old.Addr()))
	plain, watcher, subscriber := p.client(), p.client(), p.client()
	plain.want("OK", "SET", "k", "1")
	watcher.want("OK", "WATCH", "k")
	watcher.want("OK", "MULTI")
	watcher.want("QUEUED", "INCR", "k")
	if reply, ok := subscriber.do("SUBSCRIBE", "news").([]any); !ok || len(reply) != 3 {
		t.Fatalf("SUBSCRIBE: %v", reply)
	}
	redisserver.WaitReplica(t, old, next)

	refusedFor := func(primary, why string) {
		t.Helper()
		p.configure(config(primary))
		if p.reload() {
			t.Errorf("a reload to %s was taken", primary)
		}
		if !strings.Contains(p.Log(), why) {
			t.Errorf("the log does not say %q", why)
		}
		plain.want("1", "GET", "k")
	}
	// next still follows old, and nobody listens at the other address.
	refusedFor(next.Addr(), next.Addr()+" is a replica")
	nobody := fmt.Sprintf("127.0.0.1:%d", redisserver.FreePort(t))
	refusedFor(nobody, nobody+" is down")
	if got := p.metric("scriptproxy_config_last_reload_successful"); got != 0 {
		t.Errorf("scriptproxy_config_last_reload_successful is %v", got)
	}

	next.Do("REPLICAOF", "NO", "ONE")
	p.configure(config(next.Addr()))
	if !p.reload() {
		t.Fatal("a reload to the new primary was refused")
	}
	plain.want("OK", "SET", "where", "next")
	if got := next.Do("GET", "where"); got != "next" {
		t.Errorf("the new primary has %v", got)
	}
	if reply, ok := watcher.do("EXEC").([]any); !ok || len(reply) != 1 || reply[0] != int64(2) {
		t.Errorf("EXEC on the old primary: %v", reply)
	}
	watcher.want("next", "GET", "where")
	subscriber.ended("a subscriber of a server that was taken away")
	plain.want("next", "GET", "where")
	p.waitFor("the old primary still has connections", func() bool { return proxyClients(old, "") == 0 })
	if _, ok := p.series(fmt.Sprintf("scriptproxy_upstream_up{node=%q,role=\"primary\"}", old.Addr())); ok {
		t.Error("the old primary is still among the metrics")
	}
	if got, ok := p.series(fmt.Sprintf("scriptproxy_upstream_up{node=%q,role=\"primary\"}", next.Addr())); !ok || got != 1 {
		t.Errorf("scriptproxy_upstream_up of the new primary is %v, %v", got, ok)
	}

	// There and back as often as one likes, but not to ever other servers.
	old.Do("REPLICAOF", "127.0.0.1", fmt.Sprint(next.Port()))
	both := func(replica string) string {
		return fmt.Sprintf("listen: [127.0.0.1:PORT]\nupstream: {primary: %q, replicas: [%q]}\nlimits: {drain_timeout: 1s}\n", next.Addr(), replica)
	}
	for range 20 {
		p.configure(both(old.Addr()))
		if !p.reload() {
			t.Fatal("a server that was there before was refused")
		}
		p.configure(config(next.Addr()))
		if !p.reload() {
			t.Fatal("a replica could not be taken away")
		}
	}
	for i := 0; ; i++ {
		p.configure(both(fmt.Sprintf("127.0.0.1:%d", 1+i)))
		if p.reload() {
			continue
		}
		if i < 10 || !strings.Contains(p.Log(), "there is no place for 127.0.0.1:") {
			t.Errorf("the %d. other server was refused: %s", i+1, p.Log())
		}
		break
	}
	plain.want("next", "GET", "where")
}
