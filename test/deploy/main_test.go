//go:build linux

package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	root = "../.."
	// buildPatience bounds a build with an empty cache: helm alone links half of Kubernetes' client.
	buildPatience = 9 * time.Minute
	// programPatience bounds every other program; on an idle machine all take seconds.
	programPatience = 5 * time.Minute
	// patience bounds waits for programs that were started.
	patience = 90 * time.Second
)

// scratch is the directory for what all tests share; it is removed at the end.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(runIn(m))
}

func runIn(m *testing.M) int {
	dir, err := os.MkdirTemp("", "scriptproxy-deploy-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "deploy: create a directory:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	scratch = dir
	return m.Run()
}

// built returns the path of a program that is built once, by package path in a module's directory.
func built(name, dir, pkg string) func(t *testing.T) string {
	build := sync.OnceValues(func() (string, error) {
		path := filepath.Join(scratch, name)
		ctx, cancel := context.WithTimeout(context.Background(), buildPatience)
		defer cancel()
		cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", path, pkg)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
		return path, nil
	})
	return func(t *testing.T) string {
		t.Helper()
		path, err := build()
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
}

var (
	scriptproxy = built("scriptproxy", root, "./cmd/scriptproxy")
	tools       = built("tools", "tools", ".")
)

// installed returns the path of a program of one of Debian's packages, and fails the test when it is missing.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		for _, dir := range []string{"/usr/sbin", "/sbin"} {
			if _, statErr := os.Stat(filepath.Join(dir, name)); statErr == nil {
				return filepath.Join(dir, name)
			}
		}
		t.Fatalf("%v: install it with .ci/packages %s", err, name)
	}
	return path
}

// output runs a program in dir and returns what it printed. Its error has what it printed to standard error.
func output(dir, path string, args ...string) (string, error) {
	return outputOf(nil, dir, path, args...)
}

func outputOf(env []string, dir, path string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), programPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(path), strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), err
}

// must is output for what has to succeed.
func must(t *testing.T, dir, path string, args ...string) string {
	t.Helper()
	out, err := output(dir, path, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refused runs a program that has to fail, and returns what it said.
func refused(t *testing.T, dir, path string, args ...string) string {
	t.Helper()
	out, err := output(dir, path, args...)
	if err == nil {
		t.Fatalf("%s %s succeeded:\n%s", filepath.Base(path), strings.Join(args, " "), out)
	}
	return err.Error()
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// broken copies a directory and replaces text in one of its files, which must hold it. It returns the copy.
func broken(t *testing.T, dir, file, old, new string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(to, file)
	text := read(t, path)
	if !strings.Contains(text, old) {
		t.Fatalf("%s does not hold %q", file, old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(text, old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	return to
}
