package demo

import (
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start starts a kind of servers and ends them with the test.
func start(t *testing.T, kind string) Servers {
	t.Helper()
	var servers Servers
	var err error
	if kind == "embedded" {
		servers, err = StartEmbedded()
	} else {
		binary, lookErr := exec.LookPath("redis-server")
		if lookErr != nil {
			t.Fatal("this test needs redis-server on the PATH: ", lookErr)
		}
		servers, err = StartRedis(t.Context(), binary, t.TempDir())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(servers.Stop)
	return servers
}

func TestRealServersReplicateAndAreGoneAfterStop(t *testing.T) {
	servers := start(t, "redis-server")
	primary, replica := dial(t, servers.Primary()), dial(t, servers.Replica())
	if got, err := primary.Do("SET", "k", "v"); got != "OK" || err != nil {
		t.Fatal(got, err)
	}
	if got, err := primary.Do("WAIT", 1, 10000); got != int64(1) || err != nil {
		t.Fatal("the replica does not follow: ", got, err)
	}
	if got, err := replica.Do("GET", "k"); got != "v" || err != nil {
		t.Error("the replica has ", got, err)
	}
	if text := servers.String(); !strings.Contains(text, servers.Primary()) || !strings.HasPrefix(text, "redis-server ") {
		t.Errorf("they call themselves %q", text)
	}
	servers.Stop()
	for _, address := range []string{servers.Primary(), servers.Replica()} {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			t.Errorf("%s still accepts connections", address)
		}
	}
	select {
	case err := <-servers.Failed():
		t.Error("a stop counts as a failure: ", err)
	default:
	}
}

func TestServerThatDiesIsReported(t *testing.T) {
	servers := start(t, "redis-server").(*redis)
	if err := servers.replica.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-servers.Failed():
		if !strings.Contains(err.Error(), servers.Replica()) || !strings.Contains(err.Error(), "killed") {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing was reported")
	}
}

func TestServerThatCannotStartSaysWhy(t *testing.T) {
	for binary, want := range map[string]string{
		"/nonexistent/redis-server": "cannot run",
		"false":                     "cannot run",
		"true":                      "redis-server ended at once",
	} {
		_, err := StartRedis(t.Context(), binary, filepath.Join(t.TempDir(), "d"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", binary, err)
		}
	}
}

func TestCancelledStartLeavesNothingBehind(t *testing.T) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("this test needs redis-server on the PATH: ", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartRedis(ctx, binary, t.TempDir()); err == nil {
		t.Error("it started")
	}
}

func dial(t *testing.T, address string) *redisserver.Client {
	t.Helper()
	c, err := redisserver.DialClient(address, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
