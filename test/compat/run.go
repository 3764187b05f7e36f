package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// result is what became of the tests of one package.
type result struct {
	pkg                     string // below the module
	passed, failed, skipped int
	// failures are the failed tests' names, with what they printed.
	failures []failure
	seconds  float64
}

type failure struct{ test, output string }

// wholePackage is the failed test's name when it was none.
const wholePackage = "the package"

// again takes what became of the tests that failed when they were tried once more. If the package had failed as a whole, all of it
// was.
func (r *result) again(second *result) {
	r.seconds += second.seconds
	if r.failures[0].test == wholePackage {
		r.passed, r.skipped = 0, 0
	}
	r.passed += second.passed
	r.skipped += second.skipped
	r.failed, r.failures = second.failed, second.failures
}

// rerun is the go test -run that has the failed tests and no other, empty for all of a package that failed as a whole.
func (r *result) rerun() string {
	var names []string
	for _, f := range r.failures {
		if f.test == wholePackage {
			return ""
		}
		names = append(names, f.test)
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

// event is a line that go test -json prints (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// module is what the packages' paths begin with.
const module = "github.com/scriptproxy/scriptproxy/"

// collect reads what go test -json prints, and counts tests (with their subtests as one). A package that failed without a
// failed test, because it did not build or ended early, is a failure of its own.
func collect(r io.Reader) ([]*result, error) {
	byName := map[string]*result{}
	output := map[[2]string]*strings.Builder{}
	var all []*result
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	var stray strings.Builder
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			stray.WriteString(lines.Text() + "\n")
			continue
		}
		if e.Package == "" {
			stray.WriteString(e.Output)
			continue
		}
		res := byName[e.Package]
		if res == nil {
			res = &result{pkg: strings.TrimPrefix(e.Package, module)}
			byName[e.Package] = res
			all = append(all, res)
		}
		top, _, sub := strings.Cut(e.Test, "/")
		key := [2]string{e.Package, top}
		if output[key] == nil {
			output[key] = &strings.Builder{}
		}
		switch {
		case e.Action == "output":
			output[key].WriteString(e.Output)
		case sub:
		case e.Action == "pass" && e.Test != "":
			res.passed++
		case e.Action == "skip" && e.Test != "":
			res.skipped++
		case e.Action == "fail" && e.Test != "":
			res.failed++
			res.failures = append(res.failures, failure{e.Test, output[key].String()})
		case e.Test == "" && (e.Action == "pass" || e.Action == "fail"):
			res.seconds = e.Elapsed
			if e.Action == "fail" && res.failed == 0 {
				res.failed++
				res.failures = append(res.failures, failure{wholePackage, output[key].String() + stray.String()})
			}
		}
		if sub || e.Test == "" || e.Action == "output" || e.Action == "run" {
			continue
		}
		delete(output, key)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read what go test prints: %w", err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("go test ran nothing: %s", strings.TrimSpace(stray.String()))
	}
	return all, nil
}

// runTests runs packages' tests with a server. timeout is go test's, for each package.
func runTests(ctx context.Context, server []string, packages []string, only, timeout string) ([]*result, error) {
	args := []string{"test", "-json", "-count=1", "-timeout", timeout}
	if only != "" {
		args = append(args, "-run", only)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Env = append(os.Environ(), "SCRIPTPROXY_TEST_REDIS="+strings.Join(server, " "))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run go test: %w", err)
	}
	results, err := collect(out)
	if waitErr := cmd.Wait(); err == nil && waitErr != nil {
		// The status says that tests failed, which the results say better.
		if _, exited := waitErr.(*exec.ExitError); !exited {
			err = waitErr
		}
	}
	return results, err
}
