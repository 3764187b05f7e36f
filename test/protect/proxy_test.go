//go:build linux

package protect

import (
	"encoding/json"
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

const (
	// patience bounds every wait for something that takes milliseconds on an idle machine.
	patience = 20 * time.Second
	// stopPatience bounds the orderly end of the program.
	stopPatience = 15 * time.Second
)

// settings is a configuration as it is written for the program, in JSON, which is YAML too.
type settings map[string]any

// option changes the configuration of one proxy.
type option func(settings)

// set gives a value to a key such as "routing.max_lag".
func set(path string, value any) option {
	return func(s settings) { s.at(path)[last(path)] = value }
}

func last(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// at returns the mapping that holds the key at path, making it if need be.
func (s settings) at(path string) map[string]any {
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

// script registers a script. Bodies are the versions' in order, named v1, v2 and so on; fields are pairs of a key and a value.
func script(name string, bodies []string, fields ...any) option {
	versions := map[string]any{}
	for i, body := range bodies {
		versions[fmt.Sprintf("v%d", i+1)] = map[string]any{"body": body}
	}
	entry := map[string]any{"name": name, "active": fmt.Sprintf("v%d", len(bodies)), "versions": versions}
	for i := 0; i < len(fields); i += 2 {
		entry[fields[i].(string)] = fields[i+1]
	}
	return func(s settings) {
		scripts := s.at("scripts.list")
		list, _ := scripts["list"].([]any)
		scripts["list"] = append(list, entry)
	}
}

// proxy is one running scriptproxy. It ends with its test, which fails when the proxy did not end in order, or
// when it reported a data race.
type proxy struct {
	t       *testing.T
	addr    string // for clients
	admin   string // for HTTP
	config  string // path of the configuration file
	logFile string
	cmd     *exec.Cmd
	exited  <-chan struct{}
	stopped bool
}

// startProxy runs the proxy in front of a primary and replicas, and waits until it serves and says that it is ready.
func startProxy(t *testing.T, primary *redisserver.Server, replicas []*redisserver.Server, opts ...option) *proxy {
	t.Helper()
	p := launch(t, primary, replicas, opts...)
	p.awaitReady()
	return p
}

// writeConfig writes the configuration of a proxy into a directory of its own and returns its path.
func writeConfig(t *testing.T, primary *redisserver.Server, replicas []*redisserver.Server, opts ...option) string {
	t.Helper()
	s := settings{
		"listen": []string{"127.0.0.1:0"},
		"admin":  map[string]any{"listen": "127.0.0.1:0"},
		"log":    map[string]any{"format": "json", "level": "debug"},
		"limits": map[string]any{"drain_timeout": "5s"},
	}
	set("upstream.primary", primary.Addr())(s)
	var addrs []string
	for _, r := range replicas {
		addrs = append(addrs, r.Addr())
	}
	if len(addrs) > 0 {
		set("upstream.replicas", addrs)(s)
	}
	for _, o := range opts {
		o(s)
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// launch runs the proxy and waits only until it accepts clients.
func launch(t *testing.T, primary *redisserver.Server, replicas []*redisserver.Server, opts ...option) *proxy {
	t.Helper()
	p := &proxy{t: t, config: writeConfig(t, primary, replicas, opts...)}
	p.logFile = filepath.Join(filepath.Dir(p.config), "log")
	log, err := os.Create(p.logFile)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(binary, "serve", "-config", p.config)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), "GORACE=exitcode=66")
	if p.exited, err = child.Start(p.cmd); err != nil {
		t.Fatalf("start scriptproxy: %v", err)
	}
	t.Cleanup(p.stop)
	p.awaitServing()
	return p
}

// awaitServing waits for the log line that says where the proxy listens.
func (p *proxy) awaitServing() {
	p.t.Helper()
	p.eventually("serve", func() error {
		select {
		case <-p.exited:
			p.t.Fatal("scriptproxy ended while starting")
		default:
		}
		for line := range strings.Lines(p.log()) {
			var entry struct {
				Msg       string
				Addresses []string
			}
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" && len(entry.Addresses) == 2 {
				p.addr, p.admin = entry.Addresses[0], entry.Addresses[1]
				return nil
			}
		}
		return fmt.Errorf("no line in the log says so")
	})
}

func (p *proxy) awaitReady() {
	p.t.Helper()
	p.eventually("get ready", func() error {
		status, body := p.get("/readyz")
		if status != http.StatusOK {
			return fmt.Errorf("/readyz: %d %s", status, body)
		}
		return nil
	})
}

// eventually waits until f returns nil.
func (p *proxy) eventually(what string, f func() error) {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the proxy did not %s within %v: %v", what, patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// stop ends the proxy in order, and fails the test when that fails.
func (p *proxy) stop() {
	if p.stopped {
		return
	}
	p.stopped = true
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.exited:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			p.t.Errorf("scriptproxy ended with status %d (%v)", code, p.cmd.ProcessState)
		}
	case <-time.After(stopPatience):
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGQUIT) // prints where each goroutine is
		select {
		case <-p.exited:
		case <-time.After(patience):
			syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			<-p.exited
		}
		p.t.Errorf("scriptproxy was still running %v after SIGTERM", stopPatience)
	}
	log := p.log()
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if at := strings.Index(log, bad); at >= 0 {
			p.t.Errorf("scriptproxy reports: %s", log[at:min(len(log), at+4000)])
		}
	}
	if p.t.Failed() {
		p.t.Logf("the end of scriptproxy's log:\n%s", log[max(0, len(log)-6000):])
	}
}

// log is what the proxy has written so far.
func (p *proxy) log() string {
	b, err := os.ReadFile(p.logFile)
	if err != nil {
		p.t.Fatalf("read scriptproxy's log: %v", err)
	}
	return string(b)
}

var httpClient = &http.Client{Timeout: patience}

// get asks the admin listener.
func (p *proxy) get(path string) (status int, body string) {
	p.t.Helper()
	r, err := httpClient.Get("http://" + p.admin + path)
	if err != nil {
		p.t.Fatalf("GET %s: %v", path, err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Fatalf("GET %s: %v", path, err)
	}
	return r.StatusCode, string(b)
}

// metrics maps each series, written as in the text format, to its value.
func (p *proxy) metrics() map[string]float64 {
	p.t.Helper()
	status, body := p.get("/metrics")
	if status != http.StatusOK {
		p.t.Fatalf("GET /metrics: %d %s", status, body)
	}
	m := map[string]float64{}
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			p.t.Fatalf("/metrics has the line %q", line)
		}
		m[line[:at]] = v
	}
	return m
}

// counted returns the value of a series, 0 when it is not there; name is without the prefix, and labels stand in the order of their names.
func (p *proxy) counted(name, labels string) float64 {
	p.t.Helper()
	return p.metrics()["scriptproxy_"+name+"{"+labels+"}"]
}

// awaitRunning waits until the proxy knows that a node runs the script.
func (p *proxy) awaitRunning(script string) {
	p.t.Helper()
	p.eventually("know that "+script+" runs", func() error {
		for name := range p.metrics() {
			if strings.HasPrefix(name, "scriptproxy_script_running_seconds{") && strings.Contains(name, `script="`+script+`"`) {
				return nil
			}
		}
		return fmt.Errorf("/metrics tells of no such run")
	})
}

// dial returns a connection of a client that is closed with the test. Its calls give up after 30 seconds.
func (p *proxy) dial() *redisserver.Client {
	p.t.Helper()
	c, err := redisserver.DialClient(p.addr, "")
	if err != nil {
		p.t.Fatalf("connect to scriptproxy: %v", err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

// do sends one command on c and returns its reply; a connection that fails fails the test.
func do(t *testing.T, c *redisserver.Client, args ...any) any {
	t.Helper()
	reply, err := c.Do(args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// answer is what came of a command that was sent on its own goroutine.
type answer struct {
	reply any
	err   error
	took  time.Duration
}

// later sends a command and returns where its reply will be.
func later(c *redisserver.Client, args ...any) <-chan answer {
	ch := make(chan answer, 1)
	go func() {
		began := time.Now()
		reply, err := c.Do(args...)
		ch <- answer{reply, err, time.Since(began)}
	}()
	return ch
}

// await waits for an answer; a connection that failed fails the test.
func await(t *testing.T, ch <-chan answer) answer {
	t.Helper()
	select {
	case a := <-ch:
		if a.err != nil {
			t.Fatalf("no reply: %v", a.err)
		}
		return a
	case <-time.After(patience):
		t.Fatalf("no reply within %v", patience)
	}
	return answer{}
}

// isError reports whether a reply is an error that holds all of words.
func isError(reply any, words ...string) bool {
	e, ok := reply.(redisserver.Error)
	for _, w := range words {
		ok = ok && strings.Contains(string(e), w)
	}
	return ok
}

// never fails the test if f returns an error within d.
func never(t *testing.T, d time.Duration, f func() error) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
}

// post asks the admin listener to do something.
func (p *proxy) post(path string) (status int, body string) {
	p.t.Helper()
	r, err := httpClient.Post("http://"+p.admin+path, "", nil)
	if err != nil {
		p.t.Fatalf("POST %s: %v", path, err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Fatalf("POST %s: %v", path, err)
	}
	return r.StatusCode, string(b)
}

// rewrite changes a text in the proxy's configuration file.
func rewrite(t *testing.T, p *proxy, old, new string) {
	t.Helper()
	text, err := os.ReadFile(p.config)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%s is not once in the configuration:\n%s", old, text)
	}
	if err := os.WriteFile(p.config, []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}
