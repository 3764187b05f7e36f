package registry_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/filestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var background = context.Background()

// testStore is a store in memory with faults.
type testStore struct {
	*filestore.Store
	shared       bool
	away         atomic.Bool
	beforeCommit func()
	failedOver   atomic.Pointer[filestore.Store] // answers instead, once it is set
}

func newTestStore(t *testing.T) *testStore {
	t.Helper()
	store, err := filestore.Open(filestore.Options{Instance: "p1"})
	if err != nil {
		t.Fatal(err)
	}
	return &testStore{Store: store}
}

func (s *testStore) Shared() bool { return s.shared }

func (s *testStore) Load(ctx context.Context) (*registry.Snapshot, error) {
	if s.away.Load() {
		return nil, &registry.UnavailableError{Store: "test", Err: errors.New("connection refused")}
	}
	return s.answering().Load(ctx)
}

func (s *testStore) answering() *filestore.Store {
	if other := s.failedOver.Load(); other != nil {
		return other
	}
	return s.Store
}

func (s *testStore) Audit(ctx context.Context, limit int) ([]registry.Change, error) {
	return s.answering().Audit(ctx, limit)
}

func (s *testStore) Commit(ctx context.Context, base, next *registry.Snapshot, changes []registry.Change) error {
	if s.away.Load() {
		return &registry.UnavailableError{Store: "test", Err: errors.New("connection refused")}
	}
	if hook := s.beforeCommit; hook != nil {
		s.beforeCommit = nil
		hook()
	}
	return s.answering().Commit(ctx, base, next, changes)
}

var (
	keyIndex = regexp.MustCompile(`KEYS\[(\d+)\]`)
	argIndex = regexp.MustCompile(`ARGV\[(\d+)\]`)
	library  = regexp.MustCompile(`^#!lua name=(\w+)`)
	function = regexp.MustCompile(`register_function\('(\w+)'`)
)

// analyse understands just enough for these tests.
func analyse(kind registry.Kind, body []byte) (registry.Analysis, error) {
	text := string(body)
	if strings.Contains(text, "syntax error") {
		return registry.Analysis{}, errors.New("line 1: unexpected symbol near 'error'")
	}
	a := registry.Analysis{Class: registry.ClassRead}
	if strings.Contains(text, "SET") {
		a.Class = registry.ClassWrite
	}
	highest := func(r *regexp.Regexp) (n int) {
		for _, m := range r.FindAllStringSubmatch(text, -1) {
			i, _ := strconv.Atoi(m[1])
			n = max(n, i)
		}
		return n
	}
	a.Contract = registry.Contract{MinKeys: highest(keyIndex), MinArgs: highest(argIndex)}
	if m := library.FindStringSubmatch(text); m != nil {
		a.Library = m[1]
	}
	for _, m := range function.FindAllStringSubmatch(text, -1) {
		a.Functions = append(a.Functions, m[1])
	}
	return a, nil
}

func open(t *testing.T, store registry.Store, change ...func(*registry.Options)) *registry.Registry {
	t.Helper()
	var tick atomic.Int64
	o := registry.Options{Store: store, Analyse: analyse, Instance: "p1",
		Clock: func() time.Time { return time.Unix(1_700_000_000+tick.Add(1), 0) }}
	for _, c := range change {
		c(&o)
	}
	r, err := registry.New(background, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func body(n int) []byte { return fmt.Appendf(nil, "return redis.call('GET', KEYS[1]) -- %d", n) }

// withVersions opens a registry with the script "pay" and versions v1 to vn, the first active.
func withVersions(t *testing.T, n int, change ...func(*registry.Options)) *registry.Registry {
	t.Helper()
	r := open(t, newTestStore(t), change...)
	for i := range n {
		must(t)(r.LoadVersion(background, alice, registry.Load{Name: "pay", Body: body(i + 1)}))
	}
	must(t)(r.Activate(background, alice, "pay", "v1"))
	return r
}

var (
	alice = registry.Op{Who: "alice", Why: "a test"}
	bob   = registry.Op{Who: "bob"}
)

func must(t *testing.T) func(registry.Result, error) registry.Result {
	return func(res registry.Result, err error) registry.Result {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
}

// refused asserts that the error is an E, that its text contains every part, and that the
// registry is as it was.
func refused[E error](t *testing.T, r *registry.Registry, do func() (registry.Result, error), parts ...string) E {
	t.Helper()
	before := r.Snapshot()
	_, err := do()
	var typed E
	if !errors.As(err, &typed) {
		t.Fatalf("got error %v (%T), want a %T", err, err, typed)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	if r.Snapshot() != before {
		t.Error("a refused operation changed the registry")
	}
	return typed
}

type pointers struct{ Active, Previous, Canary string }

func at(t *testing.T, r *registry.Registry, name string) pointers {
	t.Helper()
	s := r.Snapshot().Script(name)
	if s == nil {
		t.Fatalf("script %s is gone", name)
	}
	p := pointers{Active: s.Active, Previous: s.Previous}
	if s.Canary != nil {
		p.Canary = s.Canary.Version
	}
	return p
}

func expect(t *testing.T, r *registry.Registry, want pointers) {
	t.Helper()
	if got := at(t, r, "pay"); got != want {
		t.Fatalf("pointers are %+v, want %+v", got, want)
	}
}
