package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const events = `{"Action":"start","Package":"github.com/scriptproxy/scriptproxy/test/e2e"}
{"Action":"run","Package":"github.com/scriptproxy/scriptproxy/test/e2e","Test":"TestA"}
{"Action":"output","Package":"github.com/scriptproxy/scriptproxy/test/e2e","Test":"TestA","Output":"fine\n"}
{"Action":"pass","Package":"github.com/scriptproxy/scriptproxy/test/e2e","Test":"TestA","Elapsed":0.1}
{"Action":"run","Package":"github.com/scriptproxy/scriptproxy/test/e2e","Test":"TestB"}
{"Action":"run","Package":"github.com/scriptproxy/scriptproxy/test/e2e","Test":"TestB/one"}
{"Action":"output","Package":"github.com/scriptproxy/scriptproxy/test/e2e","Test":"TestB/one","Output":"it broke\n"}
{"Action":"fail","Package":"github.com/scriptproxy/scriptproxy/test/e2e","Test":"TestB/one","Elapsed":0.1}
{"Action":"fail","Package":"github.com/scriptproxy/scriptproxy/test/e2e","Test":"TestB","Elapsed":0.1}
{"Action":"skip","Package":"github.com/scriptproxy/scriptproxy/test/e2e","Test":"TestC","Elapsed":0}
{"Action":"fail","Package":"github.com/scriptproxy/scriptproxy/test/e2e","Elapsed":2.5}
{"Action":"output","Package":"github.com/scriptproxy/scriptproxy/test/differential","Output":"panic: out of order\n"}
{"Action":"fail","Package":"github.com/scriptproxy/scriptproxy/test/differential","Elapsed":1}
`

func TestTestsAreCountedWithTheirSubtestsAsOne(t *testing.T) {
	all, err := collect(strings.NewReader(events))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 {
		t.Fatalf("%d packages", len(all))
	}
	e2e, diff := all[0], all[1]
	if e2e.pkg != "test/e2e" || e2e.passed != 1 || e2e.failed != 1 || e2e.skipped != 1 || e2e.seconds != 2.5 {
		t.Errorf("got %+v", e2e)
	}
	if len(e2e.failures) != 1 || e2e.failures[0].test != "TestB" || e2e.failures[0].output != "it broke\n" {
		t.Errorf("failures: %+v", e2e.failures)
	}
	if diff.failed != 1 || !strings.Contains(diff.failures[0].output, "out of order") {
		t.Errorf("a package that ends by itself: %+v", diff)
	}
}

func TestWhatFailedIsTriedOnceMoreAndNothingElse(t *testing.T) {
	all, err := collect(strings.NewReader(events))
	if err != nil {
		t.Fatal(err)
	}
	e2e, diff := all[0], all[1]
	if got := e2e.rerun(); got != "^(TestB)$" {
		t.Errorf("a failed test: %q", got)
	}
	e2e.again(&result{passed: 1, seconds: 1})
	if e2e.passed != 2 || e2e.failed != 0 || e2e.skipped != 1 || len(e2e.failures) != 0 || e2e.seconds != 3.5 {
		t.Errorf("passed the second time: %+v", e2e)
	}
	if got := diff.rerun(); got != "" {
		t.Errorf("a failed package: %q", got)
	}
	diff.again(&result{passed: 4, failed: 1, failures: []failure{{"TestD", "again\n"}}})
	if diff.passed != 4 || diff.failed != 1 || diff.failures[0].test != "TestD" {
		t.Errorf("failed the second time: %+v", diff)
	}
}

func TestRunWithoutTestsIsAnError(t *testing.T) {
	if _, err := collect(strings.NewReader("no Go files\n")); err == nil || !strings.Contains(err.Error(), "no Go files") {
		t.Errorf("got %v", err)
	}
}

func TestTableSaysWhatDidNotRun(t *testing.T) {
	got := table([]row{
		{server: "Redis", version: "8.0.2", from: "trixie redis-server 5:8.0.2-3", result: &result{pkg: "test/e2e", passed: 9, failed: 1, seconds: 2}},
		{server: "Valkey", version: "8.1", from: "trixie", missing: true, why: "the packages could not be had"},
	})
	want := `server  version  Debian package                 tests                                    passed  failed  skipped  seconds
Redis   8.0.2    trixie redis-server 5:8.0.2-3  test/e2e                                 9       1       0        2.0
Valkey  8.1      trixie                         not run: the packages could not be had  -       -       -        -
`
	if squeeze(got) != squeeze(want) {
		t.Errorf("got:\n%s", got)
	}
}

func squeeze(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func TestLinksStayInTheUnpackedSystem(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "lib", "x", "ld-2.so"), "loader")
	write(t, filepath.Join(root, "usr", "lib64", "other.so"), "other")
	for _, link := range [][2]string{
		{"/lib/x/ld-2.so", "lib64/ld.so"}, {"../lib/x/ld-2.so", "lib64/relative.so"}, {"loop.so", "lib64/loop.so"},
	} {
		at := filepath.Join(root, link[1])
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(link[0], at); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"/lib64/ld.so": "lib/x/ld-2.so", "/lib64/relative.so": "lib/x/ld-2.so", "/lib64/other.so": "usr/lib64/other.so",
	} {
		if got, err := resolve(root, path); err != nil || got != filepath.Join(root, want) {
			t.Errorf("%s is %s, %v", path, got, err)
		}
	}
	for _, path := range []string{"/lib64/loop.so", "/lib64/none.so"} {
		if got, err := resolve(root, path); err == nil {
			t.Errorf("%s is %s", path, got)
		}
	}
}

func TestServersAreChosenByName(t *testing.T) {
	if got, err := choose("valkey-8.1,redis-6.0"); err != nil || len(got) != 2 || got[0].pkg != "valkey-server" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := choose("redis-5"); err == nil {
		t.Error("an unknown server was chosen")
	}
}
