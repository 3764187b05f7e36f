//go:build linux

package deploy

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rootFlag is what the quick start's machine is a copy of.
var rootFlag = flag.String("root", "/", "do the quick start in a copy of this file system instead of this machine's, such as an empty Debian by mmdebstrap")

// machine is a throwaway copy of the machine that the test runs on: the same files, changes to which are lost, and processes, services
// and a network of its own. The kernel is shared. It needs root.
type machine struct {
	t     *testing.T
	first int // its process number 1, as seen from outside
}

// newMachine makes a machine that ends with the test, or with the test's process. Its systemd runs, without any service.
func newMachine(t *testing.T) *machine { t.Helper(); return newMachineOf(t, "/") }

// newMachineOf makes a machine that is a copy of another file system.
func newMachineOf(t *testing.T, root string) *machine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes namespaces and mounts: run it as root")
	}
	for _, program := range []string{"unshare", "nsenter", "systemctl", "chroot"} {
		installed(t, program)
	}
	cmd := exec.Command("./boot", t.TempDir(), root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C must not keep it from cleaning up
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var m *machine
	t.Cleanup(func() {
		if t.Failed() && m != nil {
			journal, _ := m.run("journalctl", "--no-pager", "--lines=60")
			t.Logf("the machine's journal:\n%s", journal)
		}
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("boot: %v\n%s", err, stderr.String())
		}
	})
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	first, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the copy of this machine did not start: %s", stderr.String())
	}
	m = &machine{t: t, first: first}
	eventually(t, "systemd in a copy of this machine", func() error {
		state, err := m.run("systemctl", "is-system-running")
		if s := strings.TrimSpace(state); s != "running" && s != "degraded" {
			return fmt.Errorf("%q %w", s, err)
		}
		return nil
	})
	return m
}

// run runs a program in the machine, as its root.
func (m *machine) run(args ...string) (string, error) {
	enter := []string{"--target=" + strconv.Itoa(m.first), "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--root", "--wd=/", "--",
		"env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	return output(".", "nsenter", append(enter, args...)...)
}

func (m *machine) must(args ...string) string {
	m.t.Helper()
	out, err := m.run(args...)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

// path is a file of the machine as seen from outside. Nothing in there is a link that leads out of it.
func (m *machine) path(name string) string {
	return filepath.Join("/proc", strconv.Itoa(m.first), "root", name)
}

// put writes a file into the machine.
func (m *machine) put(name, text string, mode os.FileMode) {
	m.t.Helper()
	path := m.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		m.t.Fatal(err)
	}
}

// copyIn copies a file into the machine.
func (m *machine) copyIn(from, name string) {
	m.t.Helper()
	m.put(name, read(m.t, from), 0o644)
}

// exists reports whether the machine has a file.
func (m *machine) exists(name string) bool {
	_, err := os.Lstat(m.path(name))
	return err == nil
}

// dial connects to an address as seen from inside.
func (m *machine) dial(network, addr string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine, so nobody else gets it
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", m.first), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err != nil {
			done <- result{nil, fmt.Errorf("enter the machine's network: %w", err)}
			return
		}
		conn, err := net.DialTimeout(network, addr, 5*time.Second)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// get asks an HTTP server in the machine.
func (m *machine) get(url string) (status int, body string, err error) {
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(_ context.Context, network, addr string) (net.Conn, error) { return m.dial(network, addr) },
	}}
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}
