package lua

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the expected findings and the documentation anew")

func lintBody(body, name string, class Class) *Analysis {
	return Analyse([]byte(body), Options{Name: name, DeclaredClass: class, Timeout: longTimeout})
}

func found(a *Analysis, rule string) (levels []Level) {
	for _, f := range a.Findings {
		if f.Rule == rule {
			levels = append(levels, f.Level)
		}
	}
	return levels
}

func TestEveryRulesOwnExamplesShowIt(t *testing.T) {
	for _, r := range Rules() {
		t.Run(r.ID, func(t *testing.T) {
			levels := found(lintBody(r.Bad, "", Auto), r.ID)
			if !slices.Contains(levels, r.Level) {
				t.Errorf("the bad example has no finding of level %v:\n%s", r.Level, r.Bad)
			}
			good := lintBody(r.Good, "", Auto)
			if n := len(found(good, r.ID)); n > 0 {
				t.Errorf("the good example has the finding:\n%s", r.Good)
			}
			if n := good.Count(Warning); n > 0 {
				t.Errorf("the good example has other findings: %+v", good.Findings)
			}
		})
	}
}

// TestRulesFindWhatTheirFilesShow runs the lint over testdata/<rule>/*.lua. A positive file must have the rule's finding,
// a negative one must not; all findings of both are compared with the .golden file beside it. A first line
// "-- lint: class=read name=x" sets options.
func TestRulesFindWhatTheirFilesShow(t *testing.T) {
	for _, r := range Rules() {
		files, err := filepath.Glob(filepath.Join("testdata", "rules", r.ID, "*.lua"))
		if err != nil {
			t.Fatal(err)
		}
		positive, negative := 0, 0
		for _, file := range files {
			isPositive := strings.HasPrefix(filepath.Base(file), "positive-")
			if isPositive {
				positive++
			} else {
				negative++
			}
			t.Run(r.ID+"/"+filepath.Base(file), func(t *testing.T) {
				a := lintFile(t, file)
				if has := len(found(a, r.ID)) > 0; has != isPositive {
					t.Errorf("%s: finding of %s: %v", file, r.ID, has)
				}
				compareGolden(t, strings.TrimSuffix(file, ".lua")+".golden", goldenText(a))
			})
		}
		if positive == 0 || negative == 0 {
			t.Errorf("%s has %d positive and %d negative files, and needs one of each", r.ID, positive, negative)
		}
	}
}

func TestSoundScriptsHaveNoWarnings(t *testing.T) {
	files, err := filepath.Glob("testdata/sound/*.lua")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			a := lintFile(t, file)
			if !a.Analysed || a.Count(Warning) > 0 {
				t.Errorf("%s\n%s", a.Why, goldenText(a))
			}
		})
	}
}

func lintFile(t *testing.T, file string) *Analysis {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	opt := Options{Timeout: longTimeout}
	for line := range strings.Lines(string(body)) {
		rest, ok := strings.CutPrefix(line, "-- lint:")
		if !ok {
			continue
		}
		for _, word := range strings.Fields(rest) {
			switch key, value, _ := strings.Cut(word, "="); key + "=" + value {
			case "class=read":
				opt.DeclaredClass = Read
			case "name=" + value:
				opt.Name = value
			default:
				t.Fatalf("%s: unknown option %s", file, word)
			}
		}
	}
	return Analyse(body, opt)
}

func goldenText(a *Analysis) string {
	var sb strings.Builder
	fmt.Fprintf(&sb, "class %v, dynamic %v, commands %s\n", a.Class, a.Dynamic, strings.Join(a.Commands, " "))
	for _, f := range a.Findings {
		fmt.Fprintf(&sb, "%d:%d-%d:%d %v %s: %s\n", f.Line, f.Column, f.EndLine, f.EndColumn, f.Level, f.Rule, f.Message)
	}
	return sb.String()
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run go test -update", err)
	}
	if !bytes.Equal(want, []byte(got)) {
		t.Errorf("%s differs; run go test -update and look at the difference\n got:\n%s\nwant:\n%s", file, got, want)
	}
}

func readFile(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
