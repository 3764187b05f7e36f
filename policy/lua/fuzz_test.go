package lua

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzAnalyse holds the analysis to what it promises for any body: no panic, a class, findings that lie inside the body, and
// formats that can write them. It is seeded with every script under testdata; testdata/fuzz has bodies that fuzzing found.
func FuzzAnalyse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*/*.lua")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d seeds, %v", len(files), err)
	}
	sound, _ := filepath.Glob("testdata/sound/*.lua")
	for _, file := range append(files, sound...) {
		f.Add([]byte(readFile(f, file)))
	}
	for _, body := range evasions {
		f.Add([]byte(body))
	}
	for body := range notLua {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<16 {
			return
		}
		a := Analyse(body, Options{DeclaredClass: Read, Name: "lock-balance", Timeout: longTimeout})
		if strings.Contains(a.Why, "the analysis failed") {
			t.Fatal(a.Why)
		}
		if a.Class == Auto || a.Class == Read && (a.Dynamic || !a.Analysed) {
			t.Fatalf("%+v", a)
		}
		if len(a.Findings) > maxFindings+1 {
			t.Fatalf("%d findings", len(a.Findings))
		}
		lines := len(splitLines(string(body)))
		for _, x := range a.Findings {
			if x.Line < 1 || x.Line > lines || x.Column < 1 || x.EndLine < x.Line || x.EndLine > lines ||
				x.EndLine == x.Line && x.EndColumn < x.Column || x.Level > ruleByID(x.Rule).Level || x.Message == "" || x.Fix == "" {
				t.Fatalf("%+v", x)
			}
		}
		report := []Report{{"f.lua", a}}
		for _, err := range []error{WriteText(io.Discard, "f.lua", body, a), WriteJSON(io.Discard, report), WriteSARIF(io.Discard, "", report)} {
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}
