//go:build linux

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// directory holds the programs under test.
var directory string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "scriptproxy-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults: create a directory for the program:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	directory = dir
	if _, err := binary(); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		return 1
	}
	return m.Run()
}

// binary builds the proxy once, with the race detector when the tests have it.
var binary = sync.OnceValues(func() (string, error) { return build("scriptproxy", raceDetector) })

// plainBinary is built without it, whose shadow memory would hide what the proxy itself holds.
var plainBinary = sync.OnceValues(func() (string, error) {
	if !raceDetector {
		return binary()
	}
	return build("scriptproxy-plain", false)
})

func build(name string, race bool) (string, error) {
	path := filepath.Join(directory, name)
	args := []string{"build", "-buildvcs=false", "-o", path}
	if race {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "github.com/scriptproxy/scriptproxy/cmd/scriptproxy")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the proxy: %w\n%s", err, out)
	}
	return path, nil
}
