package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFiguresTakeTheirPlaceInADocument(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sizing.md")
	r := &sizing{
		Sizes: sizes{Scripts: 5000, Sessions: 1000, Scrapes: 50}, Empty: 20 << 20, Loaded: 30 << 20,
		Scrape: spread{P50: 8 * time.Millisecond}, Loads: []sizedLoad{{Title: "GET, 50 clients, pipeline 1", Unread: 7.25, Read: 7.5, ReadPercent: 3.4, Uncounted: 7.1, CountPercent: 2.1}},
	}
	for range 2 { // also over figures that are there
		if _, err := os.Stat(path); err != nil {
			if err := os.WriteFile(path, []byte("before\n<!-- begin sizing: make -->\nold\n<!-- end sizing -->\nafter\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.putInto(path); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if !strings.HasPrefix(text, "before\n<!-- begin sizing: make -->\n") || !strings.HasSuffix(text, "<!-- end sizing -->\nafter\n") || strings.Contains(text, "old") {
		t.Errorf("the document is\n%s", text)
	}
	for _, want := range []string{"| 10.0 MiB | 2,097 B |", "| 8.0 ms |", "| 72.5 ms | 71.0 ms | +2.1 % | 75.0 ms | +3.4 % |"} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("the document lacks %q:\n%s", want, text)
		}
	}
}
