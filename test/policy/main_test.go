//go:build linux

package policy

import (
	"os"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/program"
)

// binary is the program under test, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(program.Main(m, &binary, nil)) }
