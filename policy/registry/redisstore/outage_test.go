package redisstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/redisstore"
)

func TestAFleetServesOnWithoutItsStoreAndConvergesWhenItIsBack(t *testing.T) {
	s := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
	a, b := s.open("p1", quick), s.open("p2", quick)
	seed(t, a)
	waitFor(t, "p2 has it", func() bool { return active(b) == "v1" })
	s.kill()
	_, err := a.Activate(background, alice, "pay", "v2")
	var away *registry.UnavailableError
	if !errors.As(err, &away) || away.MayHaveSaved || !strings.Contains(err.Error(), "served as before") {
		t.Errorf("got %v", err)
	}
	if active(a) != "v1" || active(b) != "v1" {
		t.Error("what was served is gone")
	}
	waitFor(t, "p2 notices", func() bool { return b.Health().Away })
	s.start()
	waitFor(t, "p1 is back", func() bool { return !a.Health().Away })
	activate(t, a, "v3")
	waitFor(t, "p2 converges", func() bool { return active(b) == "v3" && !b.Health().Away })
	if err := same(a.Snapshot(), b.Snapshot()); err != nil {
		t.Error(err)
	}
}

func TestAStoreThatComesBackEmptyIsFilledAgain(t *testing.T) {
	s := startServer(t)
	a, b := s.open("p1", quick), s.open("p2", quick)
	seed(t, a)
	activate(t, a, "v2")
	known := a.Snapshot().Revision
	waitFor(t, "p2 has it", func() bool { return active(b) == "v2" })
	s.kill()
	s.start()
	waitFor(t, "both have restored it", func() bool {
		return a.Snapshot().Revision > known && b.Snapshot().Revision == a.Snapshot().Revision && same(a.Snapshot(), b.Snapshot()) == nil
	})
	if active(a) != "v2" || a.Snapshot().Revision != known+1 {
		t.Errorf("%s is active at revision %d; it was %d", active(a), a.Snapshot().Revision, known)
	}
	if err := same(s.open("p3").Snapshot(), a.Snapshot()); err != nil {
		t.Error(err)
	}
	changes, err := a.Audit(background, 10)
	if err != nil || len(changes) != 1 || changes[0].Action != registry.ActionRestore {
		t.Errorf("audit is %+v, %v", changes, err)
	}
}

func TestAProxyThatStartsWithoutTheStoreUsesItsCopy(t *testing.T) {
	s := startServer(t, "--appendonly", "yes")
	copied := filepath.Join(t.TempDir(), "copy")
	cached := func(o *redisstore.Options) { quick(o); o.Cache = copied }
	r, err := s.tryOpen("p1", cached)
	if err != nil {
		t.Fatal(err)
	}
	seed(t, r)
	activate(t, r, "v2")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	s.kill()
	r = s.open("p1", cached)
	if active(r) != "v2" {
		t.Fatalf("%s is active", active(r))
	}
	other := s.open("p1", cached, func(o *redisstore.Options) { o.Namespace = "other" })
	if len(other.Snapshot().Scripts) != 0 {
		t.Error("the copy of another namespace is used")
	}
	s.start()
	waitFor(t, "p1 is back", func() bool { return !r.Health().Away })
	activate(t, r, "v3")
}

// A killed server leaves what it had acknowledged, and of the change in flight all or nothing.
func TestAKilledStoreIsNeverLeftWithHalfAChange(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	s := startServer(t, "--appendonly", "yes", "--appendfsync", "always", "--aof-load-truncated", "yes")
	writer := s.open("writer", quick)
	seed(t, writer)
	acked, lostAnswers, saved := writer.Snapshot().Revision, 0, 0
	for round := range rounds {
		stop := time.After(time.Duration(rand.IntN(30_000)) * time.Microsecond)
		killed := make(chan struct{})
		go func() {
			<-stop
			_ = s.cmd.Process.Kill()
			close(killed)
		}()
		var failed *registry.UnavailableError
		for n := 0; failed == nil; n++ {
			res, err := changeSomething(writer, round, n)
			if err == nil {
				acked = res.Snapshot.Revision
			} else if !errors.As(err, &failed) {
				t.Fatal(err)
			}
		}
		<-killed
		s.kill()
		s.start()
		checkWhole(t, s, acked, failed.MayHaveSaved)
		if failed.MayHaveSaved {
			lostAnswers++
		}
		waitFor(t, "the writer is back", func() bool { _, err := writer.Sync(background); return err == nil })
		if now := writer.Snapshot().Revision; now > acked {
			saved++
			acked = now
		}
	}
	t.Logf("%d kills, revision %d; %d answers were lost, and %d of those changes had been saved", rounds, acked, lostAnswers, saved)
}

// changeSomething loads versions, and removes a script before it gets large.
func changeSomething(r *registry.Registry, round, n int) (registry.Result, error) {
	name := fmt.Sprint("script", n%3)
	if s := r.Snapshot().Script(name); s != nil && len(s.Versions) > 20 {
		return r.Remove(background, alice, name, "")
	}
	return r.LoadVersion(background, alice, registry.Load{Name: name, Body: body(round*100_000 + n)})
}

// checkWhole reads the server's state past the store, and through it.
func checkWhole(t *testing.T, s *server, acked uint64, mayHaveSaved bool) {
	t.Helper()
	store, err := redisstore.Open(redisstore.Options{Redis: redis.UniversalOptions{Addrs: []string{s.addr}}, Namespace: "test", Instance: "checker"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	snapshot, err := store.Load(background)
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshot.Validate(); err != nil {
		t.Fatal(err)
	}
	if snapshot.Revision != acked && (snapshot.Revision != acked+1 || !mayHaveSaved) {
		t.Fatalf("the store is at %d after %d was acknowledged (answer lost: %v)", snapshot.Revision, acked, mayHaveSaved)
	}
	changes, err := store.Audit(background, 1)
	if err != nil || len(changes) != 1 || changes[0].Revision != snapshot.Revision {
		t.Fatalf("the store is at %d and its audit log at %+v (%v)", snapshot.Revision, changes, err)
	}
	script := snapshot.Script(changes[0].Name)
	switch c := changes[0]; {
	case c.Action == registry.ActionLoad && (script == nil || script.Revision != c.Revision || script.Version(c.To) == nil):
		t.Fatalf("the audit log says %+v, and the script is %+v", c, script)
	case c.Action == registry.ActionRemove && script != nil:
		t.Fatalf("the audit log says %+v, and the script is there", c)
	}
	newest := s.do("ZREVRANGE", "{test}:changed", 0, 0, "WITHSCORES").([]any)
	if len(newest) != 2 || newest[1] != fmt.Sprint(snapshot.Revision) {
		t.Fatalf("the store is at %d and its set of changes at %v", snapshot.Revision, newest)
	}
}

// A commit whose answer is lost is sent again, and must then not be taken for somebody else's.
func TestACommitWhoseAnswerIsLostHappensOnce(t *testing.T) {
	s := startServer(t)
	gate := newGate(t, s.addr)
	r := s.open("p1", func(o *redisstore.Options) {
		o.Redis.Addrs = []string{gate.addr}
		o.Poll = time.Hour
		o.Heartbeat = time.Hour
	})
	seed(t, r)
	before := r.Snapshot().Revision
	for _, version := range []string{"v2", "v3", "v1"} {
		gate.loseAnswersTo("{test}:announce")
		res := activate(t, r, version)
		if !gate.lost() {
			t.Fatal("no answer was lost: the test tests nothing")
		}
		before++
		if res.Snapshot.Revision != before {
			t.Errorf("revision %d, want %d", res.Snapshot.Revision, before)
		}
	}
	if n := s.do("XLEN", "{test}:audit").(int64); n != int64(before) {
		t.Errorf("%d audit entries for %d revisions", n, before)
	}
}
