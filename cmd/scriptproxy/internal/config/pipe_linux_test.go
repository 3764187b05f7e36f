package config

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestNamedPipeDoesNotBlockTheStart(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := Parse("c.yaml", []byte("upstream: {password_file: pipe}"), dir)
	if err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("got %v", err)
	}
}
