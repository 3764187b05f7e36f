package cli

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/policy/registry"
)

func TestProgressIsABarAndThenALine(t *testing.T) {
	p := api.Progress{Node: "n1:6379", Loaded: 50, Of: 100, ScriptsBefore: 1000, ScriptsAfter: 100, MemoryBefore: 3 << 20, MemoryAfter: -1, Seconds: 0.123}
	if got, want := barText(p), "n1:6379  ["+strings.Repeat("#", 15)+strings.Repeat(".", 15)+"] 50 of 100 scripts"; got != want {
		t.Errorf("%q", got)
	}
	if got := barText(api.Progress{Node: "n1"}); !strings.HasSuffix(got, "[##############################] 0 of 0 scripts") {
		t.Errorf("with nothing to load: %q", got)
	}
	if got, want := doneText(p), "n1:6379  1000 scripts, 3MiB -> 100 scripts, ?; 50 loaded again in 0.12s"; got != want {
		t.Errorf("%q", got)
	}
}

func TestAgesHaveOneUnit(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s ago", -time.Hour: "0s ago", 59 * time.Second: "59s ago", 61 * time.Minute: "1h ago", 3 * 24 * time.Hour: "3d ago", 119 * time.Second: "1m ago",
	} {
		if got := ago(time.Now().Add(-d)); got != want {
			t.Errorf("%s: %q", d, got)
		}
	}
	if got := ago(time.Time{}); got != "-" {
		t.Errorf("never: %q", got)
	}
}

func TestAChangeIsSaidInOneLine(t *testing.T) {
	fleet := []registry.Instance{{ID: "a"}, {ID: "b"}, {ID: "c", Away: true}}
	change := registry.Change{Name: "transfer", Action: "rollback", From: "v2", To: "v1", Revision: 7, Forced: true}
	for want, r := range map[string]*api.Result{
		"transfer: rollback v2 -> v1 (forced), revision 7, in force on 2 proxies": {Revision: 7, Change: change},
		"nothing to do: it is so already (revision 7)":                            {Revision: 7, Unchanged: true},
	} {
		if got := describeChange(r, fleet); got != want {
			t.Errorf("%q", got)
		}
	}
}

func TestExitStatusesTellWhatHappened(t *testing.T) {
	for code, want := range map[string]int{
		api.CodeConflict: statusConflict, api.CodeTimeout: statusBehind, api.CodeContract: statusFailed, api.CodeNotFound: statusFailed,
	} {
		if got := exitStatus(told(&api.Error{Code: code, Message: "x"})); got != want {
			t.Errorf("%s: %d, want %d", code, got, want)
		}
	}
	if err := told(nil); err != nil {
		t.Error(err)
	}
	if err := errors.New("x"); told(err) != err {
		t.Error("an error of another kind is changed")
	}
}
