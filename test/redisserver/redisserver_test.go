package redisserver

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const orphanEnv = "REDISSERVER_TEST_ORPHAN"

func TestMain(m *testing.M) {
	if os.Getenv(orphanEnv) != "" {
		startAndCrash()
	}
	goleak.VerifyTestMain(m)
}

// startAndCrash starts a server, prints its pid and dies without any cleanup.
func startAndCrash() {
	p, err := StartProcess(Config{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Printf("pid %d dir %s\n", p.PID(), p.Dir())
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

func TestServerAnswersAndIsGoneWithItsTest(t *testing.T) {
	var pid, port int
	var dir string
	t.Run("inner", func(t *testing.T) {
		s := Start(t)
		pid, port, dir = s.PID(), s.Port(), s.Dir()
		if got := s.Do("SET", "a", 1); got != "OK" {
			t.Errorf("SET answered %v", got)
		}
		if got := s.Do("INCRBY", "a", 41); got != int64(42) {
			t.Errorf("INCRBY answered %v", got)
		}
		if got := s.Info("persistence")["aof_enabled"]; got != "0" {
			t.Errorf("aof_enabled is %q", got)
		}
		if got := s.Info("server")["process_id"]; os.Getenv("SCRIPTPROXY_TEST_REDIS") == "" && got != strconv.Itoa(pid) {
			t.Errorf("the server says its pid is %s, PID says %d", got, pid)
		}
	})
	if !gone(pid) {
		t.Errorf("process %d survived its test", pid)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("directory %s survived its test: %v", dir, err)
	}
	if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		conn.Close()
		t.Errorf("port %d still answers", port)
	}
}

func TestServerDiesWithAProgramThatCrashes(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), orphanEnv+"=1")
	out, _ := cmd.Output()
	var pid int
	var dir string
	if _, err := fmt.Sscanf(string(out), "pid %d dir %s", &pid, &dir); err != nil {
		t.Fatalf("the program printed %q: %v", out, err)
	}
	defer os.RemoveAll(dir)
	for deadline := time.Now().Add(10 * time.Second); !gone(pid); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("server %d outlived the program that started it", pid)
		}
	}
}

func TestEveryAnsweredWriteSurvivesKillWithAOF(t *testing.T) {
	s := Start(t, AOF())
	for i := range 100 {
		s.Do("SET", fmt.Sprint("key:", i), i)
	}
	port, pid := s.Port(), s.PID()
	s.Kill()
	if !gone(pid) || s.Running() {
		t.Fatal("the server is there after Kill")
	}
	s.Restart()
	if s.Port() != port || s.PID() == pid {
		t.Errorf("restarted as process %d at port %d", s.PID(), s.Port())
	}
	if got := s.Do("DBSIZE"); got != int64(100) {
		t.Errorf("DBSIZE is %v", got)
	}
}

func TestServerWithoutAOFStartsEmpty(t *testing.T) {
	s := Start(t)
	s.Do("SET", "a", 1)
	s.Stop()
	if s.Running() {
		t.Fatal("the server is there after Stop")
	}
	s.Stop() // again is no error
	s.Restart()
	if got := s.Do("DBSIZE"); got != int64(0) {
		t.Errorf("DBSIZE is %v", got)
	}
}

func TestPausedServerKeepsConnectionsAndAnswersWhenContinued(t *testing.T) {
	s := Start(t)
	c := s.Client()
	s.Pause()
	if err := c.Send("PING"); err != nil {
		t.Fatal(err)
	}
	c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if b, err := c.r.ReadByte(); err == nil {
		t.Fatalf("a paused server sent %q", b)
	}
	s.Continue()
	if got, err := c.Receive(); err != nil || got != "PONG" {
		t.Errorf("after Continue: %v, %v", got, err)
	}
	s.Pause()
	s.Stop() // must not wait for Continue
}

func TestReplicaFollowsPrimaryWithPassword(t *testing.T) {
	primary, replica := StartPair(t, Password(`pa"ss word`))
	for i := range 200 {
		primary.Do("RPUSH", "list", i)
	}
	WaitReplica(t, primary, replica)
	if got := replica.Do("LLEN", "list"); got != int64(200) {
		t.Errorf("LLEN on the replica is %v", got)
	}
	if e, ok := replica.Do("SET", "a", 1).(Error); !ok || !strings.HasPrefix(string(e), "READONLY") {
		t.Errorf("SET on the replica answered %v", e)
	}
	replica.Restart()
	primary.Do("RPUSH", "list", "x")
	WaitReplica(t, primary, replica)
	if got := replica.Do("LLEN", "list"); got != int64(201) {
		t.Errorf("LLEN on the restarted replica is %v", got)
	}
}

func TestPasswordIsNeededByOthers(t *testing.T) {
	s := Start(t, Password("secret"))
	c := NewClient(s.Conn())
	if got, err := c.Do("PING"); err != nil || got != Error("NOAUTH Authentication required.") {
		t.Errorf("PING answered %v, %v", got, err)
	}
	if _, err := DialClient(s.Addr(), "wrong"); err == nil || strings.Contains(err.Error(), "wrong\"") {
		t.Errorf("a wrong password: %v", err)
	}
}

func TestACLUsersAreWhatTheySay(t *testing.T) {
	s := Start(t, ACL("alice on >secret ~a:* +get", "default off"))
	c := NewClient(s.Conn())
	if got, err := c.Do("AUTH", "alice", "secret"); err != nil || got != "OK" {
		t.Fatalf("AUTH answered %v, %v", got, err)
	}
	if got, _ := c.Do("GET", "a:1"); got != nil {
		t.Errorf("GET a:1 answered %v", got)
	}
	if got, _ := c.Do("GET", "b:1"); !strings.HasPrefix(fmt.Sprint(got), "NOPERM") {
		t.Errorf("GET b:1 answered %v", got)
	}
}

func TestOptionsReachTheServer(t *testing.T) {
	port := FreePort(t)
	s := Start(t, Port(port), UnixSocket(), LuaTimeLimit(123), Args("maxmemory", "10mb"))
	if s.Port() != port {
		t.Errorf("port is %d", s.Port())
	}
	for name, want := range map[string]string{"lua-time-limit": "123", "maxmemory": "10485760"} {
		if got, ok := s.Do("CONFIG", "GET", name).([]any); !ok || len(got) != 2 || got[1] != want {
			t.Errorf("%s is %v", name, got)
		}
	}
	conn, err := net.Dial("unix", s.Socket())
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(conn)
	defer c.Close()
	if got, err := c.Do("PING"); err != nil || got != "PONG" {
		t.Errorf("PING on the unix socket: %v, %v", got, err)
	}
	if !s.LogContains("The server is now ready to accept connections at " + s.Socket()) {
		t.Errorf("the log does not name the socket:\n%s", s.Log())
	}
}

func TestSentinelFailsOverToTheReplica(t *testing.T) {
	primary, replica := StartPair(t)
	sentinel := StartSentinel(t, primary, 1, time.Second)
	deadline := time.Now().Add(30 * time.Second)
	for { // it can promote only a replica that it has heard of
		if known, ok := sentinel.Do("SENTINEL", "REPLICAS", MasterName).([]any); ok && len(known) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the sentinel did not find the replica:\n%s", sentinel.Log())
		}
		time.Sleep(20 * time.Millisecond)
	}
	primary.Kill()
	for replica.Info("replication")["role"] != "master" {
		if time.Now().After(deadline) {
			t.Fatalf("no failover:\n%s", sentinel.Log())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestMissingServerSaysHowToInstallIt(t *testing.T) {
	_, err := StartProcess(Config{Launcher: []string{"no-such-redis-server"}})
	if err == nil || !strings.Contains(err.Error(), "apt-get install redis-server") || !strings.Contains(err.Error(), "no-such-redis-server") {
		t.Errorf("the error is %v", err)
	}
}

func TestLauncherRunsTheServer(t *testing.T) {
	t.Setenv("SCRIPTPROXY_TEST_REDIS", "nice -n 5 redis-server")
	s := Start(t)
	// The system call answers 20 minus the nice value, to keep clear of negative results.
	if got, err := syscall.Getpriority(syscall.PRIO_PROCESS, s.PID()); err != nil || 20-got < 5 {
		t.Errorf("not started through the launcher: its nice value is %d, %v", 20-got, err)
	}
}

func TestBadDirectiveFailsWithTheServersOwnWords(t *testing.T) {
	_, err := StartProcess(Config{Directives: []Directive{{"no-such-directive", "1"}}})
	if err == nil || !strings.Contains(err.Error(), "no-such-directive") {
		t.Errorf("the error is %v", err)
	}
}

func TestTakenPortIsAnErrorWhenAskedFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = StartProcess(Config{Port: l.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("the error is %v", err)
	}
}

func TestLeasedPortIsNotGivenTwice(t *testing.T) {
	seen := map[int]bool{}
	for range 200 {
		port := FreePort(t)
		if seen[port] {
			t.Fatalf("port %d was given twice", port)
		}
		if port < firstPort || port >= lastPort {
			t.Fatalf("port %d is outside the range", port)
		}
		seen[port] = true
	}
}
