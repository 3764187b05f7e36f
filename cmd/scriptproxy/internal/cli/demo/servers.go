package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTimeout is how long a redis-server may take to serve, and a replica to have
// its first copy; both take well under a second.
const startTimeout = 15 * time.Second

// Servers are the Redis servers of a demo.
type Servers interface {
	// String says what they are and where.
	String() string
	// Primary and Replica return addresses, host:port; no replica is empty.
	Primary() string
	Replica() string
	// Failed receives an error when a server ends by itself.
	Failed() <-chan error
	// Stop ends them and returns when they are gone.
	Stop()
}

// redis is a primary and a replica of redis-server.
type redis struct {
	version          string
	primary, replica *process
	failed           chan error
}

// StartRedis starts a primary and a replica with their files in dir, and returns
// when the replica has its first copy.
func StartRedis(ctx context.Context, binary, dir string) (Servers, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	r := &redis{failed: make(chan error, 2)}
	output, err := exec.CommandContext(ctx, binary, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("cannot run %s: %w", binary, err)
	}
	r.version = versionOf(string(output))
	if r.primary, err = startProcess(ctx, binary, filepath.Join(dir, "primary"), "", r.failed); err != nil {
		return nil, err
	}
	r.replica, err = startProcess(ctx, binary, filepath.Join(dir, "replica"), r.primary.address, r.failed)
	if err == nil {
		err = r.replica.waitFor(ctx, "INFO replication", "master_link_status:up")
	}
	if err != nil {
		r.Stop()
		return nil, err
	}
	return r, nil
}

// versionOf returns "7.0.15" of "Redis server v=7.0.15 sha=…".
func versionOf(text string) string {
	_, after, _ := strings.Cut(text, " v=")
	version, _, _ := strings.Cut(after, " ")
	return version
}

func (r *redis) String() string {
	return fmt.Sprintf("redis-server %s: primary %s, replica %s", r.version, r.primary.address, r.replica.address)
}
func (r *redis) Primary() string      { return r.primary.address }
func (r *redis) Replica() string      { return r.replica.address }
func (r *redis) Failed() <-chan error { return r.failed }

func (r *redis) Stop() {
	for _, p := range []*process{r.replica, r.primary} {
		if p != nil {
			p.stop()
		}
	}
}

// process is one redis-server.
type process struct {
	address string
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended
	log     string        // its log file

	mu       sync.Mutex
	stopping bool
}

// startProcess starts a redis-server on a free port and returns when it serves. When
// the port is taken by another program in between, it takes another.
func startProcess(ctx context.Context, binary, dir, primary string, failed chan<- error) (*process, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	for range 3 {
		var p *process
		if p, err = launch(binary, dir, primary); err != nil {
			return nil, err
		}
		if err = p.waitFor(ctx, "PING", "PONG"); err == nil {
			p.watch(failed)
			return p, nil
		}
		p.stop()
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

func launch(binary, dir, primary string) (*process, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("no port is free for redis-server: %w", err)
	}
	p := &process{address: l.Addr().String(), log: filepath.Join(dir, "log"), done: make(chan struct{})}
	_, port, _ := net.SplitHostPort(p.address)
	l.Close()
	args := []string{
		"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--logfile", p.log,
		"--save", "", "--appendonly", "no", "--daemonize", "no", "--repl-diskless-sync-delay", "0",
	}
	if primary != "" {
		host, port, _ := net.SplitHostPort(primary)
		args = append(args, "--replicaof", host+" "+port)
	}
	p.cmd = exec.Command(binary, args...)
	p.cmd.SysProcAttr = childAttributes()
	started := make(chan error)
	go func() {
		// The kernel kills the child when the thread that started it ends.
		runtime.LockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", binary, err)
	}
	return p, nil
}

// watch reports the end of the process unless it is stopped.
func (p *process) watch(failed chan<- error) {
	go func() {
		<-p.done
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.stopping {
			failed <- fmt.Errorf("the redis-server on %s ended by itself: %s", p.address, p.cmd.ProcessState)
		}
	}()
}

// stop ends the process and returns when it has. It has nothing to save.
func (p *process) stop() {
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

// waitFor sends an inline command until the reply contains want.
func (p *process) waitFor(ctx context.Context, command, want string) error {
	for {
		if reply, err := ask(ctx, p.address, command); err == nil && strings.Contains(reply, want) {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("redis-server ended at once (%s): %s", p.cmd.ProcessState, lastLine(p.log))
		case <-ctx.Done():
			return fmt.Errorf("redis-server on %s does not answer %s with %s: %w", p.address, command, want, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// ask sends an inline command and returns its reply: a line, or a bulk.
func ask(ctx context.Context, address, command string) (string, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return "", err
	}
	reader := bufio.NewReader(conn)
	line, err := reader.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "$") {
		return line, err
	}
	var length int
	if _, err := fmt.Sscanf(line, "$%d", &length); err != nil || length < 0 || length > 1<<20 {
		return "", errors.New("not a bulk reply")
	}
	bulk := make([]byte, length)
	_, err = io.ReadFull(reader, bulk)
	return string(bulk), err
}

// lastLine returns the last line of a log.
func lastLine(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return "it left no log"
	}
	text := strings.TrimSpace(string(data))
	return text[strings.LastIndex(text, "\n")+1:]
}
