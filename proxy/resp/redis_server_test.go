package resp_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// redisServer is a real redis-server that belongs to this process, on a unix socket. Its default user can run
// only a few harmless commands whose replies depend on the data alone.
type redisServer struct {
	socket string
	stop   func()
}

// The servers of this process, started on first use and ended by TestMain.
var (
	openServer   = lazyServer("nopass")
	lockedServer = lazyServer(">a password that nobody gives")
	startedMu    sync.Mutex
	started      []*redisServer
)

func TestMain(m *testing.M) {
	code := m.Run()
	startedMu.Lock()
	for _, s := range started {
		s.stop()
	}
	startedMu.Unlock()
	os.Exit(code)
}

func lazyServer(password string) func() (*redisServer, error) {
	return sync.OnceValues(func() (*redisServer, error) {
		s, err := startRedis(password)
		if err != nil {
			return nil, err
		}
		startedMu.Lock()
		started = append(started, s)
		startedMu.Unlock()
		return s, nil
	})
}

const adminPassword = "admin of a test"

func startRedis(password string) (*redisServer, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("the tests of this package need redis-server 7.0 (Debian: apt-get install redis-server): %w", err)
	}
	dir, err := os.MkdirTemp("", "resp")
	if err != nil {
		return nil, err
	}
	s := &redisServer{socket: filepath.Join(dir, "s")}
	conf := filepath.Join(dir, "redis.conf")
	config := fmt.Sprintf(`port 0
unixsocket %s
dir %s
save ""
appendonly no
rename-command HELLO ""
rename-command RESET ""
user default on %q ~* resetchannels -@all +echo +ping +get +del +append +strlen +exists +mget +mset
user admin on %q ~* +@all
`, s.socket, dir, password, ">"+adminPassword)
	if err := os.WriteFile(conf, []byte(config), 0o600); err != nil {
		return nil, err
	}
	var output bytes.Buffer
	cmd := exec.Command(path, conf)
	cmd.Stdout, cmd.Stderr = &output, &output
	// A fuzzing process may be killed; the server goes with the thread that started it, which therefore
	// is kept.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	startErr, exited, end := make(chan error), make(chan struct{}), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		startErr <- err
		if err == nil {
			<-end
		}
	}()
	if err := <-startErr; err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	s.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		<-exited
		close(end)
		_ = os.RemoveAll(dir)
	})
	for range 1000 {
		select {
		case <-exited:
			s.stop()
			return nil, fmt.Errorf("redis-server ended at once: %s", output.String())
		case <-time.After(10 * time.Millisecond):
		}
		if c, err := net.Dial("unix", s.socket); err == nil {
			_ = c.Close()
			return s, nil
		}
	}
	s.stop()
	return nil, fmt.Errorf("redis-server does not listen: %s", output.String())
}

// dial connects as a client that has said nothing yet.
func (s *redisServer) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", s.socket)
	if err != nil {
		t.Fatalf("connecting to redis-server: %v", err)
	}
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// flush empties the server's data.
func (s *redisServer) flush(t *testing.T) {
	t.Helper()
	c := s.dial(t)
	defer c.Close()
	request := resp.AppendCommand(nil, "AUTH", "admin", adminPassword)
	request = resp.AppendCommand(request, "FLUSHALL")
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	if got := readReplies(t, c, 2); string(got) != "+OK\r\n+OK\r\n" {
		t.Fatalf("emptying redis-server: %q", got)
	}
}
