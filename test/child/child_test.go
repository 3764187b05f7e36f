package child

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

const crashEnv = "CHILD_TEST_CRASH"

func TestMain(m *testing.M) {
	if os.Getenv(crashEnv) != "" {
		cmd := exec.Command("sleep", "60")
		if _, err := Start(cmd); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(cmd.Process.Pid)
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	os.Exit(m.Run())
}

func TestChildDiesWithAParentThatIsKilled(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), crashEnv+"=1")
	out, _ := parent.Output()
	var pid int
	if _, err := fmt.Sscan(string(out), &pid); err != nil {
		t.Fatalf("the parent printed %q: %v", out, err)
	}
	for deadline := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("child %d outlived its parent", pid)
		}
	}
}

func TestChildOutlivesTheThreadOfItsCaller(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	started := make(chan error)
	var exited <-chan struct{}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		var err error
		exited, err = Start(cmd)
		started <- err
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	select {
	case <-exited:
		t.Errorf("the child ended with the thread that asked for it: %v", cmd.ProcessState)
	case <-time.After(100 * time.Millisecond):
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	<-exited
}

func TestExitStatusIsThereWhenExitedIsClosed(t *testing.T) {
	cmd := exec.Command("sh", "-c", "exit 3")
	exited, err := Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	<-exited
	if got := cmd.ProcessState.ExitCode(); got != 3 {
		t.Errorf("exit status is %d", got)
	}
}

func TestMissingProgramIsAnError(t *testing.T) {
	if _, err := Start(exec.Command("no-such-program")); err == nil {
		t.Error("no error")
	}
}
