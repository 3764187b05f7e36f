package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/scriptproxy/scriptproxy/test/child"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// The targets, in the order of the report.
const (
	direct      = "direct"
	scriptproxy = "scriptproxy"
	twemproxy   = "twemproxy"
	haproxy     = "haproxy"
)

var targetNames = []string{direct, scriptproxy, twemproxy, haproxy}

// target is a way to the server: a proxy's process, or none for the direct one.
type target struct {
	name    string
	port    int
	dir     string
	cmd     *exec.Cmd
	exited  <-chan struct{}
	release func() // gives the port back; nil for the direct target
}

// chooseTargets checks a comma-separated list of target names.
func chooseTargets(list string) ([]string, error) {
	chosen := strings.Split(list, ",")
	for _, name := range chosen {
		if !slices.Contains(targetNames, name) {
			return nil, fmt.Errorf("unknown target %q: the targets are %s", name, strings.Join(targetNames, ", "))
		}
	}
	var ordered []string
	for _, name := range targetNames {
		if slices.Contains(chosen, name) {
			ordered = append(ordered, name)
		}
	}
	return ordered, nil
}

// startTarget starts the named proxy in front of the server at serverPort, which may have a replica, and waits until a command comes
// through.
func startTarget(name string, serverPort, replicaPort int, o options) (*target, error) {
	t := &target{name: name, port: serverPort}
	if name == direct {
		return t, nil
	}
	dir, err := os.MkdirTemp("", "scriptproxy-bench-")
	if err != nil {
		return nil, fmt.Errorf("create a directory for %s: %w", name, err)
	}
	t.dir = dir
	port, release, err := redisserver.LeasePort()
	if err != nil {
		t.close()
		return nil, err
	}
	t.port, t.release = port, release
	adminPort, releaseAdmin, err := redisserver.LeasePort()
	if err != nil {
		t.close()
		return nil, err
	}
	defer releaseAdmin()

	args, err := commandLine(name, dir, port, adminPort, serverPort, replicaPort, o)
	if err == nil {
		err = t.start(args)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// commandLine writes the named proxy's configuration to dir and returns how to start it.
func commandLine(name, dir string, port, adminPort, serverPort, replicaPort int, o options) ([]string, error) {
	switch name {
	case scriptproxy, protected, governed, fast, uncounted, before:
		program := o.proxy
		if name == before {
			program = o.before
		}
		program, err := filepath.Abs(program)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(program); err != nil {
			return nil, fmt.Errorf("find scriptproxy: %w: build it with make build, or name it with -proxy", err)
		}
		var extra []byte
		if o.config != "" {
			if extra, err = os.ReadFile(o.config); err != nil {
				return nil, fmt.Errorf("read -config: %w", err)
			}
		}
		script, err := writeFile(dir, scriptName+".lua", scriptBody)
		if err != nil {
			return nil, err
		}
		v, err := variantConfig(name, dir, replicaPort)
		if err != nil {
			return nil, err
		}
		config, err := writeFile(dir, "scriptproxy.yaml", fmt.Sprintf(`listen: [127.0.0.1:%d]
admin: {listen: 127.0.0.1:%d}
upstream:
  primary: 127.0.0.1:%d
%s%sscripts:
%s  list:
    - name: %s
      active: v1
      versions: {v1: {file: %s}}
%s%s`, port, adminPort, serverPort, v.upstream, v.sections, v.scripts, scriptName, script, v.script, extra))
		return []string{program, "serve", "-config", config}, err

	case twemproxy:
		program, err := findProgram("nutcracker")
		if err != nil {
			return nil, err
		}
		config, err := writeFile(dir, "nutcracker.yml", fmt.Sprintf(`bench:
  listen: 127.0.0.1:%d
  hash: fnv1a_64
  distribution: ketama
  redis: true
  preconnect: true
  auto_eject_hosts: false
  server_connections: 1
  servers:
   - 127.0.0.1:%d:1
`, port, serverPort))
		return []string{program, "-c", config, "-s", strconv.Itoa(adminPort), "-a", "127.0.0.1"}, err

	case haproxy:
		program, err := findProgram("haproxy")
		if err != nil {
			return nil, err
		}
		config, err := writeFile(dir, "haproxy.cfg", fmt.Sprintf(`global
  nbthread 1
  maxconn 2000
defaults
  mode tcp
  timeout connect 5s
  timeout client 10m
  timeout server 10m
frontend bench
  bind 127.0.0.1:%d
  default_backend redis
backend redis
  server redis 127.0.0.1:%d
`, port, serverPort))
		return []string{program, "-db", "-f", config}, err
	}
	return nil, fmt.Errorf("no such proxy: %s", name)
}

// findProgram looks for a program on the PATH and in /usr/sbin, where Debian puts servers and where not every user's PATH leads.
func findProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if path, err := exec.LookPath(filepath.Join("/usr/sbin", name)); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("%s is not installed: run .ci/packages %s (Debian and Ubuntu), or leave it out with -targets", name, name)
}

func writeFile(dir, name, text string) (string, error) {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("write a proxy's configuration: %w", err)
	}
	return path, nil
}

// start runs the proxy and waits until it passes on a GET.
func (t *target) start(args []string) error {
	log, err := os.Create(t.logFile())
	if err != nil {
		return fmt.Errorf("create the log of %s: %w", t.name, err)
	}
	defer log.Close()
	t.cmd = exec.Command(args[0], args[1:]...)
	t.cmd.Dir = t.dir
	t.cmd.Stdout, t.cmd.Stderr = log, log
	if t.exited, err = child.Start(t.cmd); err != nil {
		return fmt.Errorf("start %s: %w", t.name, err)
	}
	var last error
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
		select {
		case <-t.exited:
			return fmt.Errorf("%s ended while starting (%v); its log:\n%s", t.name, t.cmd.ProcessState, t.log())
		case <-time.After(10 * time.Millisecond):
		}
		if last = t.probe(); last == nil {
			return nil
		}
	}
	return fmt.Errorf("%s does not pass on a GET after 15s: %v; its log:\n%s", t.name, last, t.log())
}

// probe asks for a key that does not exist.
func (t *target) probe() error {
	conn, err := openUsed(t.addr(), 2*time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (t *target) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(t.port)) }

// pid is the proxy's process id, 0 for the direct target.
func (t *target) pid() int {
	if t.cmd == nil {
		return 0
	}
	return t.cmd.Process.Pid
}

func (t *target) logFile() string { return filepath.Join(t.dir, "log") }

// log is the end of the proxy's log.
func (t *target) log() string {
	b, err := os.ReadFile(t.logFile())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4096):])
}

// alive returns an error when the proxy's process has ended.
func (t *target) alive() error {
	if t.cmd == nil {
		return nil
	}
	select {
	case <-t.exited:
		return fmt.Errorf("%s ended (%v); its log:\n%s", t.name, t.cmd.ProcessState, t.log())
	default:
		return nil
	}
}

// close ends the proxy and removes its directory.
func (t *target) close() {
	if t.exited != nil {
		syscall.Kill(-t.cmd.Process.Pid, syscall.SIGKILL)
		<-t.exited
	}
	if t.release != nil {
		t.release()
	}
	if t.dir != "" {
		os.RemoveAll(t.dir)
	}
}
