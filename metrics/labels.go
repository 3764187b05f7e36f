package metrics

// The label values below are part of the interface to dashboards and alerts:
// a value is added at the end and never renamed.

// Unregistered is the script label of what was called without a registered name.
const Unregistered = unregistered

// Route is where a script call went.
type Route uint8

// Routes of a script call.
const (
	RoutePrimary Route = iota
	RouteReplica
	RouteLocal // answered by the proxy: denied, limited, unavailable
	numRoutes
)

var routeNames = [numRoutes]string{"primary", "replica", "local"}

// String returns the label value.
func (r Route) String() string { return name(routeNames[:], uint8(r)) }

// Outcome is how a script call ended.
type Outcome uint8

// Outcomes of a script call.
const (
	OutcomeOK          Outcome = iota
	OutcomeError               // the script or the server answered an error
	OutcomeKilled              // killed by the watchdog or by an operator
	OutcomeNoScript            // unknown to the proxy and to the node
	OutcomeBusy                // refused: the node runs another script
	OutcomeDenied              // refused by policy
	OutcomeLimited             // refused by a limit
	OutcomeUnavailable         // no usable node; it did not run
	OutcomeMayHaveRun          // the link was lost after sending
	numOutcomes
)

var outcomeNames = [numOutcomes]string{"ok", "error", "killed", "noscript", "busy", "denied", "limited", "unavailable", "may_have_run"}

// String returns the label value.
func (o Outcome) String() string { return name(outcomeNames[:], uint8(o)) }

// Class is what kind of request a client sent.
type Class uint8

// Classes of requests.
const (
	ClassRead Class = iota
	ClassWrite
	ClassAdmin
	ClassScript
	ClassLocal // answered by the proxy itself
	numClasses
)

var classNames = [numClasses]string{"read", "write", "admin", "script", "local"}

// String returns the label value.
func (c Class) String() string { return name(classNames[:], uint8(c)) }

// Verdict is what the policy decided about a call.
type Verdict uint8

// Verdicts of a policy rule.
const (
	VerdictAllow Verdict = iota
	VerdictDeny
	VerdictAudit // would have been denied, and was let through
	numVerdicts
)

var verdictNames = [numVerdicts]string{"allow", "deny", "audit"}

// String returns the label value.
func (v Verdict) String() string { return name(verdictNames[:], uint8(v)) }

// PingOutcome is how a client's PING was answered.
type PingOutcome uint8

// Answers to PING.
const (
	PingPong        PingOutcome = iota // the primary is well, or PING is local
	PingBusy                           // PONG while the primary is busy with a script
	PingDown                           // PONG while the primary is unreachable, within the grace
	PingUnavailable                    // an error: the primary is unreachable
	numPings
)

var pingNames = [numPings]string{"pong", "pong_busy", "pong_down", "unavailable"}

// String returns the label value.
func (p PingOutcome) String() string { return name(pingNames[:], uint8(p)) }

// ErrKind is why the proxy answered an error of its own or closed a
// connection.
type ErrKind uint8

// Kinds of errors that the proxy itself makes.
const (
	ErrUnavailable      ErrKind = iota // no usable node; the request did not run
	ErrMayHaveRun                      // a link was lost after the request was sent
	ErrLimit                           // a concurrency, rate or size limit
	ErrBusy                            // the node runs a script
	ErrDenied                          // denied by policy
	ErrProtocol                        // a client broke the protocol
	ErrUpstreamProtocol                // a node broke the protocol
	ErrSlowClient                      // session closed: it does not read its replies
	ErrIdleTimeout                     // session closed: idle for too long
	ErrSessionLimit                    // session refused: too many
	ErrAuth                            // a client's AUTH failed
	ErrRefused                         // a command the proxy does not pass on
	ErrQueueFull                       // a link's queue passed its hard limit
	ErrLinkLost                        // a link to a node was lost while in use
	ErrLowPriority                     // of low priority, where there was too little for all
	ErrInternal                        // a fault of the proxy, and what is none of these
	numErrKinds
)

var errKindNames = [numErrKinds]string{
	"unavailable", "may_have_run", "limit", "busy", "denied", "protocol", "upstream_protocol",
	"slow_client", "idle_timeout", "session_limit", "auth", "refused", "queue_full", "link_lost", "low_priority", "internal",
}

// String returns the label value.
func (k ErrKind) String() string { return name(errKindNames[:], uint8(k)) }

// LinkKind is what a connection to a node is for.
type LinkKind uint8

// Kinds of links.
const (
	LinkShared    LinkKind = iota // pipelines many sessions
	LinkDedicated                 // owned by one session
	LinkControl                   // health, preloading, kills
	numLinkKinds
)

var linkKindNames = [numLinkKinds]string{"shared", "dedicated", "control"}

// String returns the label value.
func (k LinkKind) String() string { return name(linkKindNames[:], uint8(k)) }

// Role is a node's role in replication.
type Role uint8

// Roles of a node.
const (
	RoleUnknown Role = iota
	RolePrimary
	RoleReplica
	numRoles
)

var roleNames = [numRoles]string{"unknown", "primary", "replica"}

// String returns the label value.
func (r Role) String() string { return name(roleNames[:], uint8(r)) }

// KillResult is how an attempt to kill a script ended.
type KillResult uint8

// Results of a kill.
const (
	KillKilled     KillResult = iota // the script ended
	KillUnkillable                   // it has written; the node refuses
	KillNotBusy                      // it had ended by itself
	KillFailed                       // the kill did not reach the node, or was refused
	KillSwallowed                    // the script caught the kill's error and went on
	KillOther                        // it ended this script and was meant for another
	numKillResults
)

var killResultNames = [numKillResults]string{"killed", "unkillable", "not_busy", "failed", "swallowed", "other"}

// String returns the label value.
func (k KillResult) String() string { return name(killResultNames[:], uint8(k)) }

// BreakerState is the state of a script's circuit breaker, and the value of
// its gauge.
type BreakerState uint8

// States of a breaker.
const (
	BreakerClosed BreakerState = iota // calls pass
	BreakerHalfOpen
	BreakerOpen // calls are refused
	numBreakerStates
)

var breakerStateNames = [numBreakerStates]string{"closed", "half_open", "open"}

// String names the state for people and for the API.
func (b BreakerState) String() string { return name(breakerStateNames[:], uint8(b)) }

func name(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return "unknown"
}
