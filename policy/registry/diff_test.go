package registry_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

func diffOf(t *testing.T, a, b string) string {
	t.Helper()
	r := open(t, newTestStore(t))
	for _, text := range []string{a, b} {
		must(t)(r.LoadVersion(background, alice, registry.Load{Name: "pay", Body: []byte(text)}))
	}
	out, err := r.Diff("pay", "v1", "v2")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDiffIsUnified(t *testing.T) {
	got := diffOf(t, "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n11\n12\nlast")
	want := `--- pay@v1
+++ pay@v2
@@ -2,7 +2,7 @@
 2
 3
 4
-5
+five
 6
 7
 8
@@ -10,3 +10,4 @@
 10
 11
 12
+last
\ No newline at end of file
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDiffChoosesActiveAndNewest(t *testing.T) {
	r := withVersions(t, 3)
	out, err := r.Diff("pay", "", "")
	if err != nil || !strings.HasPrefix(out, "--- pay@v1\n+++ pay@v3\n") {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := r.Diff("pay", "v1", "v8"); err == nil {
		t.Error("an unknown version has a diff")
	}
	if out, err := r.Diff("pay", "v2", "v2"); err != nil || out != "" {
		t.Errorf("a version differs from itself: %q, %v", out, err)
	}
}

// patch(1) is the reader for whom the format was made.
func TestPatchTurnsOneVersionIntoTheOther(t *testing.T) {
	patch, err := exec.LookPath("patch")
	if err != nil {
		t.Fatal("this test needs patch(1): install the package patch")
	}
	random := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		var b strings.Builder
		for range 1 + random.IntN(40) {
			b.WriteString(strings.Repeat("x", random.IntN(4)) + "\n")
		}
		return strings.TrimSuffix(b.String(), strings.Repeat("\n", random.IntN(2))) + "."
	}
	for range 60 {
		a, b := text(), text()
		if a == b {
			continue
		}
		dir := t.TempDir()
		file := filepath.Join(dir, "script")
		if err := os.WriteFile(file, []byte(a), 0o600); err != nil {
			t.Fatal(err)
		}
		out := diffOf(t, a, b)
		cmd := exec.Command(patch, "--silent", "--fuzz=0", file)
		cmd.Stdin = strings.NewReader(out)
		if msg, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("patch: %v\n%s\n%s", err, msg, out)
		}
		if got, _ := os.ReadFile(file); string(got) != b {
			t.Fatalf("patched %q to %q, want %q, with\n%s", a, got, b, out)
		}
	}
}

func TestDiffOfBodiesWithLittleInCommonEnds(t *testing.T) {
	var a, b strings.Builder
	for i := range 20_000 {
		a.WriteString(strings.Repeat("a", i%7) + "\n")
		b.WriteString(strings.Repeat("b", i%5) + "x\n")
	}
	if out := diffOf(t, a.String(), b.String()); strings.Count(out, "\n") < 40_000 {
		t.Errorf("%d lines", strings.Count(out, "\n"))
	}
}
