package lua

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const docsFile = "../../docs/lint.md"

func TestTheDocumentationIsThatOfTheRules(t *testing.T) {
	want := Documentation()
	if *update {
		if err := os.WriteFile(docsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s differs from the rules; run go test ./policy/lua -update", docsFile)
	}
}

func TestEveryRuleIsWholeAndItsPageExists(t *testing.T) {
	page, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	seen := map[string]bool{}
	for _, r := range Rules() {
		if !id.MatchString(r.ID) || seen[r.ID] {
			t.Errorf("rule %q: not kebab-case, or there twice", r.ID)
		}
		seen[r.ID] = true
		for what, text := range map[string]string{"summary": r.Summary, "explanation": r.Explanation, "fix": r.Fix, "bad example": r.Bad, "good example": r.Good} {
			if strings.TrimSpace(text) == "" {
				t.Errorf("rule %s has no %s", r.ID, what)
			}
		}
		file, anchor, _ := strings.Cut(r.Page(), "#")
		if file != "docs/lint.md" || !strings.Contains(string(page), "\n## "+anchor+"\n") {
			t.Errorf("rule %s: page %s does not exist", r.ID, r.Page())
		}
	}
}
