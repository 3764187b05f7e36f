package registry_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

func TestLoadAddsAVersionThatNothingRunsYet(t *testing.T) {
	r := open(t, newTestStore(t))
	res := must(t)(r.LoadVersion(background, alice, registry.Load{Name: "pay", Body: body(1), Tags: []string{"money"}, Pinned: true}))
	s := res.Snapshot.Script("pay")
	v := s.Version("v1")
	if s.Active != "" || s.Tags[0] != "money" || !v.Pinned || v.SHA != registry.SHA(body(1)) || v.CreatedBy != "alice" || v.Contract.MinKeys != 1 || v.Class != registry.ClassRead {
		t.Errorf("script %+v, version %+v", s, v)
	}
	if script, version, shared := res.Snapshot.BySHA(v.SHA); script != s || version != v || shared {
		t.Error("the version can't be found by its sha")
	}
}

func TestLoadingTheSameBodyAgainChangesNothing(t *testing.T) {
	r := withVersions(t, 2)
	for _, id := range []string{"", "v2"} {
		if res := must(t)(r.LoadVersion(background, alice, registry.Load{Name: "pay", Version: id, Body: body(2)})); !res.Unchanged {
			t.Errorf("id %q: the registry changed", id)
		}
	}
}

func TestBadLoadsAreRefused(t *testing.T) {
	r := withVersions(t, 2)
	load := func(l registry.Load) func() (registry.Result, error) {
		return func() (registry.Result, error) { return r.LoadVersion(background, alice, l) }
	}
	for _, c := range []struct {
		load registry.Load
		say  string
	}{
		{registry.Load{Name: "pay", Version: "v2", Body: body(3)}, "version v2 exists with another body"},
		{registry.Load{Name: "pay", Version: "v3", Body: body(2)}, "this body is version v2 already"},
		{registry.Load{Name: "pay", Body: []byte("syntax error")}, "does not parse: line 1"},
		{registry.Load{Name: "pay", Body: make([]byte, 10<<20)}, "has 10485760 bytes; at most 1048576 are allowed"},
		{registry.Load{Name: "pay"}, "is empty"},
		{registry.Load{Name: "pay", Kind: registry.KindFunction, Body: body(5)}, "another name"},
		{registry.Load{Name: "other", Kind: registry.KindFunction, Body: []byte("#!lua name=mylib\n")}, `calls itself "mylib"`},
		{registry.Load{Name: "pay", Version: "a@b", Body: body(5)}, "not allowed"},
		{registry.Load{Name: "pay", Version: "a/b", Body: body(5)}, "slash"},
		{registry.Load{Name: "pay", Class: 9, Body: body(5)}, "unknown class"},
	} {
		refused[*registry.InvalidError](t, r, load(c.load), c.say)
	}
}

func TestNames(t *testing.T) {
	for _, good := range []string{"a", "pay", "_x", "0", "billing/pay.v2:eu-west", strings.Repeat("a", 128), strings.Repeat("a", 39), strings.Repeat("g", 40)} {
		if err := registry.ValidateName(good); err != nil {
			t.Errorf("%q is refused: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a@v1", "a b", "a\n", "a\x00b", "é", "-a", ".a", "/a", "a/", "a//b", "a/../b", "a/.", "!revision", "a*", strings.Repeat("a", 129),
		strings.Repeat("0123456789", 4), strings.Repeat("ABCDEF0123", 4)} {
		if registry.ValidateName(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestAScriptHoldsABoundedNumberOfVersions(t *testing.T) {
	r := withVersions(t, 3, func(o *registry.Options) { o.MaxVersions = 3 })
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) {
		return r.LoadVersion(background, alice, registry.Load{Name: "pay", Body: body(4)})
	}, "more than 3 versions")
	must(t)(r.Remove(background, alice, "pay", "v2"))
	res := must(t)(r.LoadVersion(background, alice, registry.Load{Name: "pay", Body: body(4)}))
	if res.Change.To != "v4" {
		t.Errorf("the id of a removed version is used again: %+v", res.Change)
	}
}

func TestABodyUnderTwoNamesBelongsToNeitherBySHA(t *testing.T) {
	r := withVersions(t, 2)
	res := must(t)(r.LoadVersion(background, alice, registry.Load{Name: "aaa", Body: body(2)}))
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "script pay has this body too") {
		t.Errorf("warnings are %q", res.Warnings)
	}
	sha := registry.SHA(body(2))
	script, version, shared := r.Snapshot().BySHA(sha)
	if script.Name != "aaa" || version.ID != "v1" || !shared {
		t.Errorf("got %s %s shared=%v, want the first by name, shared", script.Name, version.ID, shared)
	}
	must(t)(r.Retire(background, alice, "aaa", "v1", registry.AnswerDenied))
	if script, _, shared = r.Snapshot().BySHA(sha); script.Name != "pay" || !shared {
		t.Errorf("a retired version hides one that is in use")
	}
	if script, _, shared := r.Snapshot().BySHA(registry.SHA(body(1))); script.Name != "pay" || shared {
		t.Errorf("a body under one name is shared=%v", shared)
	}
	if script, version, shared := r.Snapshot().BySHA(registry.SHA(body(77))); script != nil || version != nil || shared {
		t.Error("an unknown sha was found")
	}
}

func TestOfTwoOperatorsAtOnceOneGetsAConflictAndTheCurrentState(t *testing.T) {
	store := newTestStore(t)
	r := open(t, store)
	must(t)(r.Declare(background, declare("pay", "v1", 1, 2, 3)))
	asked := r.Snapshot().Revision
	store.beforeCommit = func() { must(t)(r.Activate(background, bob, "pay", "v3")) }
	_, err := r.Activate(background, alice, "pay", "v2")
	var conflict *registry.ConflictError
	if !errors.As(err, &conflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
	if conflict.Asked != asked || conflict.Revision != asked+1 || conflict.Current.Script("pay").Active != "v3" {
		t.Errorf("the conflict does not carry the current state: %+v", conflict)
	}
	for _, part := range []string{"by bob", "its active version is now v3", "nothing was changed"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	expect(t, r, pointers{Active: "v3", Previous: "v1"})
}

func TestAChangeOfAnotherScriptIsNoConflict(t *testing.T) {
	store := newTestStore(t)
	r := open(t, store)
	must(t)(r.Declare(background, append(declare("pay", "v1", 1, 2), declare("refund", "v3", 3, 4)...)))
	op := alice
	op.IfRevision = r.Snapshot().Revision
	store.beforeCommit = func() { must(t)(r.Activate(background, bob, "refund", "v4")) }
	must(t)(r.Activate(background, op, "pay", "v2"))
	if s := r.Snapshot(); s.Script("pay").Active != "v2" || s.Script("refund").Active != "v4" {
		t.Error("one of two changes is lost")
	}
}

func TestIfRevisionRefusesWhatWasChangedSince(t *testing.T) {
	r := withVersions(t, 3)
	op := alice
	op.IfRevision = r.Snapshot().Revision
	must(t)(r.Activate(background, bob, "pay", "v2"))
	refused[*registry.ConflictError](t, r, func() (registry.Result, error) { return r.Activate(background, op, "pay", "v3") }, "by bob")
	op.IfRevision = 1_000
	refused[*registry.ConflictError](t, r, func() (registry.Result, error) { return r.Activate(background, op, "pay", "v3") }, "only at")
	op.IfRevision = r.Snapshot().Revision
	must(t)(r.Activate(background, op, "pay", "v3"))
}

func TestConcurrentOperationsOnManyScriptsLoseNothing(t *testing.T) {
	r := open(t, newTestStore(t))
	const scripts, rounds = 8, 20
	for i := range scripts {
		for n := range 2 {
			must(t)(r.LoadVersion(background, alice, registry.Load{Name: fmt.Sprint("s", i), Body: body(i*2 + n)}))
		}
	}
	before := r.Snapshot().Revision
	var wait sync.WaitGroup
	for i := range scripts {
		wait.Go(func() {
			for n := range rounds {
				if _, err := r.Activate(background, alice, fmt.Sprint("s", i), fmt.Sprint("v", n%2+1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if got := r.Snapshot().Revision - before; got != scripts*rounds {
		t.Errorf("%d commits, want %d", got, scripts*rounds)
	}
	changes, err := r.Audit(background, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range changes {
		if c.Revision != r.Snapshot().Revision-uint64(i) {
			t.Fatalf("entry %d of the audit log is of revision %d", i, c.Revision)
		}
	}
}

func TestSubscribersHaveSeenAChangeWhenItsOperationReturns(t *testing.T) {
	r := withVersions(t, 2)
	var seen []uint64
	var active string
	cancel := r.Subscribe(func(s *registry.Snapshot) { seen, active = append(seen, s.Revision), s.Script("pay").Active })
	if len(seen) != 1 || active != "v1" {
		t.Fatalf("a new subscriber is not told the current state: %v", seen)
	}
	must(t)(r.Activate(background, alice, "pay", "v2"))
	if active != "v2" || len(seen) != 2 {
		t.Errorf("Activate returned before its subscriber was told")
	}
	cancel()
	must(t)(r.Activate(background, alice, "pay", "v1"))
	if active != "v2" {
		t.Error("a cancelled subscription was called")
	}
}

func TestSnapshotsNeverChange(t *testing.T) {
	r := withVersions(t, 2)
	before := r.Snapshot()
	script, version := *before.Script("pay"), *before.Script("pay").Version("v2")
	must(t)(r.Activate(background, alice, "pay", "v2"))
	must(t)(r.Pin(background, alice, "pay", "v2", true))
	must(t)(r.Retire(background, alice, "pay", "v1", ""))
	if s := before.Script("pay"); s.Active != script.Active || s.Revision != script.Revision || s.Version("v2").Pinned != version.Pinned || s.Version("v1").Retired {
		t.Error("an old snapshot changed")
	}
}

func TestRetire(t *testing.T) {
	r := withVersions(t, 3)
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) { return r.Retire(background, alice, "pay", "v1", "") }, "v1 is the active version", "with force")
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) { return r.Retire(background, alice, "pay", "", "") }, "with force")
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) { return r.Retire(background, alice, "pay", "v2", "gone") }, `not "gone"`)
	must(t)(r.SetCanary(background, alice, "pay", "v3", 5, ""))
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) { return r.Retire(background, alice, "pay", "v3", "") }, "abort it first")
	must(t)(r.Abort(background, alice, "pay"))
	must(t)(r.Retire(background, alice, "pay", "v2", registry.AnswerDenied))
	if v := r.Snapshot().Script("pay").Version("v2"); !v.Retired || v.RetiredAnswer != registry.AnswerDenied {
		t.Errorf("version is %+v", v)
	}
	for _, do := range []func() (registry.Result, error){
		func() (registry.Result, error) { return r.Activate(background, alice, "pay", "v2") },
		func() (registry.Result, error) { return r.Rollback(background, alice, "pay", "v2") },
	} {
		refused[*registry.InvalidError](t, r, do, "version v2 is retired", "unretire")
	}
	must(t)(r.Unretire(background, alice, "pay", "v2"))
	must(t)(r.Activate(background, alice, "pay", "v2"))
	forced := alice
	forced.Force = true
	if res := must(t)(r.Retire(background, forced, "pay", "", "")); !res.Change.Forced || !res.Snapshot.Script("pay").ActiveVersion().Retired {
		t.Errorf("the whole name is not retired: %+v", res.Change)
	}
}

func TestRemove(t *testing.T) {
	r := withVersions(t, 3)
	must(t)(r.Activate(background, alice, "pay", "v2"))
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) { return r.Remove(background, alice, "pay", "v2") }, "is the active version")
	must(t)(r.Remove(background, alice, "pay", "v1"))
	expect(t, r, pointers{Active: "v2"})
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) { return r.Remove(background, alice, "pay", "") }, "retire the script first")
	forced := alice
	forced.Force = true
	must(t)(r.Remove(background, forced, "pay", ""))
	if s := r.Snapshot(); s.Script("pay") != nil || len(s.Scripts) != 0 {
		t.Error("the script is still there")
	}
	changes, _ := r.Audit(background, 1)
	if c := changes[0]; c.Action != "remove" || c.Name != "pay" || !c.Forced {
		t.Errorf("the audit entry is %+v", c)
	}
}

func TestRemovingTheLastVersionRemovesTheScript(t *testing.T) {
	r := open(t, newTestStore(t))
	must(t)(r.LoadVersion(background, alice, registry.Load{Name: "pay", Body: body(1)}))
	must(t)(r.Remove(background, alice, "pay", "v1"))
	if r.Snapshot().Script("pay") != nil {
		t.Error("a script without versions is left")
	}
}

func TestTags(t *testing.T) {
	r := withVersions(t, 1)
	must(t)(r.Tag(background, alice, "pay", []string{"money", "eu", "money"}))
	if got := strings.Join(r.Snapshot().Script("pay").Tags, " "); got != "eu money" {
		t.Errorf("tags are %q", got)
	}
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) {
		return r.Tag(background, alice, "pay", []string{"a b"})
	}, "tag")
}

func TestFunctionsOfALibraryBelongToItsContract(t *testing.T) {
	r := open(t, newTestStore(t))
	for _, b := range []string{"#!lua name=mylib\nredis.register_function('f', f) redis.register_function('g', g)", "#!lua name=mylib\nredis.register_function('f', f)"} {
		must(t)(r.LoadVersion(background, alice, registry.Load{Name: "mylib", Kind: registry.KindFunction, Body: []byte(b)}))
	}
	must(t)(r.Activate(background, alice, "mylib", "v1"))
	refused[*registry.ContractError](t, r, func() (registry.Result, error) { return r.Activate(background, alice, "mylib", "v2") }, "no longer registered: g")
	forced := alice
	forced.Force = true
	refused[*registry.InvalidError](t, r, func() (registry.Result, error) { return r.SetCanary(background, forced, "mylib", "v2", 5, "") }, "lacks functions")
}

func TestAStoreThatLostCommitsGetsThemBack(t *testing.T) {
	store := newTestStore(t)
	r := open(t, store)
	must(t)(r.Declare(background, declare("pay", "v1", 1, 2)))
	old, _ := store.Store.Load(background)
	must(t)(r.Activate(background, alice, "pay", "v2"))
	known := r.Snapshot()

	// The store fails over to a replica that had not heard of the activation.
	behind := newTestStore(t).Store
	if err := behind.Commit(background, registry.NewSnapshot(0, "", old.At, nil), old, nil); err != nil {
		t.Fatal(err)
	}
	store.failedOver.Store(behind)
	if _, err := r.Sync(background); err != nil {
		t.Fatal(err)
	}
	now, _ := behind.Load(background)
	if now.Revision != known.Revision+1 || now.Script("pay").Active != "v2" || r.Snapshot() != now {
		t.Errorf("the store is at %d with %s active; the registry was at %d", now.Revision, now.Script("pay").Active, known.Revision)
	}
	changes, _ := r.Audit(background, 1)
	if changes[0].Action != registry.ActionRestore {
		t.Errorf("the audit log does not tell: %+v", changes[0])
	}
}

func TestWaitRevision(t *testing.T) {
	r := withVersions(t, 1)
	fleet, err := r.WaitRevision(background, r.Snapshot().Revision)
	if err != nil || len(fleet) != 1 || fleet[0].ID != "p1" {
		t.Errorf("fleet %v, error %v", fleet, err)
	}
}
