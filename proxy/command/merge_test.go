package command

import (
	"slices"
	"strings"
	"testing"
)

// tableOf makes a table of lines in the embedded files' format.
func tableOf(t *testing.T, lines ...string) *Table {
	t.Helper()
	cmds := map[string]*Command{}
	if err := readText("test", strings.Join(lines, "\n"), cmds); err != nil {
		t.Fatal(err)
	}
	var top []*Command
	for _, c := range cmds {
		top = append(top, c)
	}
	return newTable(top)
}

func names(t *Table) []string {
	var names []string
	for c := range t.All() {
		names = append(names, c.Name)
	}
	return names
}

func TestMergePrefersTheServersReport(t *testing.T) {
	ours := tableOf(t, "get 2 readonly - - -", "set 3 write - - -", "client -2 - - - -", "client|id 2 - connection - -", "client|old 2 admin - - -")
	theirs := tableOf(t, "aaa -1 readonly,module - 1,1,1 -", "client -2 - - - -", "client|id 3 - connection - -", "client|new 2 admin - - -", "get -2 readonly,fast - - -")
	merged := ours.Merge(theirs)

	if want := []string{"AAA", "CLIENT", "CLIENT|ID", "CLIENT|NEW", "CLIENT|OLD", "GET", "SET"}; !slices.Equal(names(merged), want) {
		t.Fatalf("merged: %v, want %v", names(merged), want)
	}
	for name, want := range map[string]struct {
		arity  int
		absent bool
		class  Class
	}{
		"AAA": {-1, false, ClassRead}, "CLIENT": {-2, false, ClassAdmin}, "CLIENT|ID": {3, false, ClassRead}, "CLIENT|NEW": {2, false, ClassAdmin},
		"CLIENT|OLD": {2, true, ClassAdmin}, "GET": {-2, false, ClassRead}, "SET": {3, true, ClassWrite},
	} {
		if c := merged.LookupString(name); c.Arity != want.arity || c.Absent != want.absent || c.Class != want.class {
			t.Errorf("%s after merging: %+v, want %+v", name, c, want)
		}
	}
	if !merged.LookupString("GET").Flags.Has(Fast | ReadOnly) {
		t.Error("GET does not have the server's flags")
	}
	if got := ours.LookupString("SET"); got.Absent || ours.Len() != 5 || theirs.LookupString("AAA").ID != 0 {
		t.Error("merging changed what was merged")
	}
}

func TestMergeKeepsIDs(t *testing.T) {
	table := Embedded()
	ids := map[string]int{}
	for _, file := range []string{"redis-6.0.16.resp2", "redis-8.0.2.resp2", "valkey-8.1.1.resp3", "redis-6.0.16.resp2"} {
		reported, err := Parse(recorded(t, file))
		if err != nil {
			t.Fatal(err)
		}
		table = table.Merge(reported).Merge(tableOf(t, file[:9]+".new -1 module - - -"))
		seen := map[int]bool{}
		for c := range table.All() {
			if id, ok := ids[c.Name]; ok && id != c.ID {
				t.Fatalf("%s has ID %d, and had %d", c.Name, c.ID, id)
			}
			ids[c.Name] = c.ID
			if c.ID < 0 || c.ID >= table.Len() || seen[c.ID] || table.ByID(c.ID) != c {
				t.Fatalf("ID %d of %s is not dense", c.ID, c.Name)
			}
			seen[c.ID] = true
		}
	}
}

func TestAbsenceFollowsTheLatestReport(t *testing.T) {
	table := tableOf(t, "hexpire -6 write - - -", "get 2 readonly - - -")
	old, newer := tableOf(t, "get 2 readonly - - -"), tableOf(t, "hexpire -6 write - - -", "get 2 readonly - - -")
	if table = table.Merge(old); !table.LookupString("HEXPIRE").Absent {
		t.Error("HEXPIRE is not absent on a server that lacks it")
	}
	if table = table.Merge(newer); table.LookupString("HEXPIRE").Absent {
		t.Error("HEXPIRE is absent on a server that has it")
	}
}

func TestOldServersLackWhatCameLater(t *testing.T) {
	reported, err := Parse(recorded(t, "redis-6.0.16.resp2"))
	if err != nil {
		t.Fatal(err)
	}
	table := Embedded().Merge(reported)
	for name, absent := range map[string]bool{"EVALSHA_RO": true, "FUNCTION": true, "FUNCTION|LOAD": true, "RESET": true, "EVALSHA": false,
		"SCRIPT|LOAD": false, "CLIENT|ID": false} {
		if c := table.LookupString(name); c.Absent != absent {
			t.Errorf("%s absent on Redis 6.0: %v", name, c.Absent)
		}
	}
}
