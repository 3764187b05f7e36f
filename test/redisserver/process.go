package redisserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/scriptproxy/scriptproxy/test/child"
)

const (
	// startTimeout bounds the time from exec to "ready to accept connections", loading an append-only file included. On an
	// idle machine it takes 10 ms; the rest is for two busy cores and the race detector.
	startTimeout = 30 * time.Second
	// stopTimeout bounds an orderly shutdown before it becomes a kill.
	stopTimeout = 10 * time.Second
)

// errPortTaken is returned by a start that lost its port to another program.
var errPortTaken = errors.New("the port is taken")

// Process is one running server. Its methods are called by one goroutine at a time, except Addr, Port,
// Socket, Dir, Log, Dial and Conn, which may be called by any.
type Process struct {
	cfg   Config
	lease *portLease
	port  int
	dir   string

	mu       sync.Mutex
	cmd      *exec.Cmd
	exited   <-chan struct{}
	logStart int64 // where in the log the present run begins
}

// StartProcess starts a server and returns when it accepts connections. The caller must Close it. If the program ends
// without doing so, by a crash too, the kernel kills the server.
func StartProcess(cfg Config) (*Process, error) {
	launcher := cfg.launcher()
	if _, err := exec.LookPath(launcher[0]); err != nil {
		return nil, fmt.Errorf("start a Redis server: %w: install it (Debian and Ubuntu: apt-get install redis-server redis-tools; "+
			"elsewhere put redis-server on the PATH) or name another one in SCRIPTPROXY_TEST_REDIS", err)
	}
	var err error
	for range 5 {
		var p *Process
		if p, err = start(cfg); err == nil {
			return p, nil
		}
		if cfg.Port != 0 || !errors.Is(err, errPortTaken) {
			break
		}
	}
	return nil, err
}

func start(cfg Config) (*Process, error) {
	p := &Process{cfg: cfg, port: cfg.Port}
	if p.port == 0 {
		lease, err := leasePort()
		if err != nil {
			return nil, err
		}
		p.lease, p.port = lease, lease.port
	}
	dir, err := os.MkdirTemp("", "redis-server-") // short, for the 107 bytes of a unix socket's path
	if err != nil {
		p.lease.release()
		return nil, fmt.Errorf("create the server's directory: %w", err)
	}
	p.dir = dir
	if err := os.WriteFile(p.configFile(), []byte(cfg.file(dir, p.port, p.Socket())), 0o600); err != nil {
		p.Close()
		return nil, fmt.Errorf("write the server's configuration: %w", err)
	}
	if err := p.run(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// run starts the server and waits until it accepts connections.
func (p *Process) run() error {
	logFile, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the server's log: %w", err)
	}
	defer logFile.Close()
	info, err := logFile.Stat()
	if err != nil {
		return fmt.Errorf("read the size of the server's log: %w", err)
	}

	args := append(append([]string(nil), p.cfg.launcher()...), p.configFile())
	if p.cfg.sentinel {
		args = append(args, "--sentinel")
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = p.dir
	cmd.Stdout, cmd.Stderr = logFile, logFile
	exited, err := child.Start(cmd)
	if err != nil {
		return fmt.Errorf("start %s: %w", strings.Join(args, " "), err)
	}
	p.mu.Lock()
	p.cmd, p.exited, p.logStart = cmd, exited, info.Size()
	p.mu.Unlock()
	return p.awaitReady()
}

// awaitReady waits for the server's own word that it accepts connections, then for its answer to PING. The word
// comes from the log, because another program's server might answer at a port that this one failed to get.
func (p *Process) awaitReady() error {
	ready := "Ready to accept connections"
	if p.cfg.sentinel {
		ready = "Sentinel ID is"
	}
	deadline := time.Now().Add(startTimeout)
	for {
		select {
		case <-p.exited:
			log := p.currentLog()
			if strings.Contains(log, "Address already in use") {
				return fmt.Errorf("the server at %s did not start: %w", p.Addr(), errPortTaken)
			}
			return fmt.Errorf("the server at %s ended while starting; its log:\n%s", p.Addr(), tail(log))
		case <-time.After(2 * time.Millisecond):
		}
		if strings.Contains(p.currentLog(), ready) && p.ping() {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server at %s was not ready after %v; its log:\n%s", p.Addr(), startTimeout, tail(p.currentLog()))
		}
	}
}

// ping reports whether the server answers as one that is done with loading: with PONG, or with a refusal
// that its configuration asked for.
func (p *Process) ping() bool {
	conn, err := p.Conn()
	if err != nil {
		return false
	}
	c := NewClient(conn)
	defer c.Close()
	reply, err := c.Do("PING")
	if err != nil {
		return false
	}
	if e, ok := reply.(Error); ok {
		code, _, _ := strings.Cut(string(e), " ")
		return code == "NOAUTH" || code == "NOPERM" || code == "MASTERDOWN"
	}
	return reply == "PONG"
}

// Port is the TCP port on 127.0.0.1.
func (p *Process) Port() int { return p.port }

// Addr is host:port.
func (p *Process) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// Dir is the server's directory: its configuration, log, append-only files and socket.
func (p *Process) Dir() string { return p.dir }

// Password is the default user's password, empty when there is none.
func (p *Process) Password() string { return p.cfg.Password }

// Socket is the path of the unix socket, empty unless asked for.
func (p *Process) Socket() string {
	if !p.cfg.UnixSocket {
		return ""
	}
	return filepath.Join(p.dir, "redis.sock")
}

// PID is the process id of the launcher, which is the server itself unless SCRIPTPROXY_TEST_REDIS or Launcher names a program
// that does not exec. It changes with Restart.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Running reports whether the server's process exists (a paused one does).
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// signal sends sig to the server's process group. A server that has ended is an error.
func (p *Process) signal(sig syscall.Signal) error {
	if !p.Running() {
		return fmt.Errorf("send %v to the server at %s: it is not running", sig, p.Addr())
	}
	if err := syscall.Kill(-p.PID(), sig); err != nil {
		return fmt.Errorf("send %v to the server at %s: %w", sig, p.Addr(), err)
	}
	return nil
}

// Kill ends the server with SIGKILL, as a crash would, and waits until it is gone. A server that has ended
// already is no error.
func (p *Process) Kill() error {
	if !p.Running() {
		return nil
	}
	if err := p.signal(syscall.SIGKILL); err != nil && p.Running() {
		return err
	}
	<-p.exited
	return nil
}

// Stop ends the server in order with SIGTERM and waits until it is gone. When it is not gone after 10 seconds,
// because a script runs for example, Stop kills it and returns an error.
func (p *Process) Stop() error {
	if !p.Running() {
		return nil
	}
	for _, sig := range []syscall.Signal{syscall.SIGCONT, syscall.SIGTERM} {
		if err := p.signal(sig); err != nil && p.Running() {
			return err
		}
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
		p.Kill()
		return fmt.Errorf("stop the server at %s: still running %v after SIGTERM, killed; its log:\n%s", p.Addr(), stopTimeout, tail(p.Log()))
	}
}

// Restart stops the server if it runs and starts it again with the same port, directory and configuration file,
// with what CONFIG REWRITE and Sentinel have written to it.
func (p *Process) Restart() error {
	if err := p.Stop(); err != nil {
		return err
	}
	return p.run()
}

// Pause stops the server's process with SIGSTOP: connections stay, and nothing is answered until Continue.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Continue ends a Pause.
func (p *Process) Continue() error { return p.signal(syscall.SIGCONT) }

// Close kills the server, removes its directory and gives its port back.
func (p *Process) Close() error {
	err := p.Kill()
	p.lease.release()
	if rmErr := os.RemoveAll(p.dir); err == nil && rmErr != nil {
		err = fmt.Errorf("remove the server's directory: %w", rmErr)
	}
	return err
}

func (p *Process) configFile() string { return filepath.Join(p.dir, "redis.conf") }

func (p *Process) logFile() string { return filepath.Join(p.dir, "redis.log") }

// Log is everything that the server has logged, over all its restarts.
func (p *Process) Log() string {
	b, err := os.ReadFile(p.logFile())
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return string(b)
}

// currentLog is what the server has logged since it was last started.
func (p *Process) currentLog() string {
	log := p.Log()
	p.mu.Lock()
	defer p.mu.Unlock()
	return log[min(p.logStart, int64(len(log))):]
}

// tail returns the last 4 KB of a log, which fit in an error message.
func tail(log string) string {
	const limit = 4 << 10
	if len(log) > limit {
		return "…" + log[len(log)-limit:]
	}
	return log
}
