package app

import (
	"slices"
	"testing"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
)

func TestReloadNamesWhatItLeavesAsItWas(t *testing.T) {
	for _, c := range []struct {
		change func(*config.Config)
		want   []string
	}{
		{func(*config.Config) {}, nil},
		{func(c *config.Config) {
			c.Upstream.Primary, c.Upstream.Replicas = "b:6379", []string{"c:6379"}
			c.Limits.MaxClients, c.Tracing.OneIn, c.Scripts.SlowAfter = 7, 9, 1
		}, nil},
		{func(c *config.Config) { c.Upstream.PollInterval++; c.Loops = 3 }, []string{"upstream, but for primary and replicas", "loops"}},
		{func(c *config.Config) { c.Listen = append(c.Listen, config.Listener{Address: "x:1"}) }, []string{"listen"}},
		{func(c *config.Config) { c.Upstreams[0].Primary, c.Upstreams[0].Replicas = "d:6379", []string{"e:6379"} }, nil},
		{func(c *config.Config) { c.Upstreams[0].Username = "other" }, []string{"upstreams[], but for primary and replicas"}},
		{func(c *config.Config) { c.Listen[0].Upstream = "orders" }, []string{"listen[].upstream"}},
		{func(c *config.Config) { c.Listen[0].Upstream = config.DefaultUpstream }, nil},
		{func(c *config.Config) { c.Admin.Listen = "x:1"; c.Registry.AuditSize++ }, []string{"admin", "registry"}},
	} {
		old, next := config.Default(), config.Default()
		for _, cfg := range []*config.Config{old, next} {
			cfg.Upstreams = []config.NamedUpstream{{Name: "orders", Primary: "a:6379"}}
		}
		c.change(next)
		if got := restartOnly(old, next); !slices.Equal(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
