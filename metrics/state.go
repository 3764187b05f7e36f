package metrics

import (
	"cmp"
	"math"
	"slices"
	"sync/atomic"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// state is what is set rather than counted by loops, from any goroutine.
type state struct {
	sessions, sessionsOpened, sessionsRejected atomic.Int64

	revision, drift atomic.Uint64
	overrides       atomic.Int64
	registryUp      atomic.Int32 // 0 never said, 1 down, 2 up

	reloadOK                     atomic.Bool
	reloadSuccess, reloadFailure atomic.Uint64
	reloadTime                   atomic.Int64 // Unix nanoseconds of the last success; 0 is none

	active  atomic.Pointer[[]activeVersion]
	running atomic.Pointer[func(emit func(node, script string, seconds float64))]
	loops   atomic.Pointer[func(emit func(loop int, busy float64))]
}

// node is what is known and counted of one node.
type node struct {
	label *dto.LabelPair

	upstream     atomic.Pointer[dto.LabelPair]
	gone         atomic.Bool
	role         atomic.Uint32
	up           atomic.Int32 // 0 never said, 1 down, 2 up
	busy         atomic.Int32 // the same
	lagBytes     atomic.Int64 // negative is not known
	lagSeconds   atomicFloat  // negative is not known
	cached       atomic.Int64 // negative is not known
	scriptMemory atomic.Int64 // negative is not known
	offset       atomic.Int64 // negative is not known
	conflicts    atomic.Uint64
	links        [numLinkKinds]atomic.Int64
	reconnects   atomic.Uint64
}

func newNode(addr string) *node {
	n := &node{label: pair(labelNode, addr)}
	n.forget()
	return n
}

func (n *node) forget() {
	n.up.Store(0)
	n.busy.Store(0)
	n.role.Store(uint32(RoleUnknown))
	n.lagBytes.Store(-1)
	n.lagSeconds.store(-1)
	n.cached.Store(-1)
	n.scriptMemory.Store(-1)
	n.offset.Store(-1)
}

// Sessions adds delta to the number of open sessions. What is positive is also
// counted as opened.
func (m *Metrics) Sessions(delta int64) {
	m.state.sessions.Add(delta)
	if delta > 0 {
		m.state.sessionsOpened.Add(delta)
	}
}

// SessionRejected counts a connection that was refused before it became a
// session.
func (m *Metrics) SessionRejected() { m.state.sessionsRejected.Add(1) }

// Links adds delta to the number of open links to a node.
func (m *Metrics) Links(n NodeID, kind LinkKind, delta int64) {
	m.ids.node(n).links[min(kind, numLinkKinds-1)].Add(delta)
}

// LinkReconnect counts a link that was opened again after it had been lost.
func (m *Metrics) LinkReconnect(n NodeID) { m.ids.node(n).reconnects.Add(1) }

// UpstreamUp says whether a node answers, and which role it has. The series of
// an earlier role disappears.
func (m *Metrics) UpstreamUp(n NodeID, role Role, up bool) {
	e := m.ids.node(n)
	e.gone.Store(false)
	e.role.Store(uint32(min(role, numRoles-1)))
	e.up.Store(said(up))
}

// UpstreamOf says which set of servers a node belongs to.
func (m *Metrics) UpstreamOf(n NodeID, name string) {
	m.ids.node(n).upstream.Store(pair(labelUpstream, valid(name)))
}

// UpstreamBusy says whether a node is in the BUSY state: it runs a script for
// longer than busy-reply-threshold, or the watchdog knows one to be running.
func (m *Metrics) UpstreamBusy(n NodeID, busy bool) { m.ids.node(n).busy.Store(said(busy)) }

// ReplicaLag says how far a replica is behind its primary. A negative value is
// "not known" and is not exposed.
func (m *Metrics) ReplicaLag(n NodeID, bytes int64, seconds float64) {
	e := m.ids.node(n)
	e.lagBytes.Store(bytes)
	e.lagSeconds.store(seconds)
}

// UpstreamScripts says how many scripts a node caches and how much memory they
// take there. A negative value is "not known" and is not exposed.
func (m *Metrics) UpstreamScripts(n NodeID, cached, bytes int64) {
	e := m.ids.node(n)
	e.cached.Store(cached)
	e.scriptMemory.Store(bytes)
}

// UpstreamOffset says how far a node's replication stream has come, and how
// often the node has said that it is the primary while another did too. A
// negative offset is "not known" and is not exposed.
func (m *Metrics) UpstreamOffset(n NodeID, offset int64, conflicts uint64) {
	e := m.ids.node(n)
	e.offset.Store(offset)
	e.conflicts.Store(conflicts)
}

// NodeGone stops exposing the gauges of a node which left the topology, until
// UpstreamUp is called for it again. Its counters remain.
func (m *Metrics) NodeGone(n NodeID) {
	e := m.ids.node(n)
	e.gone.Store(true)
	e.forget()
}

// Kill counts an attempt to kill a script.
func (m *Metrics) Kill(id ScriptID, result KillResult) {
	m.ids.script(id).name.kills[min(result, numKillResults-1)].Add(1)
}

// Breaker says in which state a script's circuit breaker is.
func (m *Metrics) Breaker(id ScriptID, b BreakerState) {
	m.ids.script(id).breaker.Store(int32(min(b, BreakerOpen)) + 1)
}

// RegistryRevision says which revision of the registry this proxy runs.
func (m *Metrics) RegistryRevision(revision uint64) { m.state.revision.Store(revision) }

// RegistryDrift says by how many revisions the proxy is behind what it last saw
// in the registry's store.
func (m *Metrics) RegistryDrift(revisions uint64) { m.state.drift.Store(revisions) }

// RegistryOverrides says for how many scripts another version is active than
// the configuration declares.
func (m *Metrics) RegistryOverrides(scripts int) { m.state.overrides.Store(int64(scripts)) }

// RegistryUp says whether the registry's store answers. It is not exposed until
// it is first called, so a registry that is a file has no such series.
func (m *Metrics) RegistryUp(up bool) { m.state.registryUp.Store(said(up)) }

// ConfigReload counts an attempt to load the configuration, the first one at
// the start included.
func (m *Metrics) ConfigReload(ok bool, at time.Time) {
	m.state.reloadOK.Store(ok)
	if !ok {
		m.state.reloadFailure.Add(1)
		return
	}
	m.state.reloadSuccess.Add(1)
	m.state.reloadTime.Store(at.UnixNano())
}

// OnCollectRunning sets the function that tells each scrape which scripts are
// running, where, and for how long. It is called from a scrape's goroutine and
// must not wait for a loop. Of several emits for one script on one node the
// longest counts.
func (m *Metrics) OnCollectRunning(f func(emit func(node, script string, seconds float64))) {
	m.state.running.Store(&f)
}

// OnCollectLoops sets the function that tells each scrape which part of the time
// (0 to 1) each loop was busy. It is called from a scrape's goroutine and must
// not wait for a loop.
func (m *Metrics) OnCollectLoops(f func(emit func(loop int, busy float64))) {
	m.state.loops.Store(&f)
}

// ActiveVersion is which version of a script is active, and its sha.
type ActiveVersion struct{ Script, Version, SHA string }

type activeVersion struct {
	ActiveVersion
	labels []*dto.LabelPair
	line   string // of the text format, without the value
}

// SetActiveVersions replaces what script_active_version_info says. Past
// Options.MaxScripts entries, in order of names, the rest is left out.
func (m *Metrics) SetActiveVersions(list []ActiveVersion) {
	all := make([]activeVersion, 0, len(list))
	for _, v := range list {
		v = ActiveVersion{valid(v.Script), valid(v.Version), valid(v.SHA)}
		all = append(all, activeVersion{ActiveVersion: v})
	}
	slices.SortFunc(all, func(a, b activeVersion) int {
		return cmp.Or(cmp.Compare(a.Script, b.Script), cmp.Compare(a.Version, b.Version), cmp.Compare(a.SHA, b.SHA))
	})
	all = slices.CompactFunc(all, func(a, b activeVersion) bool { return a.ActiveVersion == b.ActiveVersion })
	all = slices.Clip(all[:min(len(all), m.opts.MaxScripts)])
	for i := range all {
		v := &all[i]
		v.labels = []*dto.LabelPair{pair(labelScript, v.Script), pair(labelSHA, v.SHA), pair(labelVersion, v.Version)}
		v.line = defActiveVersion.name + `{script="` + escape(v.Script) + `",sha="` + escape(v.SHA) + `",version="` + escape(v.Version) + `"} `
	}
	m.state.active.Store(&all)
}

// said turns a yes or no into 2 or 1; 0 stays for "never said".
func said(yes bool) int32 {
	if yes {
		return 2
	}
	return 1
}

type atomicFloat struct{ bits atomic.Uint64 }

func (f *atomicFloat) store(v float64) { f.bits.Store(math.Float64bits(v)) }
func (f *atomicFloat) load() float64   { return math.Float64frombits(f.bits.Load()) }
