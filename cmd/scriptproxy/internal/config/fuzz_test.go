package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzParse holds Parse to its contract for any file: it ends, with a valid Config
// or with Problems which all have a text and stay on one line each.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, examplePath) {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(switchOn(data))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, warnings, err := Parse("c.yaml", data, dir)
		if (err == nil) == (cfg == nil) {
			t.Fatalf("config %v with error %v", cfg, err)
		}
		for _, w := range warnings {
			oneLine(t, w.String())
		}
		if err == nil {
			if err := cfg.Validate(); err != nil {
				t.Fatalf("Parse accepts what Validate refuses: %v", err)
			}
			return
		}
		problems, ok := err.(Problems)
		if !ok || len(problems) == 0 {
			t.Fatalf("the error is %T %v", err, err)
		}
		for _, p := range problems {
			oneLine(t, p.String())
		}
	})
}

func oneLine(t *testing.T, text string) {
	t.Helper()
	if !strings.HasPrefix(text, "c.yaml") || strings.ContainsAny(text, "\n\r\x1b") {
		t.Fatalf("not one clean line: %q", text)
	}
}
