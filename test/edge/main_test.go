//go:build linux

package edge

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// program is the program under test, built once for all tests.
var program string

// patient is how long a test waits for what must happen.
const patient = 20 * time.Second

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "scriptproxy-edge-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "edge: create a directory for the program:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "scriptproxy")
	args := []string{"build", "-buildvcs=false", "-o", program}
	if raceDetector {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/scriptproxy/scriptproxy/cmd/scriptproxy")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "edge: build the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
