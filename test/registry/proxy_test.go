//go:build linux

package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// object is a mapping of a configuration, which is written in JSON, or of an answer of the API.
type object = map[string]any

// proxy is one scriptproxy on fixed ports, which can be started again.
type proxy struct {
	*program.Process // the one that was started last
	t                *testing.T
	addr             string // for clients
	admin            string // host:port for HTTP
	dir              string
	config           string
	// patience is for commands that take longer than others.
	patience time.Duration
}

// newProxy writes a configuration: settings, and the addresses of listeners and nodes.
func newProxy(t *testing.T, settings object, primary *redisserver.Server, replicas ...*redisserver.Server) *proxy {
	t.Helper()
	dir := t.TempDir()
	local := func() string { return "127.0.0.1:" + strconv.Itoa(redisserver.FreePort(t)) }
	p := &proxy{t: t, addr: local(), admin: local(), dir: dir, config: filepath.Join(dir, "config.yaml")}
	var addrs []string
	for _, r := range replicas {
		addrs = append(addrs, r.Addr())
	}
	whole := object{
		"listen":   []string{p.addr},
		"admin":    object{"listen": p.admin},
		"upstream": object{"primary": primary.Addr(), "replicas": addrs, "poll_interval": "20ms"},
		"limits":   object{"drain_timeout": "3s"},
	}
	for key, value := range settings {
		if inner, ok := whole[key].(object); ok {
			for k, v := range value.(object) {
				inner[k] = v
			}
			continue
		}
		whole[key] = value
	}
	p.writeConfig(whole)
	return p
}

func (p *proxy) writeConfig(whole object) {
	p.t.Helper()
	data, err := json.Marshal(whole)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(p.config, data, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// start runs the program and waits until it is ready.
func (p *proxy) start() *proxy {
	p.t.Helper()
	p.launch()
	p.AwaitReady()
	return p
}

func (p *proxy) launch() {
	p.t.Helper()
	p.Process = program.Start(p.t, binary, p.config)
	p.Addr, p.Admin = p.addr, p.admin
}

// result is how a command of the program ended.
type result struct {
	stdout, stderr string
	code           int
}

// cli runs a command of the program against this proxy.
func (p *proxy) cli(args ...string) result {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), max(patience, p.patience))
	defer cancel()
	path, err := command()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "SCRIPTPROXY_ADMIN=http://"+p.admin)
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		p.t.Fatalf("scriptproxy %s: %v", strings.Join(args, " "), err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// must is cli for a command that has to succeed; it returns the standard output.
func (p *proxy) must(args ...string) string {
	p.t.Helper()
	r := p.cli(args...)
	if r.code != 0 {
		p.t.Fatalf("scriptproxy %s: status %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// api sends a request; body is marshalled unless it is nil. It returns the status and the answer.
func (p *proxy) api(method, path string, body any, header ...string) (int, object) {
	p.t.Helper()
	status, answer, err := p.try(method, path, body, header...)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return status, answer
}

// try is api for a proxy that may be killed meanwhile, and for any goroutine.
func (p *proxy) try(method, path string, body any, header ...string) (int, object, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		content = bytes.NewReader(data)
	}
	status, text, err := p.Request(ctx, method, path, content, header...)
	if err != nil {
		return 0, nil, err
	}
	var answer object
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return 0, nil, err
	}
	return status, answer, nil
}

// change is a POST that has to succeed; it returns the revision.
func (p *proxy) change(path string, body any) uint64 {
	p.t.Helper()
	status, answer := p.api(http.MethodPost, path, body)
	if status != http.StatusOK {
		p.t.Fatalf("POST %s %v: status %d: %v", path, body, status, answer["error"])
	}
	return uint64(answer["revision"].(float64))
}

// active is the active version of a script.
func (p *proxy) active(name string) string {
	p.t.Helper()
	status, answer := p.api(http.MethodGet, "/api/v1/scripts/"+name, nil)
	if status != http.StatusOK {
		p.t.Fatalf("GET %s: status %d: %v", name, status, answer["error"])
	}
	active, _ := answer["active"].(string)
	return active
}

// revision is that of the registry.
func (p *proxy) revision() uint64 {
	p.t.Helper()
	_, answer := p.api(http.MethodGet, "/api/v1/registry", nil)
	return uint64(answer["revision"].(float64))
}

// client is a connection through the proxy.
func (p *proxy) client() *redisserver.Client {
	p.t.Helper()
	c, err := redisserver.DialClient(p.addr, "")
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = c.Close() })
	return c
}

// do sends one command and fails the test when the connection does.
func do(t *testing.T, c *redisserver.Client, args ...any) any {
	t.Helper()
	v, err := c.Do(args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return v
}

// versions makes the "versions" of a declared script, v1, v2 and so on.
func versions(bodies ...string) object {
	out := object{}
	for i, body := range bodies {
		out[fmt.Sprintf("v%d", i+1)] = object{"body": body}
	}
	return out
}

// declare makes the "scripts" of a configuration with one script whose active version is v1.
func declare(name string, bodies ...string) object {
	return object{"list": []object{{"name": name, "active": "v1", "versions": versions(bodies...)}}}
}

// onRedis makes the "registry" of a configuration that shares a store.
func onRedis(store *redisserver.Server) object {
	return object{"store": "redis", "redis": object{"address": store.Addr()}}
}

// readiness is what /readyz answers.
func (p *proxy) readiness() (status int, text string) {
	p.t.Helper()
	return p.Get("/readyz")
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
