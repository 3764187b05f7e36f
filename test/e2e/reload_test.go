//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// reload asks for the configuration to be read anew.
func (p *proxy) reload() (status int) {
	p.t.Helper()
	status, _ = p.Post("/-/reload")
	return status
}

// TestRollbackReachesClientsWithTheBadSHA: the clients go on calling the sha that they were built with.
func TestRollbackReachesClientsWithTheBadSHA(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("which", twoVersions))
	c := p.client()
	ask := func() string { return c.Do("EVALSHA", shaOf(twoVersions[1]), "1", "k", "a") }
	if got := ask(); got != answered("v2") {
		t.Fatalf("before: %q", got)
	}
	p.Rewrite(`"active": "v2"`, `"active": "v1"`)
	if status := p.reload(); status != http.StatusOK {
		t.Fatalf("reload: %d", status)
	}
	p.Eventually("run the version before", func() error {
		if got := ask(); got != answered("v1") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	for _, name := range []string{"which", shaOf(twoVersions[0])} {
		if got := c.Do("EVALSHA", name, "1", "k", "a"); got != answered("v1") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := c.Do("EVALSHA", "which@v2", "1", "k", "a"); got != answered("v2") {
		t.Errorf("which@v2: %q", got)
	}
}

func TestConfigurationThatIsWrongChangesNothing(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("which", twoVersions))
	p.Rewrite(`"active": "v2"`, `"active": "v9"`)
	if status := p.reload(); status != http.StatusBadRequest {
		t.Errorf("reload: %d", status)
	}
	if got := p.client().Do("EVALSHA", "which", "1", "k", "a"); got != answered("v2") {
		t.Errorf("after it: %q", got)
	}
	if got, there := p.Metrics()["scriptproxy_config_last_reload_successful"]; !there || got != 0 {
		t.Errorf("scriptproxy_config_last_reload_successful is %v", got)
	}
}
