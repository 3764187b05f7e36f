package filestore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/filestore"
)

var (
	background = context.Background()
	alice      = registry.Op{Who: "alice"}
)

func openStore(t *testing.T, path string) *filestore.Store {
	t.Helper()
	store, err := filestore.Open(filestore.Options{Path: path, LockWait: -1, Instance: "p1", Audit: 5})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func openRegistry(t *testing.T, path string) *registry.Registry {
	t.Helper()
	r, err := registry.New(background, registry.Options{Store: openStore(t, path)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func seed(t *testing.T, r *registry.Registry) {
	t.Helper()
	for _, body := range []string{"return 1", "return 2"} {
		if _, err := r.LoadVersion(background, alice, registry.Load{Name: "pay", Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	activate(t, r, "v1")
}

func activate(t *testing.T, r *registry.Registry, version string) {
	t.Helper()
	if _, err := r.Activate(background, alice, "pay", version); err != nil {
		t.Fatal(err)
	}
}

func closeAll(t *testing.T, closers ...interface{ Close() error }) {
	t.Helper()
	for _, c := range closers {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestARestartFindsTheRuntimeChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "state")
	r := openRegistry(t, path)
	seed(t, r)
	activate(t, r, "v2")
	before := r.Snapshot()
	closeAll(t, r)

	r = openRegistry(t, path)
	defer closeAll(t, r)
	s := r.Snapshot()
	if s.Revision != before.Revision || s.Token != before.Token || s.Script("pay").Active != "v2" || string(s.Script("pay").Version("v1").Body) != "return 1" {
		t.Errorf("the state after a restart is %+v", s)
	}
	changes, err := r.Audit(background, 2)
	if err != nil || len(changes) != 2 || changes[0].To != "v2" || changes[1].To != "v1" {
		t.Errorf("the audit log after a restart is %+v, %v", changes, err)
	}
}

func TestTheAuditLogIsBounded(t *testing.T) {
	r := openRegistry(t, filepath.Join(t.TempDir(), "state"))
	defer closeAll(t, r)
	seed(t, r)
	for range 4 {
		activate(t, r, "v2")
		activate(t, r, "v1")
	}
	changes, err := r.Audit(background, 100)
	if err != nil || len(changes) != 5 || changes[0].Revision != r.Snapshot().Revision {
		t.Errorf("%d entries, the newest %+v, error %v", len(changes), changes[0], err)
	}
}

func TestTwoProxiesDoNotShareAStateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	store := openStore(t, path)
	_, err := filestore.Open(filestore.Options{Path: path, LockWait: -1})
	if err == nil || !strings.Contains(err.Error(), "in use by the process") {
		t.Errorf("got %v", err)
	}
	closeAll(t, store)
	closeAll(t, openStore(t, path))
}

func TestASuccessorWaitsForItsPredecessorToEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	first := openStore(t, path)
	go func() {
		time.Sleep(50 * time.Millisecond)
		_ = first.Close()
	}()
	second, err := filestore.Open(filestore.Options{Path: path, LockWait: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	closeAll(t, second)
}

func TestADamagedStateFileIsRefusedAndLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	r := openRegistry(t, path)
	seed(t, r)
	closeAll(t, r)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string]string{
		"torn":            string(whole[:len(whole)/2]),
		"edited":          strings.Replace(string(whole), `"v1"`, `"v2"`, 1),
		"not a state":     "hello\n",
		"it is empty":     "",
		"another release": strings.Replace(string(whole), "state 1", "state 9", 1),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := filestore.Open(filestore.Options{Path: path})
		var refused *registry.StoreError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "backup") {
			t.Errorf("%s: got %v", what, err)
		}
		if now, _ := os.ReadFile(path); string(now) != content {
			t.Errorf("%s: the file was changed", what)
		}
	}
}

func TestADiskThatRefusesChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	r := openRegistry(t, path)
	defer closeAll(t, r)
	seed(t, r)
	before, _ := os.ReadFile(path)
	if err := os.Mkdir(path+".tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	snapshot := r.Snapshot()
	_, err := r.Activate(background, alice, "pay", "v2")
	var away *registry.UnavailableError
	if !errors.As(err, &away) || r.Snapshot() != snapshot || !r.Health().Away {
		t.Errorf("got %v; health %+v", err, r.Health())
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the file changed")
	}
	if err := os.Remove(path + ".tmp"); err != nil {
		t.Fatal(err)
	}
	activate(t, r, "v2")
	if r.Health().Away {
		t.Error("still unhealthy")
	}
}

func TestWithoutAPathNothingIsWritten(t *testing.T) {
	t.Chdir(t.TempDir())
	r := openRegistry(t, "")
	seed(t, r)
	closeAll(t, r)
	if entries, _ := os.ReadDir("."); len(entries) > 0 {
		t.Errorf("left %v", entries)
	}
}
