//go:build linux

package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// patience bounds every wait for something that takes milliseconds on an idle machine.
const patience = program.Patience

type option = program.Option

var (
	set    = program.Set
	script = program.Script
)

// pinned pins a version of the script registered last.
func pinned(version string) option {
	return func(s program.Settings) {
		list := s.At("scripts.list")["list"].([]any)
		versions := list[len(list)-1].(map[string]any)["versions"].(map[string]any)
		versions[version].(map[string]any)["pinned"] = true
	}
}

// proxy is one running scriptproxy.
type proxy struct {
	*program.Process
	t *testing.T
}

// startProxy runs the proxy in front of a primary and replicas, and waits until it serves and says that it is ready.
func startProxy(t *testing.T, primary *redisserver.Server, replicas []*redisserver.Server, opts ...option) *proxy {
	t.Helper()
	p := launch(t, primary, replicas, opts...)
	p.AwaitReady()
	return p
}

// launch runs the proxy and waits only until it accepts clients.
func launch(t *testing.T, primary *redisserver.Server, replicas []*redisserver.Server, opts ...option) *proxy {
	t.Helper()
	p := &proxy{program.Start(t, binary, program.Config(t, primary.Addr(), replicas, opts...)), t}
	p.AwaitServing()
	return p
}

// client returns a client that speaks RESP by hand.
func (p *proxy) client() *client {
	p.t.Helper()
	return newClient(p.t, p.Open())
}

// redis returns a go-redis client with one connection and no retries, for other goroutines too.
func (p *proxy) redis(change ...func(*redis.Options)) *redis.Client {
	o := &redis.Options{
		Addr: p.Addr, PoolSize: 1, MaxRetries: -1, DisableIdentity: true, Protocol: 2,
		DialTimeout: patience, ReadTimeout: patience, WriteTimeout: patience, PoolTimeout: patience,
	}
	for _, f := range change {
		f(o)
	}
	c := redis.NewClient(o)
	p.t.Cleanup(func() { c.Close() })
	return c
}

// background is the context of calls that are bounded by the client's own timeouts.
var background = context.Background()

// sessionsAre returns an error unless the proxy has n clients.
func sessionsAre(p *proxy, n float64) error {
	if got := p.Metrics()["scriptproxy_sessions"]; got != n {
		return fmt.Errorf("scriptproxy_sessions is %v, want %v", got, n)
	}
	return nil
}
