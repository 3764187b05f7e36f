//go:build linux

package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const composeDir = root + "/deploy/compose"

// composeFile is what docker compose makes of a compose file, as far as the tests look at it.
type composeFile struct {
	Services map[string]struct {
		Command []string
		Image   string
		Ports   []struct {
			HostIP    string `json:"host_ip"`
			Published string
		}
		Volumes []struct{ Type, Source, Target string }
	}
	Configs map[string]struct{ File string }
}

func compose(t *testing.T) composeFile {
	t.Helper()
	var f composeFile
	if err := json.Unmarshal([]byte(must(t, ".", tools(t), "compose", composeDir+"/compose.yaml")), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestComposeHasItsFilesAndPublishesOnLoopbackOnly(t *testing.T) {
	f := compose(t)
	for _, name := range []string{"redis-1", "redis-2", "sentinel-1", "sentinel-2", "sentinel-3", "scriptproxy", "prometheus", "grafana"} {
		service, ok := f.Services[name]
		if !ok {
			t.Errorf("there is no service %s", name)
		}
		for _, p := range service.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s publishes %s on %q", name, p.Published, p.HostIP)
			}
		}
		for _, v := range service.Volumes {
			if v.Type == "bind" {
				if _, err := os.Stat(v.Source); err != nil {
					t.Errorf("%s mounts what is not there: %v", name, err)
				}
			}
		}
	}
	for name, config := range f.Configs {
		if _, err := os.Stat(config.File); err != nil {
			t.Errorf("the config %s is not there: %v", name, err)
		}
	}
	for _, name := range []string{"datasources/prometheus.yaml", "dashboards/scriptproxy.yaml"} {
		must(t, ".", tools(t), "json", composeDir+"/grafana/"+name)
	}
	path := filepath.Join(t.TempDir(), "compose.yaml")
	if err := os.WriteFile(path, []byte(strings.Replace(read(t, composeDir+"/compose.yaml"), "healthcheck:", "healtcheck:", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	refused(t, ".", tools(t), "compose", path)
}

// TestComposeFailsOverAsItPromises runs the services of the compose file in a copy of this machine: the same commands and files, where each
// service has a loopback address instead of a container. Grafana is not run.
func TestComposeFailsOverAsItPromises(t *testing.T) {
	f := compose(t)
	m := newMachine(t)
	var hosts strings.Builder
	hosts.WriteString("127.0.0.1 localhost\n")
	addr := map[string]string{"scriptproxy": "127.0.0.1", "prometheus": "127.0.0.1"}
	for i, name := range []string{"redis-1", "redis-2", "sentinel-1", "sentinel-2", "sentinel-3"} {
		addr[name] = fmt.Sprintf("127.0.1.%d", i+1)
	}
	for name, ip := range addr {
		fmt.Fprintf(&hosts, "%s %s\n", ip, name)
	}
	m.put("/etc/hosts", hosts.String(), 0o644)

	start := func(name string, command ...string) {
		t.Helper()
		m.must(append([]string{"systemd-run", "--quiet", "--unit=compose-" + name, "--"}, command...)...)
	}
	// What the service tokens does, with its own users and files.
	m.must("mkdir", "-p", "/tokens")
	m.must(f.Services["tokens"].Command...)
	for _, name := range []string{"redis-1", "redis-2"} {
		command := slices.Clone(f.Services[name].Command)
		dir := slices.Index(command, "/data")
		if dir < 0 {
			t.Fatalf("%s does not keep its data in /data: %q", name, command)
		}
		command[dir] = "/tmp/" + name
		m.must("mkdir", "-p", command[dir])
		start(name, append(command, "--bind", addr[name])...)
	}
	for _, name := range []string{"sentinel-1", "sentinel-2", "sentinel-3"} {
		m.copyIn(f.Configs["sentinel.conf"].File, "/sentinel.conf")
		command := f.Services[name].Command
		// Each has a file system, and so a directory, of its own.
		shell := strings.ReplaceAll(command[len(command)-1], "/run/sentinel", "/run/"+name)
		m.must("mkdir", "-p", "/run/"+name)
		start(name, "sh", "-c", shell+" --bind "+addr[name])
	}
	m.must("mkdir", "-p", "/etc/scriptproxy", "/var/lib/scriptproxy")
	scripts, err := filepath.Glob(composeDir + "/scripts/*/*.lua")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		name, _ := filepath.Rel(composeDir, script)
		m.copyIn(script, "/etc/scriptproxy/"+name)
	}
	m.copyIn(composeDir+"/config.yaml", "/etc/scriptproxy/config.yaml")
	m.put("/usr/bin/scriptproxy", read(t, scriptproxy(t)), 0o755)
	m.must("chown", "-R", "65532:65532", "/var/lib/scriptproxy")
	start("scriptproxy", as(65532, "/usr/bin/scriptproxy", "serve", "-config", "/etc/scriptproxy/config.yaml")...)

	m.must("mkdir", "-p", "/etc/prometheus/rules", "/prometheus")
	m.copyIn(composeDir+"/prometheus.yml", "/etc/prometheus/prometheus.yml")
	for _, name := range []string{"recording.yml", "alerts.yml"} {
		m.copyIn(prometheusDir+"/"+name, "/etc/prometheus/rules/"+name)
	}
	m.must("chown", "-R", "65534", "/prometheus")
	start("prometheus", as(65534, append([]string{installed(t, "prometheus")}, f.Services["prometheus"].Command...)...)...)

	write := func(what string) {
		t.Helper()
		eventually(t, "write "+what, func() error {
			if got, err := m.do("SET", "acct:a", 500); err != nil || got != "OK" {
				return fmt.Errorf("SET: %v %w", got, err)
			}
			got, err := m.do("EVALSHA", "transfer", 2, "acct:a", "acct:b", 100)
			if _, ok := got.([]any); err != nil || !ok {
				return fmt.Errorf("transfer: %v %w", got, err)
			}
			return nil
		})
	}
	write("before the failover")
	eventually(t, "scrape with the token", func() error {
		_, body, err := m.get("http://127.0.0.1:9090/api/v1/query?query=scriptproxy_sessions")
		if err != nil || !strings.Contains(body, "scriptproxy:9380") {
			return fmt.Errorf("%s %w", body, err)
		}
		return nil
	})
	eventually(t, "replica and Sentinels that know each other", func() error {
		for _, name := range []string{"sentinel-1", "sentinel-2", "sentinel-3"} {
			out, err := m.run("redis-cli", "-h", addr[name], "-p", "26379", "SENTINEL", "CKQUORUM", "mymaster")
			if err != nil || !strings.HasPrefix(out, "OK 3 usable") {
				return fmt.Errorf("%s: %s %w", name, out, err)
			}
			if out, err = m.run("redis-cli", "-h", addr[name], "-p", "26379", "SENTINEL", "REPLICAS", "mymaster"); err != nil || !strings.Contains(out, "redis-2") {
				return fmt.Errorf("%s: %s %w", name, out, err)
			}
		}
		return nil
	})
	m.must("systemctl", "stop", "compose-redis-1")
	write("after the failover")
	if got := m.must("redis-cli", "-h", addr["redis-2"], "ROLE"); !strings.HasPrefix(got, "master") {
		t.Errorf("redis-2 says %s", got)
	}
}

// as is a command that runs as a user of a container, whom this machine need not know.
func as(uid int, command ...string) []string {
	id := strconv.Itoa(uid)
	return append([]string{"setpriv", "--reuid=" + id, "--regid=" + id, "--clear-groups", "--"}, command...)
}
