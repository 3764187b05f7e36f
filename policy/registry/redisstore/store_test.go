package redisstore_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/redisstore"
)

func TestANewProxyFindsWhatOthersMade(t *testing.T) {
	s := startServer(t)
	first := s.open("p1")
	seed(t, first)
	activate(t, first, "v2")
	second := s.open("p2")
	if err := same(first.Snapshot(), second.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if !second.Snapshot().At.Equal(first.Snapshot().At) {
		t.Error("the time of the commit is lost")
	}
	changes, err := second.Audit(background, 2)
	if err != nil || len(changes) != 2 || changes[0].Action != "activate" || changes[0].From != "v1" || changes[0].To != "v2" || changes[0].Instance != "p1" {
		t.Errorf("audit is %+v, %v", changes, err)
	}
}

func TestAChangeReachesEveryProxy(t *testing.T) {
	s := startServer(t)
	var fleet []*registry.Registry
	for i := range 5 {
		// Only announcements can be as quick as this test is patient.
		fleet = append(fleet, s.open(fmt.Sprint("p", i), func(o *redisstore.Options) { o.Poll = time.Hour }))
	}
	waitFor(t, "that all subscribe", func() bool {
		return s.do("PUBSUB", "NUMSUB", "{test}:announce").([]any)[1].(int64) == 5
	})
	seed(t, fleet[0])
	for round, version := range []string{"v2", "v3", "v1", "v2"} {
		res := activate(t, fleet[round], version)
		for i, r := range fleet {
			waitFor(t, fmt.Sprintf("%s on p%d", version, i), func() bool { return active(r) == version })
			if err := same(r.Snapshot(), res.Snapshot); err != nil {
				t.Errorf("p%d: %v", i, err)
			}
		}
	}
}

func TestPollingFindsWhatIsNotAnnounced(t *testing.T) {
	s := startServer(t)
	s.do("ACL", "SETUSER", "deaf", "on", ">secret", "~*", "+@all", "resetchannels")
	first := s.open("p1")
	second := s.open("p2", func(o *redisstore.Options) { quick(o); o.Redis.Username, o.Redis.Password = "deaf", "secret" })
	seed(t, first)
	waitFor(t, "the change", func() bool { return active(second) == "v1" })
	if n := s.do("PUBSUB", "NUMSUB", "{test}:announce").([]any)[1].(int64); n != 1 {
		t.Errorf("%d proxies are subscribed, so that this test did not show polling", n)
	}
}

func TestOfTwoOperatorsAtOnceOneGetsAConflict(t *testing.T) {
	s := startServer(t)
	a, b := s.open("p1"), s.open("p2")
	seed(t, a)
	if _, err := b.Sync(background); err != nil {
		t.Fatal(err)
	}
	const rounds = 30
	wins := uint64(0)
	start := a.Snapshot().Revision
	for round := range rounds {
		op := alice
		op.IfRevision = a.Snapshot().Revision
		// Both leave the version that is active now, so that neither finds its wish fulfilled.
		versions := map[string][2]string{"v1": {"v2", "v3"}, "v2": {"v1", "v3"}, "v3": {"v1", "v2"}}[active(a)]
		var errs [2]error
		var wait sync.WaitGroup
		for i, r := range []*registry.Registry{a, b} {
			wait.Go(func() { _, errs[i] = r.Activate(background, op, "pay", versions[i]) })
		}
		wait.Wait()
		won := -1
		for i, err := range errs {
			var conflict *registry.ConflictError
			switch {
			case err == nil && won < 0:
				won = i
				wins++
			case err == nil:
				t.Fatalf("round %d: both succeeded", round)
			case !errors.As(err, &conflict):
				t.Fatalf("round %d: %v", round, err)
			case conflict.Current.Script("pay").Active != versions[1-i] || !strings.Contains(err.Error(), "by alice"):
				t.Errorf("round %d: the conflict does not carry the winner's state: %v", round, err)
			}
		}
		if won < 0 {
			t.Fatalf("round %d: nobody succeeded: %v", round, errs)
		}
		for _, r := range []*registry.Registry{a, b} {
			if _, err := r.Sync(background); err != nil {
				t.Fatal(err)
			}
			if active(r) != versions[won] {
				t.Fatalf("round %d: %s is active after %s won", round, active(r), versions[won])
			}
		}
	}
	if got := a.Snapshot().Revision - start; got != wins {
		t.Errorf("%d revisions for %d successes", got, wins)
	}
}

func TestOperatorsOnDifferentScriptsDoNotMeet(t *testing.T) {
	s := startServer(t)
	const proxies, rounds = 4, 15
	var wait sync.WaitGroup
	var fleet []*registry.Registry
	for i := range proxies {
		r := s.open(fmt.Sprint("p", i))
		fleet = append(fleet, r)
		wait.Go(func() {
			for n := range rounds {
				if _, err := r.LoadVersion(background, alice, registry.Load{Name: fmt.Sprint("script", i), Body: body(i*1000 + n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	for i, r := range fleet {
		snapshot, err := r.Sync(background)
		if err != nil {
			t.Fatal(err)
		}
		if snapshot.Revision != proxies*rounds {
			t.Errorf("p%d is at revision %d, want %d", i, snapshot.Revision, proxies*rounds)
		}
		for j := range proxies {
			if got := len(snapshot.Script(fmt.Sprint("script", j)).Versions); got != rounds {
				t.Errorf("p%d sees %d versions of script%d, want %d", i, got, j, rounds)
			}
		}
	}
}

func TestADeltaSaysTheSameAsEverything(t *testing.T) {
	s := startServer(t)
	writer, reader := s.open("p1"), s.open("p2")
	seed(t, writer)
	for n := range 6 {
		load(t, writer, fmt.Sprint("other", n), n)
	}
	check := func(what string) {
		t.Helper()
		got, err := reader.Sync(background)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		fresh := s.open("fresh" + what)
		if err := errors.Join(same(got, fresh.Snapshot()), same(got, writer.Snapshot())); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("many")
	activate(t, writer, "v3")
	check("one")
	for n := range 3 {
		if _, err := writer.Remove(background, registry.Op{Force: true}, fmt.Sprint("other", n), ""); err != nil {
			t.Fatal(err)
		}
	}
	load(t, writer, "other1", 77)
	check("removed")
	s.do("DEL", "{test}:changed")
	activate(t, writer, "v2")
	check("evicted")
	s.do("XTRIM", "{test}:audit", "MAXLEN", "0")
	activate(t, writer, "v1")
	check("trimmed")
}

func TestBodiesAreStoredOnceAndGoWithTheirLastVersion(t *testing.T) {
	s := startServer(t)
	r := s.open("p1")
	load(t, r, "a", 1)
	load(t, r, "b", 1)
	load(t, r, "b", 2)
	bodies := func() int64 { return s.do("HLEN", "{test}:bodies").(int64) }
	if bodies() != 2 {
		t.Errorf("%d bodies are stored, want 2", bodies())
	}
	for i, name := range []string{"a", "b"} {
		if _, err := r.Remove(background, registry.Op{Force: true}, name, ""); err != nil {
			t.Fatal(err)
		}
		if want := int64(2 - 2*i); bodies() != want {
			t.Errorf("%d bodies are left without %s, want %d", bodies(), name, want)
		}
	}
}

func TestNamespacesAreApart(t *testing.T) {
	s := startServer(t)
	a, b := s.open("p1"), s.open("p1", func(o *redisstore.Options) { o.Namespace = "other" })
	seed(t, a)
	if snapshot, err := b.Sync(background); err != nil || len(snapshot.Scripts) != 0 {
		t.Errorf("%d scripts, %v", len(snapshot.Scripts), err)
	}
	for _, key := range s.do("KEYS", "*").([]any) {
		if !strings.HasPrefix(key.(string), "{test}:") && !strings.HasPrefix(key.(string), "{other}:") {
			t.Errorf("key %q is outside of the namespaces", key)
		}
	}
	if _, err := redisstore.Open(redisstore.Options{Namespace: "a}b"}); err == nil {
		t.Error("a namespace with a brace is accepted")
	}
}

func TestTheAuditLogIsCapped(t *testing.T) {
	s := startServer(t, "--stream-node-max-entries", "10")
	r := s.open("p1", func(o *redisstore.Options) { o.Audit = 20 })
	seed(t, r)
	for range 30 {
		activate(t, r, "v2")
		activate(t, r, "v1")
	}
	if n := s.do("XLEN", "{test}:audit").(int64); n < 20 || n > 40 {
		t.Errorf("%d entries are kept", n)
	}
}

func TestWrongTypesAreRefusedAndNothingIsChanged(t *testing.T) {
	for _, key := range []string{"state", "bodies", "changed", "audit"} {
		t.Run(key, func(t *testing.T) {
			s := startServer(t)
			r := s.open("p1", quick)
			seed(t, r)
			full := "{test}:" + key
			s.do("SET", full, "mine")
			before := s.content()
			_, err := r.Activate(background, alice, "pay", "v2")
			var broken *registry.StoreError
			if !errors.As(err, &broken) || !strings.Contains(err.Error(), "key "+full+" is of type string") || !strings.Contains(err.Error(), "another namespace") {
				t.Errorf("got %v", err)
			}
			if _, err := s.tryOpen("p2"); !errors.As(err, &broken) {
				t.Errorf("a new proxy starts on it: %v", err)
			}
			if active(r) != "v1" {
				t.Errorf("%s is active", active(r))
			}
			if !maps.Equal(before, s.content()) {
				t.Error("the store changed")
			}
		})
	}
}

func TestAStateThatIsNotOursIsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		damage func(*server)
		say    string
	}{
		"a foreign hash":          {func(s *server) { s.do("DEL", "{test}:state"); s.do("HSET", "{test}:state", "a", "b") }, "did not write it"},
		"a revision of text":      {func(s *server) { s.do("HSET", "{test}:state", "!revision", "many") }, "no valid revision"},
		"another release's":       {func(s *server) { s.do("HSET", "{test}:state", "!format", "2") }, "another release"},
		"a manifest of garbage":   {func(s *server) { s.do("HSET", "{test}:state", "pay", "{") }, "can't be read"},
		"a manifest of another":   {func(s *server) { s.do("HSET", "{test}:state", "pay", `{"name":"x"}`) }, "under the name"},
		"a manifest of null":      {func(s *server) { s.do("HSET", "{test}:state", "pay", `{"name":"pay","versions":[null]}`) }, "is null"},
		"a manifest of nothing":   {func(s *server) { s.do("HSET", "{test}:state", "pay", `{"name":"pay","versions":[]}`) }, "has no versions"},
		"a body that is gone":     {func(s *server) { s.do("HDEL", "{test}:bodies", registry.SHA(body(1))) }, "not evicted"},
		"a body that was changed": {func(s *server) { s.do("HSET", "{test}:bodies", registry.SHA(body(1)), "return 'mine'") }, "its body has"},
	} {
		t.Run(what, func(t *testing.T) {
			s := startServer(t)
			r, err := s.tryOpen("p1")
			if err != nil {
				t.Fatal(err)
			}
			seed(t, r)
			// A proxy that runs might give the store back what the damage takes.
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			c.damage(s)
			_, err = s.tryOpen("p2")
			var broken *registry.StoreError
			if !errors.As(err, &broken) || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), s.addr) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAServerWithoutMemoryRefusesAChangeAsAWhole(t *testing.T) {
	s := startServer(t)
	r := s.open("p1", func(o *redisstore.Options) { o.Heartbeat = time.Hour })
	seed(t, r)
	before := s.content()
	s.do("CONFIG", "SET", "maxmemory", "1")
	_, err := r.Activate(background, alice, "pay", "v2")
	if err == nil || !strings.Contains(err.Error(), "OOM") || active(r) != "v1" {
		t.Errorf("got %v, with %s active", err, active(r))
	}
	s.do("CONFIG", "SET", "maxmemory", "0")
	if !maps.Equal(before, s.content()) {
		t.Error("the store changed")
	}
	activate(t, r, "v2")
}

func TestLostBodiesAreUploadedAgainWithTheNextChange(t *testing.T) {
	s := startServer(t)
	r := s.open("p1")
	seed(t, r)
	s.do("DEL", "{test}:bodies")
	activate(t, r, "v2")
	if err := same(s.open("p2").Snapshot(), r.Snapshot()); err != nil {
		t.Error(err)
	}
}

func TestAnUnreachableStoreAtTheStart(t *testing.T) {
	s := startServer(t)
	s.kill()
	r := s.open("p1", quick)
	if h := r.Health(); !h.Away || h.Error == "" {
		t.Errorf("health is %+v", h)
	}
	if _, err := r.Declare(background, []registry.Declared{{Name: "pay", Versions: []registry.DeclaredVersion{{ID: "v1", Body: body(1)}}}}); err != nil {
		t.Fatal(err)
	}
	if active(r) != "v1" || !r.Snapshot().Detached {
		t.Errorf("%s is active, detached %v", active(r), r.Snapshot().Detached)
	}
	s.start()
	waitFor(t, "the declaration is saved", func() bool { return !r.Snapshot().Detached && r.Snapshot().Revision == 1 })
	if err := same(s.open("p2").Snapshot(), r.Snapshot()); err != nil {
		t.Error(err)
	}
}
