//go:build linux

package deploy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

const (
	debDir  = root + "/deploy/deb"
	service = "scriptproxy.service"
)

// buildPackage builds a .deb of a version as a release does, only less well compressed, which takes less time.
func buildPackage(t *testing.T, version string, more ...string) string {
	t.Helper()
	installed(t, "dpkg-deb")
	args := append([]string{"-z", "gzip", "-o", t.TempDir()}, more...)
	out, err := outputOf([]string{"SOURCE_DATE_EPOCH=1780000000"}, root, "deploy/deb/build", append(args, version)...)
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimSpace(out)
	if want := "scriptproxy_" + version + "_"; !strings.HasPrefix(filepath.Base(path), want) {
		t.Fatalf("the package is called %s, want %s…", path, want)
	}
	return path
}

func TestThePackageIsInstalledStartedUpgradedAndRemoved(t *testing.T) {
	installed(t, "redis-server")
	before, after := buildPackage(t, "1.0.0"), buildPackage(t, "1.0.1")
	m := newMachine(t)
	m.copyIn(before, "/tmp/before.deb")
	m.copyIn(after, "/tmp/after.deb")
	m.must("systemd-run", "--unit=upstream", "--quiet", installed(t, "redis-server"), "--bind", "127.0.0.1", "--save", "")

	m.must("dpkg", "--install", "/tmp/before.deb")
	m.active("1.0.0")
	if got := strings.TrimSpace(m.must("stat", "--format=%U:%G %a", "/etc/scriptproxy")); got != "root:scriptproxy 750" {
		t.Errorf("/etc/scriptproxy is %s", got)
	}
	if got := strings.TrimSpace(m.must("systemctl", "is-enabled", service)); got != "enabled" {
		t.Errorf("the service is %s after the installation", got)
	}
	m.served()

	// A script is put in its place and the configuration read again, by the same process.
	pid := m.must("systemctl", "show", "--property=MainPID", service)
	m.put("/etc/scriptproxy/scripts/hello/v1.lua", "return 'hello ' .. ARGV[1]", 0o644)
	m.must("systemctl", "reload", service)
	eventually(t, "script after the reload", func() error {
		if got, err := m.do("EVALSHA", "hello", 0, "world"); err != nil || got != "hello world" {
			return fmt.Errorf("%v %w", got, err)
		}
		return nil
	})
	// A mistake in the configuration changes nothing.
	m.put("/etc/scriptproxy/scripts/hello/v1.lua", "return (", 0o644)
	m.run("systemctl", "reload", service)
	eventually(t, "failed reload in the metrics", func() error {
		if _, body, err := m.get("http://127.0.0.1:9380/metrics"); err != nil || !strings.Contains(body, "scriptproxy_config_last_reload_successful 0") {
			return fmt.Errorf("not said: %w", err)
		}
		return nil
	})
	m.served()
	m.put("/etc/scriptproxy/scripts/hello/v1.lua", "return 'hello ' .. ARGV[1]", 0o644)
	if now := m.must("systemctl", "show", "--property=MainPID", service); now != pid {
		t.Errorf("the proxy was restarted by a reload: %s, before %s", now, pid)
	}

	// What was changed at run time and what the administrator wrote outlive an upgrade.
	m.must("sh", "-c", "echo '# ours' >>/etc/scriptproxy/config.yaml")
	m.must("dpkg", "--install", "/tmp/after.deb")
	m.active("1.0.1")
	m.served()
	if !strings.Contains(read(t, m.path("/etc/scriptproxy/config.yaml")), "# ours") {
		t.Error("the upgrade replaced the administrator's configuration")
	}
	if got, err := m.do("EVALSHA", "hello", 0, "again"); err != nil || got != "hello again" {
		t.Errorf("after the upgrade the script says %v, %v", got, err)
	}

	// A proxy that does nothing more is started again.
	m.put("/etc/systemd/system/"+service+".d/watchdog.conf", "[Service]\nWatchdogSec=1s\n", 0o644)
	m.must("systemctl", "daemon-reload")
	m.must("systemctl", "restart", service)
	m.must("systemctl", "kill", "--signal=STOP", service)
	eventually(t, "restart by the watchdog", func() error {
		if restarts := m.must("systemctl", "show", "--property=NRestarts", service); strings.TrimSpace(restarts) == "NRestarts=0" {
			return errors.New(restarts)
		}
		return nil
	})
	m.active("1.0.1")

	m.must("dpkg", "--remove", "scriptproxy")
	if state, _ := m.run("systemctl", "is-active", service); strings.TrimSpace(state) == "active" {
		t.Error("the service runs after the package was removed")
	}
	if m.exists("/usr/bin/scriptproxy") || !m.exists("/etc/scriptproxy/config.yaml") {
		t.Error("removing has to take the program and leave the configuration")
	}
	m.must("dpkg", "--purge", "scriptproxy")
	for _, name := range []string{"/etc/scriptproxy/config.yaml", "/var/lib/scriptproxy", "/etc/systemd/system/multi-user.target.wants/" + service} {
		if m.exists(name) {
			t.Errorf("%s is there after a purge", name)
		}
	}
	if !m.exists("/etc/scriptproxy/scripts/hello/v1.lua") {
		t.Error("a purge took a script that the package did not bring")
	}
}

// active waits until the service runs a version and says so: systemd heard READY=1.
func (m *machine) active(version string) {
	m.t.Helper()
	eventually(m.t, "running service", func() error {
		state, err := m.run("systemctl", "is-active", service)
		if strings.TrimSpace(state) != "active" {
			return err
		}
		status, body, err := m.get("http://127.0.0.1:9380/metrics")
		if err != nil || status != http.StatusOK || !strings.Contains(body, `version="`+version+`"`) {
			return fmt.Errorf("the metrics of %s: %d %w", version, status, err)
		}
		return nil
	})
	if status := m.must("systemctl", "show", "--property=StatusText", service); !strings.Contains(status, "serving on 127.0.0.1:6380") {
		m.t.Errorf("the service says %s", status)
	}
}

// served fails the test when the proxy does not pass a command on.
func (m *machine) served() {
	m.t.Helper()
	if got, err := m.do("INCR", "served"); err != nil {
		m.t.Errorf("INCR answers %v, %v", got, err)
	}
}

// do sends a command to the proxy.
func (m *machine) do(args ...any) (any, error) {
	conn, err := m.dial("tcp", "127.0.0.1:6380")
	if err != nil {
		return nil, err
	}
	c := redisserver.NewClient(conn)
	defer c.Close()
	reply, err := c.Do(args...)
	if e, ok := reply.(redisserver.Error); ok {
		err = errors.New(string(e))
	}
	return reply, err
}

func TestThePackageIsTheSameEachTimeAndLintianHasNoObjections(t *testing.T) {
	binary := scriptproxy(t)
	path := buildPackage(t, "1.2.3", "-b", binary)
	again := buildPackage(t, "1.2.3", "-b", binary)
	if sha256.Sum256([]byte(read(t, path))) != sha256.Sum256([]byte(read(t, again))) {
		t.Errorf("%s and %s differ", path, again)
	}
	must(t, ".", installed(t, "lintian"), "--fail-on=error,warning", "--allow-root", path)
}

func TestThePackageIsRefusedWhereItMakesNoSense(t *testing.T) {
	for _, args := range [][]string{{"not a version"}, {"1.0", "sparc"}, {}} {
		out := refused(t, root, "deploy/deb/build", append([]string{"-o", t.TempDir()}, args...)...)
		if !strings.Contains(out, "build: error:") && !strings.Contains(out, "usage:") {
			t.Errorf("%q: %s", args, out)
		}
	}
}

func TestTheUnitIsRightAndTheServiceHardened(t *testing.T) {
	installed(t, "systemd-analyze")
	unit := root + "/deploy/systemd/" + service
	dir := t.TempDir()
	// verify looks for the program that the unit names.
	text := strings.ReplaceAll(read(t, unit), "/usr/bin/scriptproxy", scriptproxy(t))
	verify := func(text string) error {
		path := filepath.Join(dir, service)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		// What it objects to in units of the machine is not ours.
		out, err := outputOf([]string{"SYSTEMD_LOG_TARGET=console"}, dir, "sh", "-c", `systemd-analyze verify --man=no --recursive-errors=no "$0" 2>&1`, path)
		if err == nil && strings.Contains(out, service) {
			err = errors.New(out)
		}
		return err
	}
	if err := verify(text); err != nil {
		t.Error(err)
	}
	for _, change := range [][2]string{
		{"Type=notify", "Type=notification"}, {"RestrictNamespaces=yes", "RestrictNamespace=yes"}, {"ExecStart=", "ExecStart=/missing"},
	} {
		if !strings.Contains(text, change[0]) || verify(strings.Replace(text, change[0], change[1], 1)) == nil {
			t.Errorf("a unit with %s passes", change[1])
		}
	}
	// 0 is the best of 10: what is left is that it speaks with the network and is not confined to a root directory.
	path := filepath.Join(dir, service)
	if err := os.WriteFile(path, []byte(read(t, unit)), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, dir, "systemd-analyze", "security", "--offline=true", "--threshold=12", path)
	if err := os.WriteFile(path, []byte(strings.Replace(read(t, unit), "CapabilityBoundingSet=\n", "", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, "systemd-analyze", "security", "--offline=true", "--threshold=12", path)
}
