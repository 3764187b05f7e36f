package docs

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// commandsOf returns the commands of a document's shell blocks: those fenced as
// sh. A block fenced as "sh no-run" is one that can't be run against the demo.
func commandsOf(text string) []string {
	var commands []string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "```sh":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside && strings.TrimSpace(line) != "":
			commands = append(commands, line)
		}
	}
	return commands
}

// TestCommandsInDocumentsRun runs what the documents tell their readers to
// type, in order, against the demo, with its ports in place of the usual ones.
func TestCommandsInDocumentsRun(t *testing.T) {
	program := buildProgram(t)
	ran := 0
	docs := documents(t)
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		commands := commandsOf(string(text))
		if len(commands) == 0 {
			continue
		}
		ran += len(commands)
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			runCommands(t, program, commands)
		})
	}
	if ran == 0 {
		t.Fatal("no document has a command that can be run")
	}
}

// buildProgram returns the path of the program.
func buildProgram(t *testing.T) string {
	t.Helper()
	path, err := program.Build(t.TempDir(), "scriptproxy", false)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func runCommands(t *testing.T, program string, commands []string) {
	port, admin := redisserver.FreePort(t), redisserver.FreePort(t)
	own := strings.NewReplacer("6380", fmt.Sprint(port), "9380", fmt.Sprint(admin), "bin/scriptproxy", program, "redis-cli -p", "redis-cli -e -p")
	script := filepath.Join(t.TempDir(), "commands")
	text := "set -e -o pipefail\n"
	for _, c := range commands {
		c = own.Replace(c)
		text += fmt.Sprintf("printf '%%s\\n' %s\n%s\n", quote("$ "+c), c)
	}
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "demo", "-port", fmt.Sprint(port), "-admin-port", fmt.Sprint(admin), "-once", "bash "+script)
	cmd.Env = append(os.Environ(),
		"PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"),
		fmt.Sprintf("SCRIPTPROXY_ADMIN=http://127.0.0.1:%d", admin))
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
