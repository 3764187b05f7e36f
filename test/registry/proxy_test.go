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
	"syscall"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/child"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// object is a mapping of a configuration, which is written in JSON, or of an answer of the API.
type object = map[string]any

// proxy is one scriptproxy on fixed ports, which can be started again. It ends with its test, which fails when it did
// not end in order or when it reported a data race.
type proxy struct {
	t       *testing.T
	addr    string // for clients
	admin   string // host:port for HTTP
	dir     string
	config  string
	cmd     *exec.Cmd
	exited  <-chan struct{}
	stopped bool
	// patience is for commands that take longer than others.
	patience time.Duration
}

// newProxy writes a configuration: settings, and the addresses of listeners and nodes.
func newProxy(t *testing.T, settings object, primary *redisserver.Server, replicas ...*redisserver.Server) *proxy {
	t.Helper()
	dir := t.TempDir()
	local := func() string { return "127.0.0.1:" + strconv.Itoa(redisserver.FreePort(t)) }
	p := &proxy{t: t, addr: local(), admin: local(), dir: dir, config: filepath.Join(dir, "config.yaml"), stopped: true}
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
	t.Cleanup(p.stop)
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
	p.awaitReady()
	return p
}

func (p *proxy) launch() {
	p.t.Helper()
	log, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(binary, "serve", "-config", p.config)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), "GORACE=exitcode=66")
	if p.exited, err = child.Start(p.cmd); err != nil {
		p.t.Fatalf("start scriptproxy: %v", err)
	}
	p.stopped = false
}

func (p *proxy) awaitReady() {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		err := p.ready()
		if err == nil {
			return
		}
		select {
		case <-p.exited:
			p.stopped = true
			p.t.Fatalf("scriptproxy ended while it started: %v\n%s", p.cmd.ProcessState, p.log())
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("scriptproxy is not ready: %v\n%s", err, p.log())
		}
	}
}

func (p *proxy) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(string(text))
	}
	return err
}

func (p *proxy) log() string {
	data, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return err.Error()
	}
	const tail = 6000
	return string(data[max(0, len(data)-tail):])
}

// kill ends the program as a crash would.
func (p *proxy) kill() {
	p.t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		p.t.Fatal(err)
	}
	<-p.exited
	p.stopped = true
}

// stop ends the program in order.
func (p *proxy) stop() {
	if p.stopped {
		return
	}
	p.stopped = true
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended, which exited tells
	select {
	case <-p.exited:
	case <-time.After(patience):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.exited
		p.t.Errorf("scriptproxy did not end\n%s", p.log())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("scriptproxy ended with %v\n%s", p.cmd.ProcessState, p.log())
	}
	if p.t.Failed() {
		p.t.Logf("the end of scriptproxy's log:\n%s", p.log())
	}
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
	cmd := exec.CommandContext(ctx, command, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "SCRIPTPROXY_ADMIN=http://"+p.admin)
	err := cmd.Run()
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
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.admin+path, content)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	var answer object
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, nil, err
	}
	return resp.StatusCode, answer, nil
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
	resp, err := http.Get("http://" + p.admin + "/readyz")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
