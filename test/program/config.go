package program

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// Settings is a configuration as it is written for the program, in JSON, which is YAML too.
type Settings map[string]any

// Option changes the configuration of one proxy.
type Option func(Settings)

// Set gives a value to a key such as "routing.max_lag".
func Set(path string, value any) Option {
	return func(s Settings) { s.At(path)[path[strings.LastIndexByte(path, '.')+1:]] = value }
}

// At returns the mapping that holds the key at path, making it if need be.
func (s Settings) At(path string) map[string]any {
	m := map[string]any(s)
	keys := strings.Split(path, ".")
	for _, key := range keys[:len(keys)-1] {
		next, ok := m[key].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[key] = next
		}
		m = next
	}
	return m
}

// Script registers a script. Bodies are the versions' in order, named v1, v2 and so on, the last being active; fields are pairs of a
// key and a value.
func Script(name string, bodies []string, fields ...any) Option {
	versions := map[string]any{}
	for i, body := range bodies {
		versions[fmt.Sprintf("v%d", i+1)] = map[string]any{"body": body}
	}
	entry := map[string]any{"name": name, "active": fmt.Sprintf("v%d", len(bodies)), "versions": versions}
	for i := 0; i < len(fields); i += 2 {
		entry[fields[i].(string)] = fields[i+1]
	}
	return func(s Settings) {
		scripts := s.At("scripts.list")
		list, _ := scripts["list"].([]any)
		scripts["list"] = append(list, entry)
	}
}

// Config writes a configuration into a directory of the test and returns its path. Without other options there are a listener and an
// admin listener on free ports, a log that Process can read, and a short time to drain.
func Config(t testing.TB, primary string, replicas []*redisserver.Server, opts ...Option) (path string) {
	t.Helper()
	s := Settings{
		"listen":   []string{"127.0.0.1:0"},
		"admin":    map[string]any{"listen": "127.0.0.1:0"},
		"log":      map[string]any{"format": "json", "level": "debug"},
		"limits":   map[string]any{"drain_timeout": "5s"},
		"upstream": map[string]any{"primary": primary},
	}
	var addrs []string
	for _, r := range replicas {
		addrs = append(addrs, r.Addr())
	}
	if len(addrs) > 0 {
		Set("upstream.replicas", addrs)(s)
	}
	for _, o := range opts {
		o(s)
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
