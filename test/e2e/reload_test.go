//go:build linux

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// edit replaces text in the configuration file.
func (p *proxy) edit(old, replacement string) {
	p.t.Helper()
	text, err := os.ReadFile(p.config)
	if err != nil {
		p.t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		p.t.Fatalf("%q is not once in the configuration:\n%s", old, text)
	}
	if err := os.WriteFile(p.config, []byte(strings.Replace(string(text), old, replacement, 1)), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// reload asks for the configuration to be read anew.
func (p *proxy) reload() (status int) {
	p.t.Helper()
	r, err := httpClient.Post("http://"+p.admin+"/-/reload", "application/json", strings.NewReader("{}"))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Body.Close()
	return r.StatusCode
}

// TestRollbackReachesClientsWithTheBadSHA: the clients go on calling the sha that they were built with.
func TestRollbackReachesClientsWithTheBadSHA(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("which", twoVersions))
	c := p.client()
	ask := func() string { return c.do("EVALSHA", shaOf(twoVersions[1]), "1", "k", "a") }
	if got := ask(); got != answered("v2") {
		t.Fatalf("before: %q", got)
	}
	p.edit(`"active": "v2"`, `"active": "v1"`)
	if status := p.reload(); status != http.StatusOK {
		t.Fatalf("reload: %d", status)
	}
	p.eventually("run the version before", func() error {
		if got := ask(); got != answered("v1") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	for _, name := range []string{"which", shaOf(twoVersions[0])} {
		if got := c.do("EVALSHA", name, "1", "k", "a"); got != answered("v1") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := c.do("EVALSHA", "which@v2", "1", "k", "a"); got != answered("v2") {
		t.Errorf("which@v2: %q", got)
	}
}

func TestConfigurationThatIsWrongChangesNothing(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("which", twoVersions))
	p.edit(`"active": "v2"`, `"active": "v9"`)
	if status := p.reload(); status != http.StatusBadRequest {
		t.Errorf("reload: %d", status)
	}
	if got := p.client().do("EVALSHA", "which", "1", "k", "a"); got != answered("v2") {
		t.Errorf("after it: %q", got)
	}
	if got, there := p.metrics()["scriptproxy_config_last_reload_successful"]; !there || got != 0 {
		t.Errorf("scriptproxy_config_last_reload_successful is %v", got)
	}
}
