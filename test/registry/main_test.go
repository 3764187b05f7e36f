//go:build linux

package registry

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var (
	repetitions   = flag.Int("repetitions", 25, "how often the time to the last proxy's switch is measured")
	markdown      = flag.String("markdown", "", "write the table of these times to a file")
	kills         = flag.Int("kills", 12, "how often a proxy is killed in the middle of a change")
	scaleServers  = flag.Int("servers", 5, "servers behind one proxy in the test of its scale")
	scaleScripts  = flag.Int("scripts", 300, "scripts on each of them")
	scaleMarkdown = flag.String("scale-markdown", "", "write the figures of that test to a file")
	clients       = flag.Int("clients", 0, "clients in a closed loop; 0: 1000, or 200 under the race detector")
)

// patience bounds every wait for something that takes milliseconds on an idle machine.
const patience = 30 * time.Second

// binary is the program under test, built once for all tests; command is the same without the race detector, for the
// commands that ask a running proxy.
var binary, command string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "scriptproxy-registry-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "registry: create a directory for the program:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	command = filepath.Join(dir, "scriptproxy")
	binary = command
	err = build(command)
	if raceDetector && err == nil {
		binary = filepath.Join(dir, "scriptproxy-race")
		err = build(binary, "-race")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		return 1
	}
	return m.Run()
}

func build(path string, flags ...string) error {
	args := append([]string{"build", "-buildvcs=false", "-o", path}, flags...)
	out, err := exec.Command("go", append(args, "github.com/scriptproxy/scriptproxy/cmd/scriptproxy")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return nil
}

// crowd is how many clients call in a closed loop.
func crowd() int {
	switch {
	case *clients > 0:
		return *clients
	case raceDetector:
		return 200
	}
	return 1000
}
