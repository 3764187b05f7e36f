//go:build linux

package protect

import (
	"fmt"
	"os"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/program"
)

// binary is the program under test, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	os.Exit(program.Main(m, &binary, func() error {
		if !*write {
			return nil
		}
		if err := writeMeasured(); err != nil {
			return fmt.Errorf("write what was measured: %w", err)
		}
		return nil
	}))
}
