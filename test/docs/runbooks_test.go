package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// elsewhere are commands of runbooks that need what a demo has not; some other test has it.
var elsewhere = regexp.MustCompile(`^(systemctl|journalctl|kubectl) |-h SENTINEL |--askpass| SHUTDOWN `)

// healthy is what commands answer that find nothing to do where nothing is wrong, and then fail, or end without a line. What is not
// here has to succeed.
var healthy = map[string]string{
	"SCRIPT KILL":                    `^NOTBUSY No scripts in execution right now`,
	"grep evicted_scripts":           `^$`, // Redis 7.4 and later
	"grep -E '^ping'":                `^$`, // the default stands in no file
	"scriptproxy_script_kills_total": `^$`, // no script was killed
	"script reset-breaker":           `error: no breaker of transfer has opened`,
	"policy explain":                 `error: there are no rules`,
}

// inRunbook are the placeholders of runbooks, and what they are in a demo.
func inRunbook(program string, port, admin int) *strings.Replacer {
	return strings.NewReplacer(
		"-h PROXY -p 6380", fmt.Sprintf("-p %d", port), "http://PROXY:9380", fmt.Sprintf("http://127.0.0.1:%d", admin),
		"PROXY:9380", fmt.Sprintf("127.0.0.1:%d", admin), "127.0.0.1:9380", fmt.Sprintf("127.0.0.1:%d", admin),
		"-h NODE", "-e -p $PRIMARY_PORT", "-h PRIMARY", "-e -p $PRIMARY_PORT", "-h STORE", "-e -p $PRIMARY_PORT",
		"-h REPLICA", "-e -p $REPLICA_PORT", "-h OTHER", "-e -p $REPLICA_PORT", "HOST PORT", "127.0.0.1 $PRIMARY_PORT",
		"SETUSER USER", "SETUSER app", "KILL USER USER", "KILL USER app", "-user USER", "-user app",
		"NAME", "transfer", "REVISION", "1", "FILE", "$TMPDIR/scriptproxy-demo-*/scripts/transfer/v2.lua",
		"/etc/scriptproxy/config.yaml", "$TMPDIR/scriptproxy-demo-*/config.yaml",
		"script compact", "script compact -yes", // on a terminal it asks
		"scriptproxy ", program+" ",
	)
}

// runbookCommands are the lines of a runbook's shell blocks, which stand in lists.
func runbookCommands(text string) []string {
	var commands []string
	inside := false
	for line := range strings.Lines(text) {
		switch line = strings.TrimSpace(line); {
		case line == "```sh":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside && line != "":
			commands = append(commands, line)
		}
	}
	return commands
}

// TestCommandsInRunbooksRun runs them where nothing is wrong: at three in the morning a command must not turn out to be misspelt.
func TestCommandsInRunbooksRun(t *testing.T) {
	program := buildProgram(t)
	pages, err := filepath.Glob(filepath.Join(root, "docs/runbooks/Scriptproxy*.md"))
	if err != nil || len(pages) < 10 {
		t.Fatalf("there are %d runbooks (%v)", len(pages), err)
	}
	ran, left := 0, 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var commands []string
		for _, c := range runbookCommands(string(text)) {
			if elsewhere.MatchString(c) {
				left++
				continue
			}
			commands = append(commands, c)
		}
		ran += len(commands)
		t.Run(strings.TrimSuffix(filepath.Base(page), ".md"), func(t *testing.T) { runRunbook(t, program, commands) })
	}
	if ran < 3*left {
		t.Errorf("%d commands ran, and %d could not", ran, left)
	}
}

func runRunbook(t *testing.T, program string, commands []string) {
	dir, port, admin := t.TempDir(), redisserver.FreePort(t), redisserver.FreePort(t)
	own := inRunbook(program, port, admin)
	text := program + " script activate -yes transfer v1 || exit 1\n" // something to roll back
	for i, c := range commands {
		text += fmt.Sprintf("( set -o pipefail\n%s\n) >%[2]s/%[3]d.out 2>&1 </dev/null\necho $? >%[2]s/%[3]d.status\n", own.Replace(c), dir, i)
	}
	script := filepath.Join(dir, "commands")
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "demo", "-port", fmt.Sprint(port), "-admin-port", fmt.Sprint(admin), "-once", "bash "+script)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, fmt.Sprintf("SCRIPTPROXY_ADMIN=http://127.0.0.1:%d", admin))
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, c := range commands {
		status := strings.TrimSpace(read(t, fmt.Sprintf("%s/%d.status", dir, i)))
		out := read(t, fmt.Sprintf("%s/%d.out", dir, i))
		if status == "0" {
			continue
		}
		expected := false
		for part, pattern := range healthy {
			expected = expected || strings.Contains(c, part) && regexp.MustCompile(pattern).MatchString(out)
		}
		if !expected {
			t.Errorf("%s: status %s\n%s", c, status, out)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
