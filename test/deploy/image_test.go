//go:build linux

package deploy

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"
)

const dockerfile = root + "/deploy/Dockerfile"

// stage is one of a Dockerfile, as BuildKit reads it.
type stage struct {
	Base, Name   string
	Instructions []struct{ Name, Line string }
}

func stages(t *testing.T) []stage {
	t.Helper()
	var found []stage
	if err := json.Unmarshal([]byte(must(t, ".", tools(t), "dockerfile", dockerfile)), &found); err != nil {
		t.Fatal(err)
	}
	if len(found) != 2 || found[1].Base != "scratch" {
		t.Fatalf("the Dockerfile has %d stages, the last on %s", len(found), found[len(found)-1].Base)
	}
	return found
}

func TestTheImageIsBuiltWithTheGoThatTheModuleNames(t *testing.T) {
	module := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, root+"/go.mod"))
	image := regexp.MustCompile(`(?m)^ARG GO_VERSION=(.*)$`).FindStringSubmatch(read(t, dockerfile))
	if module == nil || image == nil || module[1] != image[1] {
		t.Errorf("go.mod says %q, the Dockerfile %q", module, image)
	}
}

// TestTheImageRunsReadOnlyAndNotAsRoot carries out the Dockerfile's instructions in a copy of this machine, which has Go as the base image
// does, and runs what comes out as a container would.
func TestTheImageRunsReadOnlyAndNotAsRoot(t *testing.T) {
	all := stages(t)
	m := newMachine(t)
	env := []string{"env", "HOME=/root", "PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin", "GOPROXY=off", "GOTOOLCHAIN=local"}
	for _, name := range []string{"GOMODCACHE", "GOCACHE", "GOROOT"} {
		env = append(env, name+"="+strings.TrimSpace(must(t, root, "go", "env", name)))
	}
	env[2] = "PATH=" + strings.TrimSpace(must(t, root, "go", "env", "GOROOT")) + "/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	env = append(env, "TARGETARCH="+strings.TrimSpace(must(t, root, "go", "env", "GOARCH")), "VERSION=7.7.7")

	// The build context, without what .dockerignore leaves out.
	files := must(t, root, tools(t), "context", "deploy/Dockerfile")
	archive := t.TempDir() + "/context.tar"
	tar := exec.Command("tar", "-C", root, "-cf", archive, "-T", "-")
	tar.Stdin = strings.NewReader(files)
	if out, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m.copyIn(archive, "/tmp/context.tar")
	m.must("mkdir", "-p", "/tmp/context", "/rootfs")
	m.must("tar", "-C", "/tmp/context", "-xf", "/tmp/context.tar")

	workdir := "/"
	for _, step := range all[0].Instructions {
		words := strings.Fields(step.Line)
		switch step.Name {
		case "ARG":
		case "WORKDIR":
			workdir = words[1]
			m.must("mkdir", "-p", workdir)
		case "COPY":
			for _, from := range words[1 : len(words)-1] {
				m.must("cp", "-r", path.Join("/tmp/context", from)+map[bool]string{true: "/."}[from == "."], path.Join(workdir, words[len(words)-1]))
			}
		case "RUN":
			m.must(append(env, "sh", "-ec", "cd "+workdir+" && "+strings.TrimPrefix(step.Line, "RUN "))...)
		default:
			t.Fatalf("the test does not know what %s does", step.Line)
		}
	}
	var user string
	var command []string
	for _, step := range all[1].Instructions {
		words := strings.Fields(step.Line)
		switch step.Name {
		case "EXPOSE":
		case "STOPSIGNAL":
			if words[1] != "SIGTERM" {
				t.Errorf("the image is ended with %s, which does not drain", words[1])
			}
		case "USER":
			user = words[1]
		case "ENTRYPOINT", "CMD":
			var part []string
			if err := json.Unmarshal([]byte(strings.TrimPrefix(step.Line, step.Name+" ")), &part); err != nil {
				t.Fatalf("%s: %v", step.Line, err)
			}
			command = append(command, part...)
		case "COPY":
			owner := "0:0"
			for _, word := range words[1 : len(words)-2] {
				if chown, ok := strings.CutPrefix(word, "--chown="); ok {
					owner = chown
				} else if word != "--from=build" {
					t.Fatalf("the test does not know what %s does", step.Line)
				}
			}
			from, to := words[len(words)-2], path.Join("/rootfs", words[len(words)-1])
			m.must("mkdir", "-p", to)
			m.must("chown", owner, to)
			m.must("cp", "-r", from+"/.", to)
			if from != "/image" {
				m.must("chown", "-R", owner, to)
			}
		default:
			t.Fatalf("the test does not know what %s does", step.Line)
		}
	}
	if user != "65532:65532" || len(command) == 0 {
		t.Fatalf("the image runs %q as %q", command, user)
	}

	program, err := elf.Open(m.path("/rootfs/usr/bin/scriptproxy"))
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if libraries, _ := program.ImportedLibraries(); len(libraries) > 0 || program.Section(".interp") != nil {
		t.Errorf("the program is not static: it needs %v", libraries)
	}
	if found := strings.TrimSpace(m.must("sh", "-c", "find /rootfs -type f -printf '/%P ' | tr ' ' '\n' | sort | tr '\n' ' '")); found !=
		"/etc/group /etc/passwd /etc/ssl/certs/ca-certificates.crt /usr/bin/scriptproxy" {
		t.Errorf("the image has %s", found)
	}

	// As docker run --read-only -v config.yaml:… does.
	m.put("/rootfs/etc/scriptproxy/config.yaml", `
listen: ["127.0.0.1:6380"]
admin: {listen: "127.0.0.1:9380"}
registry: {state_file: /var/lib/scriptproxy/registry.state}
scripts: {list: [{name: hello, active: v1, versions: {v1: {body: return 1}, v2: {body: return 2}}}]}
`, 0o644)
	m.must("sh", "-ec", `mkdir -p /rootfs/proc /volume && cp -a /rootfs/var/lib/scriptproxy/. /volume && chown --reference=/rootfs/var/lib/scriptproxy /volume
		mount -t proc proc /rootfs/proc && mount --bind /rootfs /rootfs && mount -o remount,bind,ro /rootfs
		mount --bind /volume /rootfs/var/lib/scriptproxy`)
	m.must("systemd-run", "--unit=upstream", "--quiet", installed(t, "redis-server"), "--bind", "127.0.0.1", "--save", "")
	m.must(append([]string{"systemd-run", "--quiet", "--unit=container", "--", "chroot", "--userspec=" + user, "--groups=", "/rootfs"}, command...)...)
	eventually(t, "answer of the image", func() error {
		if got, err := m.do("EVALSHA", "hello", 0); err != nil || got != int64(1) {
			return fmt.Errorf("%v %w", got, err)
		}
		return nil
	})
	if _, body, err := m.get("http://127.0.0.1:9380/metrics"); err != nil || !strings.Contains(body, `version="7.7.7"`) {
		t.Errorf("the version is not in the metrics: %v", err)
	}
	// The state is written to the volume, by a user who may write nothing else.
	m.must("chroot", "/rootfs", "/usr/bin/scriptproxy", "script", "activate", "-yes", "hello", "v2")
	if got, err := m.do("EVALSHA", "hello", 0); err != nil || got != int64(2) {
		t.Errorf("after the activation hello returns %v, %v", got, err)
	}
	if !m.exists("/volume/registry.state") {
		t.Error("the state is not in the volume")
	}
	m.must("systemctl", "stop", "container")
	if journal := m.must("journalctl", "--no-pager", "-u", "container"); !strings.Contains(journal, "drained") {
		t.Errorf("the image did not drain:\n%s", journal)
	}
}
