package topology

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// unreachable makes a monitor of a working primary "a:1" and a replica "r:1", and places, where no other server answers.
func unreachable(t *testing.T) (*Monitor, *Places) {
	t.Helper()
	began := time.Now()
	o := Options{
		Primary: "a:1", Replicas: []string{"r:1"}, PollInterval: time.Millisecond, SilentAfter: time.Second, ConnectTimeout: time.Second,
		Now:  func() int64 { return int64(time.Since(began)) + 1 },
		Dial: func(context.Context, string) (net.Conn, error) { return nil, errors.New("nobody is there") },
	}
	m := New(o)
	t.Cleanup(m.Close)
	up(m.View().All[0], RolePrimary)
	up(m.View().All[1], RoleReplica)
	m.elect()
	return m, NewPlaces(2, o.Now())
}

func propose(t *testing.T, m *Monitor, places *Places, primary string, replicas ...string) *Change {
	t.Helper()
	c, err := m.Propose(t.Context(), primary, replicas, places)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestChangeOfServersKeepsThoseThatStay(t *testing.T) {
	m, places := unreachable(t)
	before := m.View()
	if c := propose(t, m, places, "a:1", "r:1"); c != nil {
		t.Fatalf("the same servers are a change: %+v", c)
	}
	c := propose(t, m, places, "a:1", "new:1")
	if m.View() != before {
		t.Error("a proposal changes something")
	}
	c.Apply(places)
	v := m.View()
	if v.Primary != before.Primary || len(v.All) != 2 || v.All[0] != before.All[0] || v.All[1].Addr != "new:1" || v.All[1].Index != 2 || len(v.Replicas) != 1 || v.Replicas[0] != v.All[1] {
		t.Errorf("the nodes are %+v", v)
	}
	gone := before.All[1]
	if !gone.Gone() || gone.Up() || v.All[1].Gone() {
		t.Error("what was taken away is not gone, or what came is")
	}

	epoch := gone.Epoch()
	propose(t, m, places, "a:1", "new:1", "r:1").Apply(places)
	if back := m.View().All[2]; back != gone || back.Gone() || back.Index != 1 || back.Epoch() == epoch || back.CaughtUp() != 0 {
		t.Errorf("the server that came back has not its own place, or is believed to have what it had: %+v", back)
	}
}

func TestWorkingPrimaryIsNotTakenAwayForNone(t *testing.T) {
	m, places := unreachable(t)
	before := m.View()
	for range SparePlaces + 1 { // what was refused takes no place
		_, err := m.Propose(t.Context(), "new:1", []string{"r:1"}, places)
		if err == nil || !strings.Contains(err.Error(), "the primary a:1 would be taken away") || !strings.Contains(err.Error(), "new:1 is down: nobody is there; r:1 is a replica") {
			t.Fatalf("got %v", err)
		}
	}
	if m.View() != before || before.Primary.Gone() {
		t.Error("a refused change has changed something")
	}
	// Where the old one is down already, there is nothing to lose.
	before.Primary.fail(1, errors.New("gone"))
	propose(t, m, places, "new:1", "r:1").Apply(places)
	if v := m.View(); v.Primary == nil || v.Primary.Addr != "new:1" {
		t.Errorf("the primary is %+v", v.Primary)
	}
}

func TestReplicaThatSaysItIsThePrimaryTakesOverFromOneThatIsTakenAway(t *testing.T) {
	m, places := unreachable(t)
	m.take(m.View().All[0], primarySays(100), 1)
	r := m.View().All[1]
	r.role.Store(uint32(RolePrimary))
	r.caughtUp.Store(1)
	propose(t, m, places, "r:1").Apply(places)
	if v := m.View(); v.Primary != r || len(v.Replicas) != 0 || r.CaughtUp() != 0 || len(m.history) != 0 {
		t.Errorf("the view is %+v", v)
	}
}

func TestSecondPrimaryIsRefused(t *testing.T) {
	m, places := unreachable(t)
	up(m.View().All[1], RolePrimary)
	if _, err := m.Propose(t.Context(), "a:1", []string{"r:1", "new:1"}, places); err == nil || !strings.Contains(err.Error(), "all say they are the primary") {
		t.Errorf("got %v", err)
	}
}

func TestPlacesForOtherServersAreBounded(t *testing.T) {
	m, places := unreachable(t)
	for i := range SparePlaces {
		propose(t, m, places, "a:1", string(rune('b'+i))+":1").Apply(places)
	}
	if _, err := m.Propose(t.Context(), "a:1", []string{"z:1"}, places); err == nil || !strings.Contains(err.Error(), "there is no place for z:1") {
		t.Errorf("got %v", err)
	}
	propose(t, m, places, "a:1", "b:1").Apply(places)
	seen := map[int]bool{}
	for _, n := range m.View().All {
		if seen[n.Index] {
			t.Errorf("two nodes have the index %d", n.Index)
		}
		seen[n.Index] = true
	}
}
