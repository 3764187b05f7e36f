package registry_test

import (
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

// declare is a configuration with one script whose versions are v<n> for each n.
func declare(name, active string, versions ...int) []registry.Declared {
	d := registry.Declared{Name: name, Active: active}
	for _, n := range versions {
		d.Versions = append(d.Versions, registry.DeclaredVersion{ID: "v" + string(rune('0'+n)), Body: body(n)})
	}
	return []registry.Declared{d}
}

func TestDeclaringTheSameAgainChangesNothing(t *testing.T) {
	r := open(t, newTestStore(t))
	must(t)(r.Declare(background, declare("pay", "v1", 1, 2)))
	expect(t, r, pointers{Active: "v1"})
	before := r.Snapshot()
	if res := must(t)(r.Declare(background, declare("pay", "v1", 1, 2))); !res.Unchanged || r.Snapshot() != before {
		t.Errorf("unchanged is %v", res.Unchanged)
	}
}

func TestARuntimeActivationHoldsUntilTheDeclaredActiveVersionChanges(t *testing.T) {
	r := open(t, newTestStore(t))
	must(t)(r.Declare(background, declare("pay", "v2", 1, 2)))
	must(t)(r.Activate(background, alice, "pay", "v1"))
	script := func() *registry.Script { return r.Snapshot().Script("pay") }
	if s := script(); !s.Override || s.DeclaredActive != "v2" {
		t.Errorf("the override is not visible: %+v", s)
	}
	must(t)(r.Declare(background, declare("pay", "v2", 1, 2)))
	expect(t, r, pointers{Active: "v1", Previous: "v2"})
	must(t)(r.Declare(background, declare("pay", "v3", 1, 2, 3)))
	expect(t, r, pointers{Active: "v3", Previous: "v1"})
	if script().Override {
		t.Error("the override did not end")
	}
	must(t)(r.Rollback(background, alice, "pay", ""))
	must(t)(r.Activate(background, alice, "pay", "v3"))
	if script().Override {
		t.Error("activating the declared version again is no override")
	}
}

func TestTheLastDeclaredVersionIsActiveUnlessOneIsNamed(t *testing.T) {
	r := open(t, newTestStore(t))
	must(t)(r.Declare(background, declare("pay", "", 1, 2)))
	expect(t, r, pointers{Active: "v2"})
}

func TestAVersionWithoutAnIDIsNamedByItsSHA(t *testing.T) {
	r := open(t, newTestStore(t))
	must(t)(r.Declare(background, []registry.Declared{{Name: "pay", Versions: []registry.DeclaredVersion{{Body: body(1)}}}}))
	expect(t, r, pointers{Active: registry.SHA(body(1))[:12]})
}

func TestWhatIsNotDeclaredAnyMoreIsForgottenUnlessItHasARole(t *testing.T) {
	r := open(t, newTestStore(t))
	must(t)(r.Declare(background, append(declare("pay", "v1", 1, 2), declare("gone", "v1", 1)...)))
	must(t)(r.Declare(background, declare("pay", "v3", 2, 3)))
	if r.Snapshot().Script("gone") != nil {
		t.Error("a script that is not declared any more is still there")
	}
	expect(t, r, pointers{Active: "v3", Previous: "v1"})
	must(t)(r.Declare(background, declare("pay", "v4", 4)))
	ids := ""
	for _, v := range r.Snapshot().Script("pay").Versions {
		ids += v.ID
	}
	if ids != "v3v4" {
		t.Errorf("versions are %s, want those which are active and previous", ids)
	}
}

func TestVersionsLoadedAtRuntimeOutliveTheDeclaration(t *testing.T) {
	r := open(t, newTestStore(t))
	must(t)(r.Declare(background, declare("pay", "v1", 1, 2)))
	must(t)(r.LoadVersion(background, alice, registry.Load{Name: "pay", Version: "hot", Body: body(9)}))
	must(t)(r.Activate(background, alice, "pay", "hot"))
	must(t)(r.Declare(background, nil))
	expect(t, r, pointers{Active: "hot", Previous: "v1"})
	s := r.Snapshot().Script("pay")
	if s.Override || s.DeclaredActive != "" || s.Version("v2") != nil {
		t.Errorf("the script still looks declared: %+v", s)
	}
}

func TestASharedStoreForgetsNothing(t *testing.T) {
	store := newTestStore(t)
	store.shared = true
	r := open(t, store)
	must(t)(r.Declare(background, declare("pay", "v1", 1, 2)))
	if res := must(t)(r.Declare(background, declare("refund", "v1", 3, 1))); len(res.Snapshot.Scripts) != 2 {
		t.Errorf("another proxy's script was forgotten: %d left", len(res.Snapshot.Scripts))
	}
}

func TestABadDeclarationChangesNothingAndNamesEveryMistake(t *testing.T) {
	r := open(t, newTestStore(t))
	must(t)(r.Declare(background, declare("pay", "v1", 1)))
	must(t)(r.LoadVersion(background, alice, registry.Load{Name: "lib", Kind: registry.KindFunction, Body: []byte("#!lua name=lib\n")}))
	bad := func(ds ...registry.Declared) func() (registry.Result, error) {
		return func() (registry.Result, error) { return r.Declare(background, ds) }
	}
	version := func(id string, b string) []registry.DeclaredVersion {
		return []registry.DeclaredVersion{{ID: id, Body: []byte(b)}}
	}
	refused[*registry.InvalidError](t, r, bad(
		registry.Declared{Name: "new", Versions: version("v1", "return 1")},
		registry.Declared{Name: "has space", Versions: version("v1", "return 1")},
		registry.Declared{Name: "empty"},
		registry.Declared{Name: "broken", Versions: version("v1", "syntax error")},
		registry.Declared{Name: "pointing", Active: "v7", Versions: version("v1", "return 1")},
		registry.Declared{Name: "big", Versions: version("v1", strings.Repeat("x", 10<<20))},
	), "has space", "script empty: no version", "script broken: v1 does not parse", `active version "v7"`, "big: the body of v1 has 10485760 bytes")
	refused[*registry.InvalidError](t, r, bad(registry.Declared{Name: "pay", Versions: version("v1", "return 2")}), "versions never change", "new version id")
	refused[*registry.InvalidError](t, r, bad(registry.Declared{Name: "pay", Versions: version("v2", string(body(1)))}), "the body of version v1")
	refused[*registry.InvalidError](t, r, bad(registry.Declared{Name: "lib", Versions: version("v2", "return 1")}), "holds a function of that name")
	refused[*registry.InvalidError](t, r, bad(declare("pay", "", 1)[0], declare("pay", "", 1)[0]), "declared twice")
}

func TestDeclaringARetiredVersionActiveIsRefused(t *testing.T) {
	r := open(t, newTestStore(t))
	must(t)(r.Declare(background, declare("pay", "v1", 1, 2)))
	must(t)(r.Retire(background, alice, "pay", "v2", ""))
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) { return r.Declare(background, declare("pay", "v2", 1, 2)) }, "has been retired")
}

func TestTheConfigurationMayChangeAVersionsClassAndPin(t *testing.T) {
	r := open(t, newTestStore(t))
	d := declare("pay", "v1", 1)
	must(t)(r.Declare(background, d))
	version := func() *registry.Version { return r.Snapshot().Script("pay").Version("v1") }
	if version().Class != registry.ClassRead {
		t.Fatalf("class is %v", version().Class)
	}
	d[0].Versions[0].Class, d[0].Versions[0].Pinned = registry.ClassWrite, true
	must(t)(r.Declare(background, d))
	if v := version(); v.Class != registry.ClassWrite || !v.Pinned {
		t.Errorf("class %v, pinned %v", v.Class, v.Pinned)
	}
	must(t)(r.Pin(background, alice, "pay", "v1", false))
	must(t)(r.Declare(background, d))
	if version().Pinned {
		t.Error("an unchanged declaration undid a runtime unpin")
	}
	d[0].Versions[0].Class = registry.ClassAuto
	must(t)(r.Declare(background, d))
	if v := version(); v.Class != registry.ClassRead {
		t.Errorf("class is %v after the configuration stopped saying it", v.Class)
	}
}

func TestWithoutTheStoreTheConfigurationIsServedAndSavedLater(t *testing.T) {
	store := newTestStore(t)
	store.shared = true
	store.away.Store(true)
	r := open(t, store)
	res := must(t)(r.Declare(background, declare("pay", "v2", 1, 2)))
	if !res.Snapshot.Detached || len(res.Warnings) != 1 {
		t.Errorf("the result does not say that nothing is saved: %+v", res)
	}
	expect(t, r, pointers{Active: "v2"})
	refused[*registry.UnavailableError](t, r, func() (registry.Result, error) { return r.Rollback(background, alice, "pay", "v1") },
		"connection refused", "nothing was changed", "served as before")

	// Meanwhile the fleet knew the script, and had rolled it back.
	other := open(t, &testStore{Store: store.Store, shared: true})
	must(t)(other.Declare(background, declare("pay", "v2", 1, 2)))
	must(t)(other.Activate(background, bob, "pay", "v1"))

	seen := make(chan *registry.Snapshot, 100)
	defer r.Subscribe(func(s *registry.Snapshot) { seen <- s })()
	store.away.Store(false)
	if _, err := r.Sync(background); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return !r.Snapshot().Detached })
	expect(t, r, pointers{Active: "v1", Previous: "v2"})
	for len(seen) > 0 {
		if (<-seen).Script("pay") == nil {
			t.Error("the script was gone for a moment")
		}
	}
}

func TestWithoutTheStoreANewScriptStaysServedUntilItIsSaved(t *testing.T) {
	store := newTestStore(t)
	store.shared = true
	store.away.Store(true)
	r := open(t, store)
	must(t)(r.Declare(background, declare("pay", "v1", 1)))
	seen := make(chan *registry.Snapshot, 100)
	defer r.Subscribe(func(s *registry.Snapshot) { seen <- s })()
	store.away.Store(false)
	if _, err := r.Sync(background); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		s, _ := store.Store.Load(background)
		return s.Script("pay") != nil && !r.Snapshot().Detached
	})
	for len(seen) > 0 {
		if (<-seen).Script("pay") == nil {
			t.Error("the script was gone for a moment")
		}
	}
}

func TestAReloadWithoutTheStoreIsServed(t *testing.T) {
	store := newTestStore(t)
	r := open(t, store)
	must(t)(r.Declare(background, declare("pay", "v1", 1)))
	store.away.Store(true)
	must(t)(r.Declare(background, declare("pay", "v2", 1, 2)))
	expect(t, r, pointers{Active: "v2", Previous: "v1"})
	must(t)(r.Declare(background, declare("pay", "v3", 1, 2, 3)))
	expect(t, r, pointers{Active: "v3", Previous: "v1"})
	store.away.Store(false)
	must(t)(r.Declare(background, declare("pay", "v2", 1, 2)))
	expect(t, r, pointers{Active: "v2", Previous: "v1"})
	if r.Snapshot().Detached {
		t.Error("still detached after a Declare that was saved")
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("did not happen within 10 s")
		}
	}
}
