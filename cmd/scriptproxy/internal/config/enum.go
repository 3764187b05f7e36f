package config

import (
	"crypto/tls"
	"log/slog"
)

// enum is implemented by the string types that have a closed set of values.
type enum interface {
	// values returns the allowed values, in the order in which they are named to
	// the user.
	values() []string
}

// PingMode says who answers PING.
type PingMode string

// Values of PingMode.
const (
	PingUpstream PingMode = "upstream"
	PingLocal    PingMode = "local"
)

func (PingMode) values() []string { return []string{"upstream", "local"} }

// AuthMode says who checks the passwords of clients.
type AuthMode string

// Values of AuthMode.
const (
	AuthPassthrough AuthMode = "passthrough"
	AuthService     AuthMode = "service"
)

func (AuthMode) values() []string { return []string{"passthrough", "service"} }

// Route is the kind of node that reads go to.
type Route string

// Values of Route.
const (
	RoutePrimary Route = "primary"
	RouteReplica Route = "replica"
)

func (Route) values() []string { return []string{"primary", "replica"} }

// Consistency says what a read may miss.
type Consistency string

// Values of Consistency.
const (
	ConsistencyEventual Consistency = "eventual"
	ConsistencySession  Consistency = "session"
	ConsistencyStrong   Consistency = "strong"
)

func (Consistency) values() []string { return []string{"eventual", "session", "strong"} }

// Fallback says what happens to a read for which no replica will do.
type Fallback string

// Values of Fallback.
const (
	FallbackPrimary Fallback = "primary"
	FallbackError   Fallback = "error"
)

func (Fallback) values() []string { return []string{"primary", "error"} }

// Pipelining says whether what follows a script call in a pipeline waits for it.
type Pipelining string

// Values of Pipelining.
const (
	PipeliningStrict Pipelining = "strict"
	PipeliningFast   Pipelining = "fast"
)

func (Pipelining) values() []string { return []string{"strict", "fast"} }

// Class says what a script does to the data.
type Class string

// Values of Class.
const (
	ClassAuto  Class = "auto"
	ClassRead  Class = "read"
	ClassWrite Class = "write"
)

func (Class) values() []string { return []string{"auto", "read", "write"} }

// Priority says who goes first where there is too little for all.
type Priority string

// Values of Priority.
const (
	PriorityLow    Priority = "low"
	PriorityNormal Priority = "normal"
	PriorityHigh   Priority = "high"
)

func (Priority) values() []string { return []string{"low", "normal", "high"} }

// BreakerFallback says what an open breaker does.
type BreakerFallback string

// Values of BreakerFallback.
const (
	BreakerNone     BreakerFallback = "none"
	BreakerPrevious BreakerFallback = "previous"
)

func (BreakerFallback) values() []string { return []string{"none", "previous"} }

// Store is the kind of registry store.
type Store string

// Values of Store.
const (
	StoreFile  Store = "file"
	StoreRedis Store = "redis"
)

func (Store) values() []string { return []string{"file", "redis"} }

// PolicyMode says what the policy does.
type PolicyMode string

// Values of PolicyMode.
const (
	PolicyOff     PolicyMode = "off"
	PolicyAudit   PolicyMode = "audit"
	PolicyEnforce PolicyMode = "enforce"
)

func (PolicyMode) values() []string { return []string{"off", "audit", "enforce"} }

// LogFormat is the form of the log's lines.
type LogFormat string

// Values of LogFormat.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

func (LogFormat) values() []string { return []string{"text", "json"} }

// LogLevel is the least severity that is logged.
type LogLevel string

// Values of LogLevel.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

func (LogLevel) values() []string { return []string{"debug", "info", "warn", "error"} }

// Level returns the level for log/slog; that of an unknown one is info.
func (l LogLevel) Level() slog.Level {
	switch l {
	case LogDebug:
		return slog.LevelDebug
	case LogWarn:
		return slog.LevelWarn
	case LogError:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// TLSVersion is a version of TLS, "1.2" or "1.3".
type TLSVersion string

// Values of TLSVersion.
const (
	TLS12 TLSVersion = "1.2"
	TLS13 TLSVersion = "1.3"
)

func (TLSVersion) values() []string { return []string{"1.2", "1.3"} }

// ID returns the version's number for tls.Config.
func (v TLSVersion) ID() uint16 {
	if v == TLS13 {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}
