package app

import (
	"reflect"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
)

// restartOnly lists the keys that differ between two configurations and that a
// reload leaves as they were.
func restartOnly(old, next *config.Config) []string {
	was, is := old.Upstream, next.Upstream
	was.Primary, was.Replicas, is.Primary, is.Replicas = "", nil, "", nil // see proposeNodes
	var list []string
	for _, k := range []struct {
		key     string
		was, is any
	}{
		{"listen", addresses(old), addresses(next)},
		{"admin", old.Admin, next.Admin},
		{"console", old.Console, next.Console},
		{"upstream, but for primary and replicas", was, is},
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

// addresses are those of the listeners.
func addresses(c *config.Config) []string {
	list := make([]string, len(c.Listen))
	for i, l := range c.Listen {
		list[i] = l.Address
	}
	return list
}
