//go:build linux

package protect

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the program under test, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "scriptproxy-protect-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "protect: create a directory for the program:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "scriptproxy")
	args := []string{"build", "-buildvcs=false", "-o", binary}
	if raceDetector {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/scriptproxy/scriptproxy/cmd/scriptproxy")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "protect: build the program: %v\n%s", err, out)
		return 1
	}
	status := m.Run()
	if *write && status == 0 {
		if err := writeMeasured(); err != nil {
			fmt.Fprintln(os.Stderr, "protect: write what was measured:", err)
			return 1
		}
	}
	return status
}
