// Package demo has the parts of scriptproxy demo: the servers, the sample scripts
// and the tour. The proxy itself is the same as with scriptproxy serve.
package demo

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Scripts are the sample scripts, as <name>/<version>.lua.
//
//go:embed scripts
var Scripts embed.FS

// Settings is what differs between one demo and the next.
type Settings struct {
	Listen, Admin string // addresses of the proxy
	Primary       string // address of the primary
	Replica       string // address of the replica, empty for none
}

const configText = `# Written by scriptproxy demo.
listen: [%s]
admin: {listen: %s}
upstream:
  primary: %s
  replicas: [%s]
limits: {drain_timeout: 3s}
scripts:
  dir: scripts
  list:
    - name: transfer
      active: v2
    - name: slow
      class: read
      slow_after: 50ms
log: {level: warn}
`

// WriteConfig writes the configuration to path and the sample scripts beside it.
func WriteConfig(path string, s Settings) error {
	scripts, err := fs.Sub(Scripts, "scripts")
	if err != nil {
		return err
	}
	if err := os.CopyFS(filepath.Join(filepath.Dir(path), "scripts"), scripts); err != nil {
		return fmt.Errorf("cannot write the sample scripts: %w", err)
	}
	text := fmt.Sprintf(configText, s.Listen, s.Admin, s.Primary, s.Replica)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("cannot write the demo's configuration: %w", err)
	}
	return nil
}

// Places are where the tour's commands go.
type Places struct {
	Proxy, Primary, Replica string // ports; no replica is empty
	Admin                   string // host:port
}

// Step is one part of the tour: what it shows, and the commands that do.
type Step struct {
	Shows    string
	Commands []string
}

// Steps returns the tour. Every command can be pasted into a shell, in this order.
func Steps(p Places) []Step {
	cli := "redis-cli -p " + p.Proxy + " "
	steps := []Step{
		{"a script by its name; v2 is active, v1 still has a name", []string{
			cli + "MSET acct:alice 1000 acct:bob 0",
			cli + "EVALSHA transfer 2 acct:alice acct:bob 100",
			cli + "EVALSHA transfer@v1 2 acct:alice acct:bob 100",
		}},
		{"v2 takes an idempotency token: asked twice, done once", []string{
			cli + "EVALSHA transfer 3 acct:alice acct:bob done:order-17 100",
			cli + "EVALSHA transfer 3 acct:alice acct:bob done:order-17 100",
		}},
		{"a lock, and a limit of 3 calls a minute", []string{
			cli + "EVALSHA lock-acquire 1 lock:job my-token 30000",
			cli + "EVALSHA lock-renew 1 lock:job my-token 30000",
			cli + "EVALSHA lock-release 1 lock:job my-token",
			cli + "-r 4 EVALSHA rate-limit 1 limit:alice 3 60000",
		}},
		{"a flushed script cache on the server: no client sees NOSCRIPT", []string{
			"redis-cli -p " + p.Primary + " SCRIPT FLUSH",
			cli + "EVALSHA transfer 2 acct:alice acct:bob 100",
		}},
		{"PING is answered at once while a script blocks a server", []string{
			cli + "EVALSHA slow 0 300000000 & sleep 0.2; " + cli + "PING; wait",
		}},
		{"what the operator sees", []string{
			"curl -s http://" + p.Admin + "/metrics | grep '^scriptproxy_script_calls_total'",
			"curl -s http://" + p.Admin + "/api/v1/slowlog",
		}},
	}
	return steps
}

// Tour returns the steps as text.
func Tour(p Places) string {
	var b strings.Builder
	for _, step := range Steps(p) {
		fmt.Fprintf(&b, "\n  # %s\n", step.Shows)
		for _, command := range step.Commands {
			fmt.Fprintf(&b, "  %s\n", command)
		}
	}
	return b.String()
}
