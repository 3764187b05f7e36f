package program

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Main is for TestMain: it builds the program, with the race detector if the tests have it, has its path in path while the tests run,
// and returns their status. A path that is there already is left as it is. then, unless it is nil, runs after tests that passed; an
// error of it fails them.
func Main(m *testing.M, path *string, then func() error) (status int) {
	if *path == "" {
		dir, err := os.MkdirTemp("", "scriptproxy-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, "create a directory for the program:", err)
			return 1
		}
		defer os.RemoveAll(dir)
		if *path, err = Build(dir, "scriptproxy", RaceDetector); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if status = m.Run(); status != 0 || then == nil {
		return status
	}
	if err := then(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Build builds the program into a directory under a name and returns its path.
func Build(dir, name string, race bool) (path string, err error) {
	path = filepath.Join(dir, name)
	args := []string{"build", "-buildvcs=false", "-o", path}
	if race {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "github.com/scriptproxy/scriptproxy/cmd/scriptproxy")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return path, nil
}
