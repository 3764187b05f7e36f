package docs

import (
	"maps"
	"slices"
	"testing"
)

const sample = "# The `title`: with, signs!\n" +
	"See [one](a/b.md#part), ![two](c.png \"title\") and [`three`](<d.md>), not `[four](e.md)`.\n" +
	"[ref]: f.md\n" +
	"```sh\n[five](g.md)\n# not a heading\nmake build test V=1\n```\n" +
	"## Again\n## Again\n### A [linked](x.md) one ###\nRun `make lint -s; make fuzz`.\n"

func TestMarkdownIsReadAsFarAsNeeded(t *testing.T) {
	d := parse(sample)
	if want := []string{"a/b.md#part", "c.png", "d.md", "f.md", "x.md"}; !slices.Equal(d.links, want) {
		t.Errorf("links are %q, want %q", d.links, want)
	}
	if got, want := slices.Sorted(maps.Keys(d.anchors)), []string{"a-linked-one", "again", "again-1", "the-title-with-signs"}; !slices.Equal(got, want) {
		t.Errorf("anchors are %q, want %q", got, want)
	}
	var targets []string
	for _, line := range d.code {
		targets = append(targets, makeTargets(line)...)
	}
	if want := []string{"build", "test", "lint", "fuzz"}; !slices.Equal(targets, want) {
		t.Errorf("make targets are %q, want %q", targets, want)
	}
}

func TestMakefileRulesAreFound(t *testing.T) {
	got := rules("A := b\nC ?= d\n.PHONY: x\none two: three\n\tmake four: five\nsix:\n")
	want := []string{".PHONY", "one", "six", "two"}
	if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, want) {
		t.Errorf("rules are %q, want %q", keys, want)
	}
}
