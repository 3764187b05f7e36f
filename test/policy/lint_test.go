//go:build linux

package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTenThousandScriptsAreLintedAndTheProgressShown lints the lint's own test files, each many times over with another literal in
// it, on a terminal and off it.
func TestTenThousandScriptsAreLintedAndTheProgressShown(t *testing.T) {
	const total = 10_000
	sources, err := filepath.Glob("../../policy/lua/testdata/rules/*/*.lua")
	if err != nil || len(sources) < 30 {
		t.Fatalf("found %d scripts: %v", len(sources), err)
	}
	dir := t.TempDir()
	for i := range total {
		body, err := os.ReadFile(sources[i%len(sources)])
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, fmt.Sprintf("%05d.lua", i))
		if err := os.WriteFile(file, fmt.Appendf(body, "\n-- %d\n", i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(binary, "script", "lint", "-json", dir).Output()
	if exit, failed := err.(*exec.ExitError); failed && exit.ExitCode() != 1 || err != nil && !failed { // 1: there are errors, as there should be
		t.Fatalf("%v\n%.2000s", err, out)
	}
	var report struct {
		Files []struct{ File string }
	}
	if err := json.Unmarshal(out, &report); err != nil || len(report.Files) != total {
		t.Errorf("%d scripts are reported: %v\n%.500s", len(report.Files), err, out)
	}

	// script(1) gives the command a terminal, and keeps what it writes there.
	shown := filepath.Join(dir, "shown")
	typed := exec.Command("script", "-q", "-e", "-c", fmt.Sprintf("%s script lint %s > %s/report", binary, dir, dir), shown)
	if text, err := typed.CombinedOutput(); err != nil && typed.ProcessState.ExitCode() != 1 {
		t.Fatalf("script (Debian package bsdutils): %v\n%s", err, text)
	}
	screen, err := os.ReadFile(shown)
	if err != nil {
		t.Fatal(err)
	}
	if bars := regexp.MustCompile(`\[#*\.*\] \d+ of 10000 scripts`).FindAllString(string(screen), -1); len(bars) == 0 {
		t.Errorf("no progress was shown: %.1000q", screen)
	}
	text, err := os.ReadFile(filepath.Join(dir, "report"))
	if err != nil || !strings.Contains(string(text), "\n10000 scripts: ") {
		t.Errorf("the report: %v\n%.300s", err, text)
	}
}
