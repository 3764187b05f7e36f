package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/redisstore"
)

func TestWaitRevisionReturnsWhenEveryProxyServesIt(t *testing.T) {
	s := startServer(t)
	var fleet []*registry.Registry
	for i := range 3 {
		fleet = append(fleet, s.open(fmt.Sprint("p", i)))
	}
	seed(t, fleet[0])
	res := activate(t, fleet[1], "v2")
	ctx, cancel := context.WithTimeout(background, 10*time.Second)
	defer cancel()
	instances, err := fleet[2].WaitRevision(ctx, res.Snapshot.Revision)
	if err != nil || len(instances) != 3 {
		t.Fatalf("%v, %v", instances, err)
	}
	for i, in := range instances {
		if in.ID != fmt.Sprint("p", i) || in.Address != in.ID+":6380" || in.Revision != res.Snapshot.Revision || in.Away || in.Started.IsZero() {
			t.Errorf("instance %+v", in)
		}
		if active(fleet[i]) != "v2" {
			t.Errorf("%s says that it serves revision %d, but %s is active", in.ID, in.Revision, active(fleet[i]))
		}
	}
}

func TestWaitRevisionNamesTheProxyThatIsBehind(t *testing.T) {
	s := startServer(t)
	r := s.open("p1", quick)
	seed(t, r)
	// A proxy that is alive and stuck, as its heartbeat tells.
	beat := `{"id":"stuck","address":"10.0.0.9:6379","revision":2,"every":60000000000}`
	s.do("HSET", "{test}:instances", "stuck", fmt.Sprint(time.Now().UnixMilli())+" "+beat)
	ctx, cancel := context.WithTimeout(background, 100*time.Millisecond)
	defer cancel()
	_, err := r.WaitRevision(ctx, r.Snapshot().Revision)
	var wait *registry.WaitError
	if !errors.As(err, &wait) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stuck (10.0.0.9:6379) at 2") {
		t.Errorf("got %v", err)
	}
}

func TestAProxyThatIsNotHeardOfIsAwayAndNotWaitedFor(t *testing.T) {
	s := startServer(t)
	r := s.open("p1", quick)
	seed(t, r)
	beat := `{"id":"dead","revision":1,"every":1000000000}`
	s.do("HSET", "{test}:instances", "dead", fmt.Sprint(time.Now().Add(-time.Minute).UnixMilli())+" "+beat)
	s.do("HSET", "{test}:instances", "forgotten", fmt.Sprint(time.Now().Add(-time.Hour).UnixMilli())+" "+beat)
	waitFor(t, "the next heartbeat", func() bool { return s.do("HEXISTS", "{test}:instances", "forgotten").(int64) == 0 })
	fleet, err := r.WaitRevision(background, r.Snapshot().Revision)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(fleet, func(in registry.Instance) bool { return in.ID == "dead" })
	if i < 0 || !fleet[i].Away || fleet[i].Age < 50*time.Second {
		t.Errorf("fleet is %+v", fleet)
	}
}

func TestAProxyThatEndsLeavesTheFleet(t *testing.T) {
	s := startServer(t)
	stays := s.open("p1", quick)
	goes, err := s.tryOpen("p2", quick)
	if err != nil {
		t.Fatal(err)
	}
	size := func() int {
		fleet, err := stays.Fleet(background)
		if err != nil {
			t.Fatal(err)
		}
		return len(fleet)
	}
	waitFor(t, "two proxies", func() bool { return size() == 2 })
	if err := goes.Close(); err != nil {
		t.Fatal(err)
	}
	if size() != 1 {
		t.Error("it is still listed")
	}
}

func TestAWrongTypeOfTheFleetIsSaid(t *testing.T) {
	s := startServer(t)
	s.do("SET", "{test}:instances", "mine")
	r := s.open("p1", func(o *redisstore.Options) { o.Namespace = "test" })
	_, err := r.Fleet(background)
	var broken *registry.StoreError
	if !errors.As(err, &broken) || !strings.Contains(err.Error(), "is of type string") {
		t.Errorf("got %v", err)
	}
	if s.do("GET", "{test}:instances") != "mine" {
		t.Error("the key was overwritten")
	}
}
