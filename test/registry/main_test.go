//go:build linux

package registry

import (
	"flag"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/program"
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

// binary is the program under test, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(program.Main(m, &binary, nil))
}

// command is the program without the race detector, for the commands that ask a running proxy.
var command = sync.OnceValues(func() (string, error) {
	if !program.RaceDetector {
		return binary, nil
	}
	return program.Build(filepath.Dir(binary), "scriptproxy-plain", false)
})

// crowd is how many clients call in a closed loop.
func crowd() int {
	switch {
	case *clients > 0:
		return *clients
	case program.RaceDetector:
		return 200
	}
	return 1000
}
