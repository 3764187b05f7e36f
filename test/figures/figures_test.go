package figures

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPutReplacesWhatStandsInThePlaceAndNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	const page = "# Page\n\n<!-- begin one: make one -->\nold\n<!-- end one -->\n\n<!-- begin two: make two -->\n<!-- end two -->\n"
	if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Put(path, "one", "\nnew\n\n"); err != nil {
		t.Fatal(err)
	}
	if err := Put(path, "two", "2"); err != nil {
		t.Fatal(err)
	}
	if err := Put(path, "one", "newer"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Page\n\n<!-- begin one: make one -->\n\nnewer\n\n<!-- end one -->\n\n<!-- begin two: make two -->\n\n2\n\n<!-- end two -->\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDocumentWithoutThePlaceIsLeftAsItIs(t *testing.T) {
	for _, page := range []string{
		"", "<!-- begin p: make -->\n", "<!-- end p -->\n", "<!-- begin q: make -->\n<!-- end q -->\n",
		"<!-- begin p: make -->\n<!-- end p -->\n<!-- begin p: make -->\n<!-- end p -->\n",
	} {
		path := filepath.Join(t.TempDir(), "page.md")
		if err := os.WriteFile(path, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Put(path, "p", "text"); err == nil {
			t.Errorf("%q: no error", page)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != page {
			t.Errorf("%q became %q (%v)", page, got, err)
		}
	}
}
