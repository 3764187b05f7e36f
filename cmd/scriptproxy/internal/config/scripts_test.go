package config

import (
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func ids(versions Versions) []string {
	var list []string
	for _, v := range versions {
		list = append(list, v.ID)
	}
	return list
}

func TestScriptDirectoryIsRegisteredWithoutBeingListed(t *testing.T) {
	cfg, warnings := parse(t, `
scripts:
  dir: files/scripts
  deadline: 2s
  list: [{name: transfer, active: v2, deadline: 500ms}]
`)
	if len(warnings) > 0 {
		t.Error(warnings)
	}
	list := cfg.Scripts.List
	if len(list) != 2 || list[0].Name != "transfer" || list[1].Name != "lock" {
		t.Fatalf("the scripts are %+v", list)
	}
	if got := ids(list[0].Versions); !slices.Equal(got, []string{"v1", "v2", "v10"}) || list[0].Active != "v2" {
		t.Errorf("transfer has the versions %q, active %s", got, list[0].Active)
	}
	if list[1].Active != "v1" || list[1].Class != ClassAuto || list[1].Deadline != 2*time.Second {
		t.Errorf("lock is %+v", list[1])
	}
}

func TestListedVersionsKeepTheirOrderBeforeThoseFound(t *testing.T) {
	cfg, _ := parse(t, `
scripts:
  dir: files/scripts
  list: [{name: transfer, active: old, versions: {old: {body: return 0}, v2: transfer/v2.lua}}]
`)
	if got := ids(cfg.Scripts.List[0].Versions); !slices.Equal(got, []string{"old", "v2", "v1", "v10"}) {
		t.Errorf("the versions are %q", got)
	}
}

func TestBodiesAreKeptByteForByteWithTheShaThatRedisGivesThem(t *testing.T) {
	cfg, _ := parse(t, `
scripts:
  list:
    - {name: plain, versions: {v1: {body: return 1}}}
    - name: block
      versions:
        v1:
          body: |
            return 1
    - {name: file, versions: {v1: {file: files/scripts/lock/v1.lua}}}
`)
	// SCRIPT LOAD of "return 1" and of "return 1\n".
	const plain, newline = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "48df9b519ca145c867b895f740b37bd891e887af"
	for i, want := range []struct{ body, sha string }{{"return 1", plain}, {"return 1\n", newline}, {"return 1\n", newline}} {
		v := cfg.Scripts.List[i].Versions[0]
		if string(v.Body) != want.body || v.SHA != want.sha {
			t.Errorf("%s is %q with sha %s; want %q with %s", cfg.Scripts.List[i].Name, v.Body, v.SHA, want.body, want.sha)
		}
	}
}

func TestScriptsInheritWhatTheyDoNotSay(t *testing.T) {
	// list comes first: the order of the keys must not matter.
	cfg, _ := parse(t, `
scripts:
  list:
    - {name: a, versions: {v1: {body: return 1}}}
    - {name: b, versions: {v1: {body: return 2}}, slow_after: 0, deadline: 0, max_concurrent: 0, max_queue: 1, breaker: {kills: 0}}
  slow_after: 5ms
  deadline: 1s
  max_concurrent: 3
  max_queue: 4
  breaker: {kills: 9, window: 1s, open_for: 2s, fallback: previous}
`)
	breaker := Breaker{Kills: 9, Window: time.Second, OpenFor: 2 * time.Second, Fallback: BreakerPrevious}
	a, b := cfg.Scripts.List[0], cfg.Scripts.List[1]
	if a.SlowAfter != 5*time.Millisecond || a.Deadline != time.Second || a.MaxConcurrent != 3 || a.MaxQueue != 4 || a.Breaker != breaker {
		t.Errorf("a does not inherit: %+v", a)
	}
	breaker.Kills = 0
	if b.SlowAfter != 0 || b.Deadline != 0 || b.MaxConcurrent != 0 || b.MaxQueue != 1 || b.Breaker != breaker {
		t.Errorf("b does not keep its own: %+v", b)
	}
}

func TestNewFileDoesNotActivateItself(t *testing.T) {
	dir := t.TempDir()
	text := []byte("scripts: {dir: scripts}")
	writeFile(t, filepath.Join(dir, "scripts/a/v1.lua"), "return 1")
	cfg, _, err := Parse("c.yaml", text, dir)
	if err != nil || cfg.Scripts.List[0].Active != "v1" {
		t.Fatalf("with one version: %v", err)
	}
	writeFile(t, filepath.Join(dir, "scripts/a/v2.lua"), "return 2")
	if _, _, err := Parse("c.yaml", text, dir); err == nil {
		t.Error("with two versions one was chosen")
	}
}

func TestHiddenFilesAndMountedLinksAreNoScripts(t *testing.T) {
	// The layout of a mounted ConfigMap: ..data and a dated directory.
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "scripts/a/..2026/v1.lua"), "return 1")
	writeFile(t, filepath.Join(dir, "scripts/a/v1.lua"), "return 1")
	writeFile(t, filepath.Join(dir, "scripts/.git/v1.lua"), "return 1")
	cfg, warnings, err := Parse("c.yaml", []byte("scripts: {dir: scripts}"), dir)
	if err != nil || len(warnings) > 0 || len(cfg.Scripts.List) != 1 || len(cfg.Scripts.List[0].Versions) != 1 {
		t.Errorf("got %+v, %v, %v", cfg, warnings, err)
	}
}

func TestNumbersInNamesCountByValue(t *testing.T) {
	got := []string{"v10", "v2", "v1.10", "v1.9", "v1", "V1", "v01", "2026-02", "2026-1"}
	slices.SortFunc(got, naturally)
	want := []string{"2026-1", "2026-02", "V1", "v01", "v1", "v1.9", "v1.10", "v2", "v10"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
