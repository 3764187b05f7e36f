//go:build linux

package faults

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/program"
)

// binary is the program under test, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(program.Main(m, &binary, nil)) }

// plainBinary is built without the race detector, whose shadow memory would hide what the proxy itself holds.
var plainBinary = sync.OnceValues(func() (string, error) {
	if !program.RaceDetector {
		return binary, nil
	}
	return program.Build(filepath.Dir(binary), "scriptproxy-plain", false)
})
