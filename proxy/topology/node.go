// Package topology knows who is primary, who are replicas, how far each has
// come, and whether it may be used.
//
// A Node is one server. Its state is polled on connections of its own, kept
// in atomics, and read by every event loop without a lock. A View is one
// immutable picture of the roles.
package topology

import (
	"sync/atomic"
	"time"
)

// Role is what a server says it is.
type Role uint32

// Roles.
const (
	RoleUnknown Role = iota
	RolePrimary
	RoleReplica
)

func (r Role) String() string {
	switch r {
	case RolePrimary:
		return "primary"
	case RoleReplica:
		return "replica"
	}
	return "unknown"
}

// Node is one server. Any goroutine may read it; the poller and the loops
// write the fields that their methods name.
type Node struct {
	// Addr is host:port or unix:/path, as configured.
	Addr string
	// Index is dense among the nodes of the process: arrays are indexed by it.
	Index int
	// Backend is Options.Backend of the node's monitor.
	Backend int

	role       atomic.Uint32
	up         atomic.Bool
	ready      atomic.Bool
	busySince  atomic.Int64
	downSince  atomic.Int64
	epoch      atomic.Uint32
	caughtUp   atomic.Int64
	doubted    atomic.Int64
	lagBytes   atomic.Int64
	lag        atomic.Int64
	offset     atomic.Int64
	replicas   atomic.Int64
	contested  bool // the monitor's own, under its lock
	conflicts  atomic.Uint64
	linkUp     atomic.Bool
	readScript atomic.Bool
	flushing   atomic.Bool
	gone       atomic.Bool
	lastErr    atomic.Pointer[string]
}

// NewNode describes a server that was not heard from yet. now is in the
// clock of the loops.
func NewNode(addr string, index int, now int64) *Node {
	n := &Node{Addr: addr, Index: index}
	n.epoch.Store(1)
	n.downSince.Store(now)
	return n
}

// Gone reports that the server was taken out of the configuration: nothing
// new is sent there.
func (n *Node) Gone() bool { return n.gone.Load() }

// comeBack forgets what was known of the server before it was gone: it may
// have been started anew meanwhile.
func (n *Node) comeBack(now int64) {
	n.LostScripts(n.Epoch())
	n.role.Store(uint32(RoleUnknown))
	n.caughtUp.Store(0)
	n.lag.Store(0)
	n.lagBytes.Store(0)
	n.lastErr.Store(nil)
	n.downSince.Store(now)
	n.gone.Store(false)
}

// Role is what the server last said it was.
func (n *Node) Role() Role { return Role(n.role.Load()) }

// Up reports that the server answers, or is known to be busy.
func (n *Node) Up() bool { return n.up.Load() }

// Ready reports that the server is up and holds every registered script.
func (n *Node) Ready() bool { return n.up.Load() && n.ready.Load() }

// SetReady is for who loads the scripts.
func (n *Node) SetReady(ok bool) { n.ready.Store(ok) }

// Busy reports that the server answers BUSY, or not at all though its
// connections stand: while it runs something long, or is stalled.
func (n *Node) Busy() bool { return n.busySince.Load() != 0 }

// BusyFor is how long the server has been busy, 0 when it is not.
func (n *Node) BusyFor(now int64) time.Duration { return since(n.busySince.Load(), now) }

// DownFor is how long the server has been out of reach, 0 when it is up.
func (n *Node) DownFor(now int64) time.Duration { return since(n.downSince.Load(), now) }

func since(from, now int64) time.Duration {
	if from == 0 {
		return 0
	}
	return time.Duration(max(1, now-from))
}

// Epoch counts the lives of the server's script cache. What was loaded in an
// earlier one must be loaded again.
func (n *Node) Epoch() uint32 { return n.epoch.Load() }

// LostScripts says that the server lacked a script which it had in the epoch
// seen. It reports whether this call was the first to say so.
func (n *Node) LostScripts(seen uint32) bool {
	if n.epoch.CompareAndSwap(seen, seen+1) {
		if !n.flushing.Load() {
			n.ready.Store(false)
		}
		return true
	}
	return false
}

// Flushing says that the caller empties the server's script cache and loads
// it again. Until it says the opposite, LostScripts leaves the node in use:
// calls load what they need ahead of themselves.
func (n *Node) Flushing(on bool) { n.flushing.Store(on) }

// CaughtUp is a time in nanoseconds: all that the primary had acknowledged
// by then is in this replica.
func (n *Node) CaughtUp() int64 { return n.caughtUp.Load() }

// Doubt says that the server may have been started anew at or before now, in
// the clock of the loops, with other data than it had: it counts as not caught
// up until a poll that begins later.
func (n *Node) Doubt(now int64) {
	for {
		old := n.doubted.Load()
		if now <= old || n.doubted.CompareAndSwap(old, now) {
			break
		}
	}
	n.caughtUp.Store(0)
}

// DoubtedSince reports that Doubt was said of a time after the one given.
func (n *Node) DoubtedSince(at int64) bool { return n.doubted.Load() > at }

// LagBytes is the distance to the primary's offset at the last poll.
func (n *Node) LagBytes() int64 { return n.lagBytes.Load() }

// Lag is how far behind the primary's last known offset the replica was at
// the last poll, in time. It does not grow while the primary says nothing:
// then nobody's write is acknowledged either.
func (n *Node) Lag() time.Duration { return time.Duration(n.lag.Load()) }

// Offset is the server's own replication offset at the last poll.
func (n *Node) Offset() int64 { return n.offset.Load() }

// Replicas is how many replicas a primary had at the last poll.
func (n *Node) Replicas() int64 { return n.replicas.Load() }

// Conflicts is how often the node began to say that it is the primary while
// another said so too, or another began while it did.
func (n *Node) Conflicts() uint64 { return n.conflicts.Load() }

// LinkUp reports that a replica is connected to its primary.
func (n *Node) LinkUp() bool { return n.linkUp.Load() }

// HasReadOnlyCalls reports that the server knows EVAL_RO and EVALSHA_RO
// (Redis 7.0 and later).
func (n *Node) HasReadOnlyCalls() bool { return n.readScript.Load() }

// LastError is why the server is not up, in words, or "".
func (n *Node) LastError() string {
	if p := n.lastErr.Load(); p != nil {
		return *p
	}
	return ""
}

func (n *Node) fail(now int64, err error) { n.failed(now, 0, err) }

// failSilently is fail for a server that holds its connections and says nothing:
// it counts as busy besides, so that requests are not sent into the silence.
func (n *Node) failSilently(now, since int64, err error) { n.failed(now, since, err) }

// failed changes busySince at once: in a moment in which the server counted as
// free, a request would go to it and wait for as long as the silence lasts.
func (n *Node) failed(now, busySince int64, err error) {
	text := err.Error()
	n.lastErr.Store(&text)
	n.busySince.Store(busySince)
	if n.up.Swap(false) {
		n.downSince.Store(now)
		n.ready.Store(false)
	}
}

func (n *Node) setUp() {
	n.up.Store(true)
	n.downSince.Store(0)
	n.lastErr.Store(nil)
}

// View is one immutable picture of the roles.
type View struct {
	// Primary takes the writes. It may be down; nil when no node says it is
	// the primary, or more than one does.
	Primary  *Node
	Replicas []*Node
	All      []*Node
	// Why says why Primary is nil.
	Why string
}
