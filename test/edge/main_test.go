//go:build linux

package edge

import (
	"os"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/program"
)

// built is the program under test, built once for all tests.
var built string

// patient is how long a test waits for what must happen.
const patient = program.Patience

func TestMain(m *testing.M) { os.Exit(program.Main(m, &built, nil)) }
