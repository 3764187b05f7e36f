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
		{func(c *config.Config) { c.Admin.Listen = "x:1"; c.Registry.AuditSize++ }, []string{"admin", "registry"}},
	} {
		old, next := config.Default(), config.Default()
		c.change(next)
		if got := restartOnly(old, next); !slices.Equal(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
