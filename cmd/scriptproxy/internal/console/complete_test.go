//go:build linux

package console

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal.
func terminal(t *testing.T) (us, them *os.File) {
	t.Helper()
	us, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(us.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(us.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		them, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(us.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 200})
	}
	if err != nil {
		t.Fatal(err)
	}
	return us, them
}

func TestRedisCLICompletesTheCommands(t *testing.T) {
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Fatal("this test needs redis-cli in PATH: install redis-tools")
	}
	addr, _ := start(t, nil)
	_, port, _ := net.SplitHostPort(addr)
	us, them := terminal(t)
	defer us.Close()
	cmd := exec.Command(cli, "-p", port)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = them, them, them
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	cmd.Env = append(os.Environ(), "TERM=xterm", "REDISCLI_HISTFILE=/dev/null")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = them.Close()
	seen := make(chan string, 100)
	go func() {
		defer close(seen)
		b := make([]byte, 4096)
		for {
			n, err := us.Read(b)
			if n > 0 {
				seen <- string(b[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	deadline := time.After(20 * time.Second)
	shown := ""
	await := func(what string) {
		t.Helper()
		for !strings.Contains(shown, what) {
			select {
			case text, ok := <-seen:
				if !ok {
					t.Fatalf("redis-cli ended without showing %q: %q", what, shown)
				}
				shown += text
			case <-deadline:
				t.Fatalf("redis-cli does not show %q: %q", what, shown)
			}
		}
		shown = ""
	}
	say := func(text string) {
		t.Helper()
		if _, err := us.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	await(port + "> ")
	for typed, completed := range map[string]string{"roll\t": "ROLLBACK", "scr\t": "SCRIPTS", "cana\t": "CANARY", "audi\t": "[count]"} {
		say(typed)
		await(completed)
		say("\x15") // take the line back
		await("> ")
	}
	say("exit\r")
	if err := cmd.Wait(); err != nil {
		t.Errorf("redis-cli: %v", err)
	}
	for range seen {
	}
}
