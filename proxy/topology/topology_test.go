package topology

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// monitored makes a monitor with a clock that the test sets, asking nobody.
func monitored(t *testing.T, replicas int) (m *Monitor, clock *int64) {
	t.Helper()
	clock = new(int64)
	*clock = int64(time.Second)
	o := Options{Primary: "a:1", Now: func() int64 { return *clock }}
	for i := range replicas {
		o.Replicas = append(o.Replicas, fmt.Sprintf("r%d:1", i))
	}
	return New(o), clock
}

func primarySays(offset int64) map[string]string {
	return map[string]string{"role": "master", "master_repl_offset": fmt.Sprint(offset), "master_replid": "id"}
}

func replicaSays(offset int64) map[string]string {
	return map[string]string{"role": "slave", "slave_repl_offset": fmt.Sprint(offset), "master_link_status": "up", "master_replid": "id"}
}

func TestReplicaHasCaughtUpToThePollWhoseOffsetItHas(t *testing.T) {
	m, _ := monitored(t, 1)
	p, r := m.View().All[0], m.View().All[1]
	m.take(p, primarySays(100), 1000)
	m.take(p, primarySays(200), 2000)
	m.take(p, primarySays(300), 3000)
	for _, c := range []struct{ offset, caught, lag, bytes int64 }{
		{300, 3000, 0, 0},
		{350, 3000, 0, 0}, // it may be ahead of the last poll
		{299, 2000, 1000, 1},
		{200, 2000, 1000, 100},
		{100, 1000, 2000, 200},
		{99, 0, 3000, 201},
	} {
		m.take(r, replicaSays(c.offset), 3500)
		if r.CaughtUp() != c.caught || int64(r.Lag()) != c.lag || r.LagBytes() != c.bytes {
			t.Errorf("offset %d: caught up to %d, lag %d, %d bytes; want %d, %d, %d", c.offset, r.CaughtUp(), int64(r.Lag()), r.LagBytes(), c.caught, c.lag, c.bytes)
		}
	}
}

func TestReplicaOfAnotherHistoryHasNotCaughtUp(t *testing.T) {
	m, _ := monitored(t, 1)
	p, r := m.View().All[0], m.View().All[1]
	m.take(p, primarySays(100), 1000)
	other := replicaSays(100)
	other["master_replid"] = "somebody else's"
	m.take(r, other, 1100)
	if r.CaughtUp() != 0 {
		t.Fatalf("caught up to %d", r.CaughtUp())
	}
}

func TestLagDoesNotGrowWhileThePrimarySaysNothing(t *testing.T) {
	m, clock := monitored(t, 1)
	p, r := m.View().All[0], m.View().All[1]
	m.take(p, primarySays(100), 1000)
	m.take(r, replicaSays(100), 1100)
	*clock += int64(time.Minute)
	m.take(r, replicaSays(100), *clock)
	if r.Lag() != 0 {
		t.Fatalf("lag %v", r.Lag())
	}
}

// up makes a node known to answer with a role.
func up(n *Node, role Role) {
	n.setUp()
	n.role.Store(uint32(role))
}

func TestPrimaryIsWhoAloneSaysSo(t *testing.T) {
	m, _ := monitored(t, 2)
	a, b, c := m.View().All[0], m.View().All[1], m.View().All[2]
	if m.View().Primary != a {
		t.Fatal("the configured primary is not assumed before anybody answers")
	}
	up(a, RoleReplica)
	up(b, RolePrimary)
	up(c, RoleReplica)
	m.elect()
	v := m.View()
	if v.Primary != b || len(v.Replicas) != 2 || v.Replicas[0] != a || v.Replicas[1] != c {
		t.Fatalf("primary %v, replicas %v", v.Primary, v.Replicas)
	}
}

func TestTwoWhoSayTheyArePrimaryAreNoneUntilClear(t *testing.T) {
	m, clock := monitored(t, 1)
	a, b := m.View().All[0], m.View().All[1]
	up(a, RolePrimary)
	m.elect()
	up(b, RolePrimary)
	b.offset.Store(7)
	a.replicas.Store(2)
	m.elect()
	m.elect()
	v := m.View()
	if v.Primary != nil {
		t.Fatalf("primary %s", v.Primary.Addr)
	}
	if want := "a:1 and r0:1 all say they are the primary, r0:1 with the newest offset, a:1 with the most replicas (2), and a:1 was it until now"; v.Why != want {
		t.Fatalf("why %q, want %q", v.Why, want)
	}
	*clock += 5
	if m.NoPrimaryFor(*clock) != 5 {
		t.Fatalf("no primary for %v", m.NoPrimaryFor(*clock))
	}
	b.role.Store(uint32(RoleReplica))
	m.elect()
	if m.View().Primary != a || m.NoPrimaryFor(*clock) != 0 {
		t.Fatal("one claim is left, and there is no primary")
	}
	if a.Conflicts() != 1 || b.Conflicts() != 1 {
		t.Fatalf("%d and %d conflicts were counted, of one", a.Conflicts(), b.Conflicts())
	}
	b.role.Store(uint32(RolePrimary))
	a.replicas.Store(0)
	m.elect()
	if a.Conflicts() != 2 || b.Conflicts() != 2 || !strings.Contains(m.View().Why, "no one with a replica") {
		t.Fatalf("%d and %d conflicts were counted, of two: %s", a.Conflicts(), b.Conflicts(), m.View().Why)
	}
}

func TestPrimaryThatIsDownStaysThePrimary(t *testing.T) {
	m, _ := monitored(t, 1)
	a, b := m.View().All[0], m.View().All[1]
	up(a, RolePrimary)
	up(b, RoleReplica)
	m.elect()
	a.fail(10, errors.New("refused"))
	m.elect()
	if m.View().Primary != a {
		t.Fatal("a primary was forgotten for being down")
	}
	if a.DownFor(15) != 5 || a.LastError() != "refused" {
		t.Fatalf("down for %v: %s", a.DownFor(15), a.LastError())
	}
}

func TestNewPrimaryMakesReplicasProveThemselvesAgain(t *testing.T) {
	m, _ := monitored(t, 2)
	a, b, c := m.View().All[0], m.View().All[1], m.View().All[2]
	up(a, RolePrimary)
	m.take(a, primarySays(100), 1000)
	up(c, RoleReplica)
	m.take(c, replicaSays(100), 1100)
	if c.CaughtUp() == 0 {
		t.Fatal("not caught up to begin with")
	}
	a.role.Store(uint32(RoleReplica))
	up(b, RolePrimary)
	m.elect()
	if c.CaughtUp() != 0 {
		t.Fatal("what a replica had of the old primary counts for the new one")
	}
}

func TestLostScriptsAreCountedOnce(t *testing.T) {
	n := NewNode("a:1", 0, 1)
	n.setUp()
	n.SetReady(true)
	seen := n.Epoch()
	if !n.LostScripts(seen) || n.LostScripts(seen) {
		t.Fatal("two calls that saw the same epoch both began a new one")
	}
	if n.Ready() || n.Epoch() != seen+1 {
		t.Fatalf("ready %v, epoch %d", n.Ready(), n.Epoch())
	}
}

func TestTimeoutsAndRefusalsAreToldApart(t *testing.T) {
	if !isTimeout(fmt.Errorf("read: %w", &net.OpError{Op: "read", Err: timeout{}})) {
		t.Error("a timeout is not seen")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, err = net.DialTimeout("tcp", addr, time.Second)
	if err == nil || isTimeout(err) {
		t.Errorf("%v counts as a timeout", err)
	}
}

type timeout struct{}

func (timeout) Error() string   { return "i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

// TestNodeThatRefusesIsAskedWithEveryPoll would take half a minute with a client that pauses between its attempts.
func TestNodeThatRefusesIsAskedWithEveryPoll(t *testing.T) {
	const attempts = 30
	dials := make(chan struct{}, attempts)
	m := New(Options{
		Primary: "a:1", PollInterval: 5 * time.Millisecond, SilentAfter: time.Second, GoneAfter: time.Minute, ConnectTimeout: time.Second,
		Now: func() int64 { return time.Now().UnixNano() },
		Dial: func(context.Context, string) (net.Conn, error) {
			select {
			case dials <- struct{}{}:
			default:
			}
			return nil, syscall.ECONNREFUSED
		},
	})
	m.Start(t.Context())
	defer m.Close()
	late := time.After(10 * time.Second)
	for n := range attempts {
		select {
		case <-dials:
		case <-late:
			t.Fatalf("%d attempts to connect in 10 s", n)
		}
	}
}
