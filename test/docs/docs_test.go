package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// documents returns every Markdown file of the project, by its path from the root, without test data and what is hidden.
func documents(t *testing.T) map[string]document {
	t.Helper()
	found := map[string]document{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || slices.Contains([]string{"testdata", "bin", "dist"}, entry.Name())) {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		found[filepath.ToSlash(name)] = parse(string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := found["README.md"]; !ok {
		t.Fatalf("README.md is not among the %d documents found", len(found))
	}
	return found
}

func TestLinksInDocumentsLeadSomewhere(t *testing.T) {
	docs := documents(t)
	for name, doc := range docs {
		for _, target := range doc.links {
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, fragment, _ := strings.Cut(target, "#")
			path := name
			if file != "" {
				path = filepath.ToSlash(filepath.Join(filepath.Dir(name), file))
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, target)
				continue
			}
			if other, isDocument := docs[path]; isDocument && fragment != "" && !other.anchors[fragment] {
				t.Errorf("%s links to %s, but %s has no such heading", name, target, path)
			}
		}
	}
}

// TestREADMELeadsToEveryPage: a page that nobody finds is none. Runbooks and decisions have an index of their own.
func TestREADMELeadsToEveryPage(t *testing.T) {
	docs := documents(t)
	found := map[string]bool{"README.md": true}
	for queue := []string{"README.md"}; len(queue) > 0; queue = queue[1:] {
		for _, target := range docs[queue[0]].links {
			file, _, _ := strings.Cut(target, "#")
			path := filepath.ToSlash(filepath.Join(filepath.Dir(queue[0]), file))
			if _, isDocument := docs[path]; isDocument && !found[path] {
				found[path] = true
				queue = append(queue, path)
			}
		}
	}
	for name := range docs {
		if strings.HasPrefix(name, "docs/") && !strings.HasPrefix(name, "docs/decisions/") && !found[name] {
			t.Errorf("no link leads from README.md to %s", name)
		}
	}
	linked := strings.Join(docs["README.md"].links, "\n") + "\n"
	for _, guide := range []string{"quickstart", "concepts", "configuration", "cli", "metrics", "dashboards", "versions", "protection", "locks", "consistency", "moving", "sizing", "security", "differences", "faq"} {
		if !strings.Contains(linked, "docs/"+guide+".md\n") {
			t.Errorf("README.md does not link to docs/%s.md", guide)
		}
	}
}

func TestMakeTargetsInDocumentsExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	known := rules(string(makefile))
	if !known["test"] || !known["build"] {
		t.Fatalf("the Makefile was not understood: %v", known)
	}
	for name, doc := range documents(t) {
		for _, line := range doc.code {
			for _, target := range makeTargets(line) {
				if !known[target] {
					t.Errorf("%s says %q, but the Makefile has no target %s", name, strings.TrimSpace(line), target)
				}
			}
		}
	}
}
