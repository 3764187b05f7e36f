//go:build linux

package faults

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/child"
)

const (
	// patience bounds every wait for something that takes milliseconds on an idle machine.
	patience = 20 * time.Second
	// stopPatience bounds the orderly end of the proxy; drain_timeout is 5 s unless a test sets it.
	stopPatience = 15 * time.Second
)

// setting is a line of the configuration: a path such as "limits.max_clients" and its value.
type setting struct {
	path  string
	value any
}

// proxy is one running scriptproxy. It ends with its test, which fails when the proxy did not end in order, or when it
// reported a data race.
type proxy struct {
	t       *testing.T
	addr    string
	logFile string
	cmd     *exec.Cmd
	exited  <-chan struct{}
	once    sync.Once
	ended   bool
}

// startProxy runs the proxy in front of a primary, by its address, and waits until it serves.
func startProxy(t *testing.T, primary string, settings ...setting) *proxy {
	t.Helper()
	program, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return startProgram(t, program, primary, settings...)
}

func startProgram(t *testing.T, program, primary string, settings ...setting) *proxy {
	t.Helper()
	dir := t.TempDir()
	config := map[string]any{}
	for _, s := range append([]setting{
		{"listen", []string{"127.0.0.1:0"}}, {"admin.listen", ""}, {"log.format", "json"}, {"log.level", "debug"},
		{"limits.drain_timeout", "5s"}, {"upstream.primary", primary},
	}, settings...) {
		m := config
		keys := strings.Split(s.path, ".")
		for _, key := range keys[:len(keys)-1] {
			next, ok := m[key].(map[string]any)
			if !ok {
				next = map[string]any{}
				m[key] = next
			}
			m = next
		}
		m[keys[len(keys)-1]] = s.value
	}
	text, err := json.MarshalIndent(config, "", "  ") // which is YAML, too
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, logFile: filepath.Join(dir, "log")}
	log, err := os.Create(p.logFile)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(program, "serve", "-config", file)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), "GORACE=exitcode=66")
	if p.exited, err = child.Start(p.cmd); err != nil {
		t.Fatalf("start scriptproxy: %v", err)
	}
	t.Cleanup(func() {
		if !p.ended {
			p.terminate()
			p.awaitEnd()
		}
		if t.Failed() {
			log := p.log()
			t.Logf("the end of scriptproxy's log:\n%s", log[max(0, len(log)-6000):])
		}
	})
	p.eventually("serve", func() error {
		select {
		case <-p.exited:
			t.Fatal("scriptproxy ended while starting")
		default:
		}
		for line := range strings.Lines(p.log()) {
			var entry struct {
				Msg       string
				Addresses []string
			}
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" && len(entry.Addresses) == 1 {
				p.addr = entry.Addresses[0]
				return nil
			}
		}
		return fmt.Errorf("no line in the log says so")
	})
	return p
}

// terminate tells the proxy to end. Any goroutine may call it; a second signal, which ends it at once, is not sent.
func (p *proxy) terminate() {
	p.once.Do(func() { syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM) })
}

// awaitEnd waits for the orderly end of a proxy that was told to, and returns how long it took.
func (p *proxy) awaitEnd() time.Duration {
	p.t.Helper()
	p.ended = true
	from := time.Now()
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
	return time.Since(from)
}

// log is what the proxy has written so far.
func (p *proxy) log() string {
	b, err := os.ReadFile(p.logFile)
	if err != nil {
		p.t.Fatalf("read scriptproxy's log: %v", err)
	}
	return string(b)
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

// open returns a connection that is closed with the test.
func (p *proxy) open() net.Conn {
	p.t.Helper()
	c, err := net.DialTimeout("tcp", p.addr, patience)
	if err != nil {
		p.t.Fatalf("connect to scriptproxy: %v", err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

// client returns a client of the proxy.
func (p *proxy) client() *client {
	p.t.Helper()
	return newClient(p.t, p.open())
}

// memory is the proxy's resident memory, in bytes, from /proc/PID/status.
func (p *proxy) memory() int {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		p.t.Fatalf("no VmRSS in %s", b)
	}
	kb, err := strconv.Atoi(fields[0])
	if err != nil {
		p.t.Fatal(err)
	}
	return kb << 10
}
