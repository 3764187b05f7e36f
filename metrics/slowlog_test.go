package metrics

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func named(entries []Entry) (out []string) {
	for _, e := range entries {
		out = append(out, e.Name)
	}
	return out
}

func TestSlowLogKeepsTheLatestNewestFirst(t *testing.T) {
	l := NewSlowLog(3, false)
	for i, want := range []string{"[0]", "[1 0]", "[2 1 0]", "[3 2 1]", "[4 3 2]", "[5 4 3]", "[6 5 4]"} {
		l.Add(Entry{Name: fmt.Sprint(i)})
		got := l.Entries(0)
		if s := fmt.Sprint(named(got)); s != want {
			t.Errorf("after %d: %s, want %s", i, s, want)
		}
		if got[0].ID != uint64(i) {
			t.Errorf("after %d: id %d", i, got[0].ID)
		}
	}
	if s := fmt.Sprint(named(l.Entries(2))); s != "[6 5]" {
		t.Errorf("limit 2: %s", s)
	}
}

func TestSlowLogResetForgetsAndGoesOnCounting(t *testing.T) {
	for before := range 8 {
		l := NewSlowLog(3, false)
		for range before {
			l.Add(Entry{Name: "old"})
		}
		l.Reset()
		if n := len(l.Entries(0)); n != 0 {
			t.Errorf("%d entries after Reset", n)
		}
		l.Add(Entry{Name: "new"})
		if got := l.Entries(0); len(got) != 1 || got[0].Name != "new" || got[0].ID != uint64(before) {
			t.Errorf("after %d, Reset and one more: %+v", before, got)
		}
	}
}

func TestSlowLogKeepsArgumentsOnlyWhenToldTo(t *testing.T) {
	many := make([]string, 40)
	for i := range many {
		many[i] = strings.Repeat("x", 200)
	}
	l := NewSlowLog(0, false)
	l.Add(Entry{Args: many})
	if e := l.Entries(1)[0]; e.Args != nil || l.KeepsArgs() {
		t.Errorf("arguments were kept: %q", e.Args)
	}

	l = NewSlowLog(0, true)
	l.Add(Entry{Args: many})
	args := l.Entries(1)[0].Args
	if len(args) != 32 || args[31] != "... (9 more arguments)" {
		t.Errorf("%d arguments, the last %q", len(args), args[len(args)-1])
	}
	if want := strings.Repeat("x", 128) + "... (72 more bytes)"; args[0] != want {
		t.Errorf("first argument %q, want %q", args[0], want)
	}
	l.Add(Entry{Args: many[:32]})
	if args := l.Entries(1)[0].Args; len(args) != 32 || args[31] == "... (1 more arguments)" {
		t.Errorf("exactly 32 arguments became %d, the last %q", len(args), args[len(args)-1])
	}
}

func TestSlowLogEntryInJSON(t *testing.T) {
	b, err := json.Marshal(Entry{
		ID: 7, When: time.Unix(1_700_000_000, 0).UTC(), Name: "transfer", Version: "v2", SHA: "abc", Node: "n:1",
		Duration: 150 * time.Millisecond, Keys: 2, Client: "c:2", User: "app", Outcome: OutcomeOK.String(),
	})
	want := `{"id":7,"when":"2023-11-14T22:13:20Z","name":"transfer","version":"v2","sha":"abc","node":"n:1","duration_ns":150000000,"keys":2,"client":"c:2","user":"app","outcome":"ok"}`
	if err != nil || string(b) != want {
		t.Errorf("JSON\n%s (%v), want\n%s", b, err, want)
	}
}

func TestSlowLogServesManyGoroutines(t *testing.T) {
	l := NewSlowLog(16, true)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				l.Add(Entry{Args: []string{"a"}})
				l.Entries(5)
			}
		})
	}
	wg.Wait()
	if got := l.Entries(0); len(got) != 16 || got[0].ID != 1999 {
		t.Errorf("%d entries, the newest %d, want 16 and 1999", len(got), got[0].ID)
	}
}
