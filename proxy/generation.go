//go:build linux

package proxy

import (
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
)

// PingMode says what answers PING.
type PingMode uint8

// Ping modes.
const (
	// PingUpstream answers PONG while the primary is reachable or busy, or
	// was within the grace.
	PingUpstream PingMode = iota
	// PingLocal always answers PONG.
	PingLocal
)

// Consistency says which replica may answer a read.
type Consistency uint8

// Consistencies.
const (
	// ConsistencySession: one that has the session's last write.
	ConsistencySession Consistency = iota
	// ConsistencyEventual: any within the allowed lag.
	ConsistencyEventual
	// ConsistencyStrong: none; reads go to the primary.
	ConsistencyStrong
)

// OutputLimit is Redis's client-output-buffer-limit for one kind of client:
// a session is closed as soon as Hard bytes wait for it, or when Soft bytes
// have waited for SoftFor. 0 is no bound.
type OutputLimit struct {
	Hard, Soft int
	SoftFor    time.Duration
}

// alarm is the number of bytes from which a session must be looked at.
func (l *OutputLimit) alarm() int {
	n := outputHigh
	if l.Hard > 0 {
		n = min(n, l.Hard)
	}
	if l.Soft > 0 {
		n = min(n, l.Soft)
	}
	return n
}

// Settings are the choices of an operator that a reload can change.
type Settings struct {
	// ReplicaReads and ReplicaScriptReads send plain reads, and scripts that
	// only read, to replicas.
	ReplicaReads, ReplicaScriptReads bool
	Consistency                      Consistency
	// NoFallback refuses a read for which no replica is fit, instead of
	// sending it to the primary.
	NoFallback bool
	// MaxLag and MaxLagBytes bound how far behind a replica may be; 0 bytes
	// means no bound.
	MaxLag      time.Duration
	MaxLagBytes int64

	Ping      PingMode
	PingGrace time.Duration

	// BusyWait is how long a request waits for a node that runs a script.
	BusyWait time.Duration
	// Protection is the default for scripts that have none of their own.
	Protection
	// Watchdog is for the connections that kill.
	Watchdog watchdog.Settings

	// SlowAfter is when a script call counts as slow.
	SlowAfter time.Duration
	// EvalBelow is the size in bytes up to which a pipelined script call is
	// sent with its body, so that what follows need not wait; see script.go.
	EvalBelow int
	// LoosePipelining never waits behind a script call in a pipeline: when a
	// node lost the script behind the proxy's back, a call may then run after
	// later requests of its own pipeline.
	LoosePipelining bool

	// Normal and PubSub bound the unsent replies of a session.
	Normal, PubSub OutputLimit
	// QueryBuffer bounds the bytes held of a request that is not complete.
	QueryBuffer int
	// Pipeline is how many requests of one session may be in flight.
	Pipeline int
	// MaxClients bounds the sessions.
	MaxClients int
	// IdleTimeout closes sessions that sent nothing for so long; 0 never.
	IdleTimeout time.Duration
	// KeepAlive is TCP keepalive's idle time; 0 is off.
	KeepAlive time.Duration
	Request   resp.Limits
	// TraceSample is the fraction of script calls given to Options.Trace.
	TraceSample float64

	// Users are those that service mode lets in; with none, everybody is.
	Users *Users

	// LoadApart are the server's users that may not load scripts, so that the
	// proxy's own user does; see policy_load.go.
	LoadApart map[string]bool

	alarm int // of Normal and PubSub, the smaller
}

// NewGeneration completes a configuration.
func NewGeneration(id uint64, set Settings, commands *command.Table, scripts *ScriptTable) *Generation {
	set.alarm = min(set.Normal.alarm(), set.PubSub.alarm())
	return &Generation{ID: id, Settings: set, Commands: commands, Scripts: scripts}
}

// Generation is one immutable configuration of the data plane. A request is
// decided by the one that was current when it was read.
type Generation struct {
	ID       uint64
	Settings Settings
	Commands *command.Table
	Scripts  *ScriptTable
	// Policy is nil where everything may run.
	Policy *Policy
}
