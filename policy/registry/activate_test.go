package registry_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

func TestActivateMovesThePointerAndRemembersThePrevious(t *testing.T) {
	r := withVersions(t, 2)
	res := must(t)(r.Activate(background, alice, "pay", "v2"))
	expect(t, r, pointers{Active: "v2", Previous: "v1"})
	want := registry.Change{Revision: res.Snapshot.Revision, At: res.Change.At, Who: "alice", Action: "activate", Name: "pay", From: "v1", To: "v2", Why: "a test", Instance: "p1"}
	if res.Change != want {
		t.Errorf("change is %+v, want %+v", res.Change, want)
	}
	s := r.Snapshot().Script("pay")
	if s.Revision != res.Snapshot.Revision || s.ChangedBy != "alice" || s.LastAction != "activate" || s.Why != "a test" {
		t.Errorf("the script does not say who changed it last: %+v", s)
	}
}

func TestActivateOfTheActiveVersionChangesNothing(t *testing.T) {
	r := withVersions(t, 1)
	before := r.Snapshot()
	if res := must(t)(r.Activate(background, alice, "pay", "v1")); !res.Unchanged || r.Snapshot() != before {
		t.Errorf("unchanged is %v", res.Unchanged)
	}
}

func TestUnknownNamesAndVersionsAreAnsweredWithWhatMayHaveBeenMeant(t *testing.T) {
	r := withVersions(t, 2)
	missing := refused[*registry.NotFoundError](t, r, func() (registry.Result, error) { return r.Activate(background, alice, "Pya", "v2") })
	if len(missing.Close) > 0 {
		t.Errorf("Pya is too far from pay, but got %v", missing.Close)
	}
	refused[*registry.NotFoundError](t, r, func() (registry.Result, error) { return r.Activate(background, alice, "PAYS", "v2") },
		`no script is named "PAYS"`, "did you mean pay?")
	refused[*registry.NotFoundError](t, r, func() (registry.Result, error) { return r.Activate(background, alice, "pay", "v9") },
		`script pay has no version "v9"`, "it has v2, v1")
	refused[*registry.NotFoundError](t, r, func() (registry.Result, error) {
		return r.Activate(background, alice, strings.Repeat("x", 1<<20), "v9")
	})
}

func TestADifferentContractNeedsForce(t *testing.T) {
	r := withVersions(t, 1)
	must(t)(r.LoadVersion(background, alice, registry.Load{Name: "pay", Body: []byte("return redis.call('SET', KEYS[2], ARGV[1])")}))
	refused[*registry.ContractError](t, r, func() (registry.Result, error) { return r.Activate(background, alice, "pay", "v2") },
		"class write, was read", "number of keys 2, was 1", "number of arguments 1, was 0", "with force")
	refused[*registry.ContractError](t, r, func() (registry.Result, error) {
		return r.SetCanary(background, alice, "pay", "v2", 5, registry.StickyKey)
	})
	forced := alice
	forced.Force = true
	if res := must(t)(r.Activate(background, forced, "pay", "v2")); !res.Change.Forced {
		t.Error("the audit entry does not say that a check was overridden")
	}
	if res := must(t)(r.Rollback(background, alice, "pay", "")); len(res.Warnings) != 1 || res.Change.Forced {
		t.Errorf("a rollback across contracts needs no force, and warns; got %+v", res)
	}
	expect(t, r, pointers{Active: "v1", Previous: "v2"})
}

func TestForceThatOverrodeNothingIsNotRecordedAsForced(t *testing.T) {
	r := withVersions(t, 2)
	forced := alice
	forced.Force = true
	if res := must(t)(r.Activate(background, forced, "pay", "v2")); res.Change.Forced {
		t.Error("recorded as forced")
	}
}

func TestRollbackGoesToThePreviousVersionOnce(t *testing.T) {
	r := withVersions(t, 3)
	must(t)(r.Activate(background, alice, "pay", "v2"))
	must(t)(r.Activate(background, alice, "pay", "v3"))
	res := must(t)(r.Rollback(background, bob, "pay", ""))
	if res.Change.From != "v3" || res.Change.To != "v2" || res.Change.Action != "rollback" {
		t.Errorf("change is %+v", res.Change)
	}
	expect(t, r, pointers{Active: "v2", Previous: "v3"})
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) { return r.Rollback(background, bob, "pay", "") },
		"rolled back already, from v3 to v2", "would bring v3 back", "the latest first: v3, v1")
	must(t)(r.Rollback(background, bob, "pay", "v1"))
	expect(t, r, pointers{Active: "v1", Previous: "v2"})
	must(t)(r.Activate(background, bob, "pay", "v3"))
	must(t)(r.Rollback(background, bob, "pay", ""))
	expect(t, r, pointers{Active: "v1", Previous: "v3"})
}

func TestRollbackWithNothingToGoBackToIsRefused(t *testing.T) {
	r := withVersions(t, 2)
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) { return r.Rollback(background, bob, "pay", "") }, "no previous version")
}

func TestRollbackToAVersionThatWasNeverActiveChecksTheContract(t *testing.T) {
	r := withVersions(t, 1)
	must(t)(r.LoadVersion(background, alice, registry.Load{Name: "pay", Body: []byte("return KEYS[3]")}))
	refused[*registry.ContractError](t, r, func() (registry.Result, error) { return r.Rollback(background, bob, "pay", "v2") })
}

func TestRollbackWhileACanaryRunsEndsTheCanaryOnly(t *testing.T) {
	r := withVersions(t, 3)
	must(t)(r.Activate(background, alice, "pay", "v2"))
	must(t)(r.SetCanary(background, alice, "pay", "v3", 5, ""))
	res := must(t)(r.Rollback(background, bob, "pay", ""))
	expect(t, r, pointers{Active: "v2", Previous: "v1"})
	if res.Change.From != "v3" || res.Change.To != "v2" {
		t.Errorf("change is %+v", res.Change)
	}
	must(t)(r.Rollback(background, bob, "pay", ""))
	expect(t, r, pointers{Active: "v1", Previous: "v2"})
}

func TestActivationEndsARunningCanary(t *testing.T) {
	r := withVersions(t, 3)
	must(t)(r.SetCanary(background, alice, "pay", "v3", 5, ""))
	res := must(t)(r.Activate(background, alice, "pay", "v2"))
	expect(t, r, pointers{Active: "v2", Previous: "v1"})
	if !strings.Contains(res.Change.Note, "v3") {
		t.Errorf("the audit entry does not mention the canary: %+v", res.Change)
	}
}

func TestPromoteAndAbortNeedACanary(t *testing.T) {
	r := withVersions(t, 2)
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) { return r.Promote(background, bob, "pay") }, "no canary")
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) { return r.Abort(background, bob, "pay") }, "no canary")
	must(t)(r.SetCanary(background, alice, "pay", "v2", 5, ""))
	must(t)(r.Abort(background, bob, "pay"))
	expect(t, r, pointers{Active: "v1"})
	must(t)(r.SetCanary(background, alice, "pay", "v2", 5, ""))
	must(t)(r.Promote(background, bob, "pay"))
	expect(t, r, pointers{Active: "v2", Previous: "v1"})
	must(t)(r.Rollback(background, bob, "pay", ""))
	expect(t, r, pointers{Active: "v1", Previous: "v2"})
}

func TestImpossibleCanariesAreRefused(t *testing.T) {
	r := withVersions(t, 2)
	for what, do := range map[string]func() (registry.Result, error){
		"0.01 to 100":           func() (registry.Result, error) { return r.SetCanary(background, bob, "pay", "v2", 0, "") },
		"0.01 to 100 percent":   func() (registry.Result, error) { return r.SetCanary(background, bob, "pay", "v2", 100.5, "") },
		`sticks to "key"`:       func() (registry.Result, error) { return r.SetCanary(background, bob, "pay", "v2", 5, "user") },
		"v1 is the active":      func() (registry.Result, error) { return r.SetCanary(background, bob, "pay", "v1", 5, "") },
		"nothing to compare":    func() (registry.Result, error) { return r.SetCanary(background, bob, "new", "v1", 5, "") },
		"version v2 is retired": func() (registry.Result, error) { return r.SetCanary(background, bob, "old", "v2", 5, "") },
	} {
		if strings.Contains(what, "nothing") {
			must(t)(r.LoadVersion(background, alice, registry.Load{Name: "new", Body: body(70)}))
		}
		if strings.Contains(what, "retired") {
			must(t)(r.LoadVersion(background, alice, registry.Load{Name: "old", Body: body(80)}))
			must(t)(r.LoadVersion(background, alice, registry.Load{Name: "old", Body: body(81)}))
			must(t)(r.Retire(background, alice, "old", "v2", ""))
		}
		refused[*registry.InvalidError](t, r, do, what)
	}
}

func TestAPinnedVersionThatLosesThePointerIsWarnedAbout(t *testing.T) {
	r := withVersions(t, 2)
	must(t)(r.Pin(background, alice, "pay", "v2", true))
	must(t)(r.Activate(background, alice, "pay", "v2"))
	res := must(t)(r.Rollback(background, alice, "pay", ""))
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "still run it") {
		t.Errorf("warnings are %q", res.Warnings)
	}
}

func TestAVersionThatCannotBePreparedMovesNoPointer(t *testing.T) {
	var refuse bool
	var staged []registry.Staged
	r := withVersions(t, 2, func(o *registry.Options) {
		o.Prepare = func(_ context.Context, s []registry.Staged) error {
			staged = s
			if refuse {
				return &registry.PrepareError{Node: "10.0.0.7:6379", Err: errors.New("OOM command not allowed")}
			}
			return nil
		}
	})
	refuse = true
	for what, do := range map[string]func() (registry.Result, error){
		"activate": func() (registry.Result, error) { return r.Activate(background, alice, "pay", "v2") },
		"canary":   func() (registry.Result, error) { return r.SetCanary(background, alice, "pay", "v2", 5, "") },
		"rollback": func() (registry.Result, error) { return r.Rollback(background, alice, "pay", "v2") },
		"load": func() (registry.Result, error) {
			return r.LoadVersion(background, alice, registry.Load{Name: "pay", Version: "v2x", Body: body(9)})
		},
		"declare": func() (registry.Result, error) { return r.Declare(background, declare("pay", "v9", 9)) },
	} {
		t.Run(what, func(t *testing.T) {
			refused[*registry.PrepareError](t, r, do, "script pay", "node 10.0.0.7:6379", "OOM", "nothing was changed")
		})
	}
	refuse = false
	must(t)(r.Activate(background, alice, "pay", "v2"))
	if len(staged) != 1 || staged[0].Version.ID != "v2" || !staged[0].Active || staged[0].Script != "pay" {
		t.Errorf("staged %+v", staged)
	}
	refuse = true
	forced := alice
	forced.Force = true
	res := must(t)(r.Rollback(background, forced, "pay", ""))
	expect(t, r, pointers{Active: "v1", Previous: "v2"})
	if !res.Change.Forced || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "10.0.0.7:6379") {
		t.Errorf("a forced rollback past a node says so; got %+v", res)
	}
}
