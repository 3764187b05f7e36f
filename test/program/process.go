package program

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
	// Patience bounds every wait for something that takes milliseconds on an idle machine.
	Patience = 20 * time.Second
	// stopPatience bounds the orderly end of the program.
	stopPatience = 15 * time.Second
	// tail is how much of the log of a failed test is shown, in bytes.
	tail = 6000
)

// Process is one running scriptproxy. It ends with its test, which fails when the program did not end in order, or when it
// reported a data race or a panic.
type Process struct {
	// Addr is where clients are served, Admin where operators are, as far as they are known; see AwaitServing.
	Addr, Admin string
	// Config and LogFile are the paths of the configuration and of the log.
	Config, LogFile string
	Cmd             *exec.Cmd
	// Exited is closed when the program has ended.
	Exited <-chan struct{}

	t     testing.TB
	from  int64     // where its log begins
	told  sync.Once // to end
	ended bool      // and looked at
}

// Start runs the program on a configuration file, with its log beside it.
func Start(t testing.TB, binary, config string) *Process {
	t.Helper()
	return StartLogging(t, binary, config, filepath.Join(filepath.Dir(config), "log"))
}

// StartLogging is Start with another log file. It appends to the log of a process before it.
func StartLogging(t testing.TB, binary, config, logFile string) *Process {
	t.Helper()
	p := &Process{t: t, Config: config, LogFile: logFile}
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if p.from, err = log.Seek(0, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	p.Cmd = exec.Command(binary, "serve", "-config", config)
	p.Cmd.Stdout, p.Cmd.Stderr = log, log
	p.Cmd.Env = Environ()
	if p.Exited, err = child.Start(p.Cmd); err != nil {
		t.Fatalf("start scriptproxy: %v", err)
	}
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			log := p.Log()
			t.Logf("the end of scriptproxy's log:\n%s", log[max(0, len(log)-tail):])
		}
	})
	return p
}

// Environ is the environment of the program: a data race, which is reported when it ends, fails it.
func Environ() []string { return append(os.Environ(), "GORACE=exitcode=66 atexit_sleep_ms=20") }

// Log is what the program has written so far.
func (p *Process) Log() string {
	b, err := os.ReadFile(p.LogFile)
	if err != nil {
		p.t.Fatalf("read scriptproxy's log: %v", err)
	}
	return string(b[p.from:])
}

// AwaitServing waits for the log line that says where the program listens: for clients at the first address, for operators at the
// second, if there is one.
func (p *Process) AwaitServing() {
	p.t.Helper()
	p.Eventually("serve", func() error {
		if err := p.running(); err != nil {
			p.t.Fatal(err)
		}
		for line := range strings.Lines(p.Log()) {
			var entry struct {
				Msg       string
				Addresses []string
			}
			if json.Unmarshal([]byte(line), &entry) != nil || entry.Msg != "serving" {
				continue
			}
			p.Addr = entry.Addresses[0]
			if len(entry.Addresses) > 1 {
				p.Admin = entry.Addresses[1]
			}
			return nil
		}
		return errors.New("no line in the log says so")
	})
}

// AwaitReady waits until /readyz says that the program is ready.
func (p *Process) AwaitReady() {
	p.t.Helper()
	p.Eventually("get ready", func() error {
		if err := p.running(); err != nil {
			p.t.Fatal(err)
		}
		return p.Ready()
	})
}

// Ready returns an error unless /readyz says that the program is ready, at once.
func (p *Process) Ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	status, body, err := p.Request(ctx, http.MethodGet, "/readyz", nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("/readyz: %d %s", status, body)
	}
	return err
}

func (p *Process) running() error {
	select {
	case <-p.Exited:
		return fmt.Errorf("scriptproxy ended by itself: %v", p.Cmd.ProcessState)
	default:
		return nil
	}
}

// Eventually waits until f returns nil.
func (p *Process) Eventually(what string, f func() error) {
	p.t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the proxy did not %s within %v: %v", what, Patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Terminate tells the program to end. Any goroutine may call it; a second signal, which ends it at once, is not sent.
func (p *Process) Terminate() {
	p.told.Do(func() { syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGTERM) })
}

// AwaitEnd waits for the orderly end of a program that was told to end, and returns how long that took.
func (p *Process) AwaitEnd() time.Duration {
	p.t.Helper()
	from := time.Now()
	select {
	case <-p.Exited:
		if code := p.Cmd.ProcessState.ExitCode(); code != 0 {
			p.t.Errorf("scriptproxy ended with status %d (%v)", code, p.Cmd.ProcessState)
		}
	case <-time.After(stopPatience):
		syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGQUIT) // prints where each goroutine is
		select {
		case <-p.Exited:
		case <-time.After(Patience):
			syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL)
			<-p.Exited
		}
		p.t.Errorf("scriptproxy was still running %v after SIGTERM", stopPatience)
	}
	p.over()
	return time.Since(from)
}

// Stop ends the program in order, unless it has ended.
func (p *Process) Stop() {
	p.t.Helper()
	if !p.ended {
		p.Terminate()
		p.AwaitEnd()
	}
}

// Kill ends the program as a crash would, unless it has ended.
func (p *Process) Kill() {
	p.t.Helper()
	if p.ended {
		return
	}
	syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL)
	<-p.Exited
	p.over()
}

// over looks for what a program that has ended must not have written.
func (p *Process) over() {
	p.t.Helper()
	p.ended = true
	log := p.Log()
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if at := strings.Index(log, bad); at >= 0 {
			p.t.Errorf("scriptproxy reports: %s", log[at:min(len(log), at+4000)])
		}
	}
}

// Open returns a connection to Addr that is closed with the test.
func (p *Process) Open() net.Conn {
	p.t.Helper()
	c, err := net.DialTimeout("tcp", p.Addr, Patience)
	if err != nil {
		p.t.Fatalf("connect to scriptproxy: %v", err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

var client = &http.Client{Timeout: Patience}

// Request asks the admin listener. Any goroutine may call it.
func (p *Process) Request(ctx context.Context, method, path string, body io.Reader, header ...string) (status int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.Admin+path, body)
	if err != nil {
		return 0, "", err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// Get asks the admin listener for something.
func (p *Process) Get(path string) (status int, body string) { return p.must(http.MethodGet, path) }

// Post asks the admin listener to do something.
func (p *Process) Post(path string) (status int, body string) { return p.must(http.MethodPost, path) }

func (p *Process) must(method, path string) (status int, body string) {
	p.t.Helper()
	status, body, err := p.Request(context.Background(), method, path, nil)
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, path, err)
	}
	return status, body
}

// Metrics maps each series, written as in the text format, to its value.
func (p *Process) Metrics() map[string]float64 {
	p.t.Helper()
	status, body := p.Get("/metrics")
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

// Memory is a figure of the program's memory in bytes, by its name in /proc/PID/status (proc(5)): VmRSS for what is resident, VmHWM
// for the most that was.
func (p *Process) Memory(name string) int64 {
	p.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), name+":")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		p.t.Fatalf("no %s in %s", name, b)
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return kb << 10
}

// Rewrite changes a text in the configuration file.
func (p *Process) Rewrite(old, new string) {
	p.t.Helper()
	text, err := os.ReadFile(p.Config)
	if err != nil {
		p.t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		p.t.Fatalf("%s is not once in the configuration:\n%s", old, text)
	}
	if err := os.WriteFile(p.Config, []byte(strings.Replace(string(text), old, new, 1)), 0o600); err != nil {
		p.t.Fatal(err)
	}
}
