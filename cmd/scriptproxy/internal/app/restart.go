package app

import (
	"reflect"
	"slices"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
)

// restartOnly lists the keys that differ between two configurations and that a
// reload leaves as they were.
func restartOnly(old, next *config.Config) []string {
	var list []string
	for _, k := range []struct {
		key     string
		was, is any
	}{
		{"listen", addresses(old), addresses(next)},
		{"listen[].upstream", leads(old), leads(next)},
		{"admin", old.Admin, next.Admin},
		{"console", old.Console, next.Console},
		{"upstream, but for primary and replicas", withoutNodes(old.Upstream), withoutNodes(next.Upstream)},
		{"upstreams[], but for primary and replicas", sets(old), sets(next)},
		{"auth.mode", old.Auth.Mode, next.Auth.Mode},
		{"loops", old.Loops, next.Loops},
		{"scripts.max_cached", old.Scripts.MaxCached, next.Scripts.MaxCached},
		{"scripts.max_cached_bytes", old.Scripts.MaxCachedBytes, next.Scripts.MaxCachedBytes},
		{"registry", old.Registry, next.Registry},
		{"slowlog", old.Slowlog, next.Slowlog},
		{"log", old.Log, next.Log},
		{"metrics", old.Metrics, next.Metrics},
		{"tracing.endpoint", old.Tracing.Endpoint, next.Tracing.Endpoint},
		{"tracing.service", old.Tracing.Service, next.Tracing.Service},
	} {
		if !reflect.DeepEqual(k.was, k.is) {
			list = append(list, k.key)
		}
	}
	return list
}

// withoutNodes is what of an upstream a reload leaves; see proposeNodes for
// the rest.
func withoutNodes(u config.Upstream) config.Upstream {
	u.Primary, u.Replicas = "", nil
	return u
}

func sets(c *config.Config) []config.NamedUpstream {
	list := slices.Clone(c.Upstreams)
	for i := range list {
		list[i].Primary, list[i].Replicas = "", nil
	}
	return list
}

// leads says where each listener that stays leads, by its address.
func leads(c *config.Config) map[string]string {
	to := make(map[string]string, len(c.Listen))
	for _, l := range c.Listen {
		if l.Upstream != "" && l.Upstream != config.DefaultUpstream {
			to[l.Address] = l.Upstream
		}
	}
	return to
}

// addresses are those of the listeners.
func addresses(c *config.Config) []string {
	list := make([]string, len(c.Listen))
	for i, l := range c.Listen {
		list[i] = l.Address
	}
	return list
}
