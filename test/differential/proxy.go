package differential

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/scriptproxy/scriptproxy/test/child"
)

// Proxy is a running scriptproxy.
type Proxy struct {
	// Addr is where it serves clients.
	Addr string

	cmd     *exec.Cmd
	exited  <-chan struct{}
	logFile string
}

// proxyStart bounds the time from exec to serving; a build with the race detector on a busy machine needs a second or two.
const proxyStart = 30 * time.Second

var servingLine = regexp.MustCompile(`msg=serving addresses=(?:"?\[)([0-9.:]+)`)

// StartProxy starts a program in a directory, with more lines for its configuration. The caller must Stop it.
func StartProxy(program, dir, upstream, extra string) (*Proxy, error) {
	config := "listen: [\"127.0.0.1:0\"]\nadmin:\n  listen: \"\"\nlog:\n  format: text\n  level: info\nupstream:\n  primary: " + upstream + "\n" + extra
	path := filepath.Join(dir, "scriptproxy.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("write the proxy's configuration: %w", err)
	}
	p := &Proxy{logFile: filepath.Join(dir, "scriptproxy.log")}
	log, err := os.Create(p.logFile)
	if err != nil {
		return nil, fmt.Errorf("create the proxy's log: %w", err)
	}
	defer log.Close()
	p.cmd = exec.Command(program, "serve", "-config", path)
	p.cmd.Env = append(os.Environ(), "GORACE=halt_on_error=0")
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if p.exited, err = child.Start(p.cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	for deadline := time.Now().Add(proxyStart); ; time.Sleep(2 * time.Millisecond) {
		if m := servingLine.FindStringSubmatch(p.Log()); m != nil {
			p.Addr = m[1]
			return p, nil
		}
		if !p.Running() || time.Now().After(deadline) {
			p.kill()
			return nil, fmt.Errorf("the proxy does not serve; its log:\n%s", p.Log())
		}
	}
}

// Running reports whether the proxy's process exists.
func (p *Proxy) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Log is what the proxy has logged.
func (p *Proxy) Log() string {
	b, err := os.ReadFile(p.logFile)
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return string(b)
}

// Races returns the reports of the race detector in the log.
func (p *Proxy) Races() string {
	_, report, found := strings.Cut(p.Log(), "WARNING: DATA RACE")
	if !found {
		return ""
	}
	return "WARNING: DATA RACE" + report
}

// Stop ends the proxy with SIGTERM. It is an error when it had ended before, or does not end in order.
func (p *Proxy) Stop() error {
	if !p.Running() {
		return fmt.Errorf("the proxy ended by itself: %v; its log:\n%s", p.cmd.ProcessState, p.Log())
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(10 * time.Second):
		p.kill()
		return fmt.Errorf("the proxy still runs 10 s after SIGTERM; its log:\n%s", p.Log())
	}
	if !p.cmd.ProcessState.Success() && p.Races() == "" {
		return fmt.Errorf("the proxy ended with %v; its log:\n%s", p.cmd.ProcessState, p.Log())
	}
	return nil
}

func (p *Proxy) kill() {
	if p.Running() {
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.exited
	}
}
