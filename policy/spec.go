package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Mode says what becomes of verdicts.
type Mode uint8

const (
	ModeOff     Mode = iota // no rule is looked at
	ModeAudit               // every rule is looked at, nothing is applied, denials are reported
	ModeEnforce             // verdicts are applied
)

// Action is what a rule does with a call that it matches, and what a verdict says.
type Action uint8

const (
	// Continue is the action of a rule that only sets attributes. It is never a verdict's action; as a
	// default it means Allow.
	Continue Action = iota
	// Allow lets the call run.
	Allow
	// Deny refuses the call; nothing runs.
	Deny
	// Audit lets the call run and reports it: as a rule's action it goes on to the next rule.
	Audit
)

// Route is where an allowed call is to run.
type Route uint8

const (
	RouteAny     Route = iota // not said: the proxy's own routing decides
	RoutePrimary              // the primary
	RouteReplica              // a replica
)

// Priority orders calls that wait for the same node. The zero value is the normal one.
type Priority int8

const (
	PriorityLow    Priority = -1
	PriorityNormal Priority = 0
	PriorityHigh   Priority = 1
)

// Per says what a rate is counted by.
type Per uint8

const (
	PerScript Per = iota // one budget for each script name; all unregistered scripts share one; for plain commands, each command
	PerUser              // one budget for each user
)

// Rate is a budget of calls: Limit a second on average, at most Burst at once. Limit is above zero and at
// most MaxRate; Burst is at least one, and zero stands for one second's worth.
type Rate struct {
	Per   Per
	Limit float64
	Burst int
}

// MaxRate is the highest rate that can be limited, per second: one call a microsecond, beyond what one
// server executes.
const MaxRate = 1e6

// Match lists a rule's conditions. An empty list, a nil pointer and an empty text state no condition. Texts
// are as the operator wrote them; Compile checks them.
type Match struct {
	Users     []string // user names; * and ? are wildcards
	Networks  []string // CIDR networks, addresses, or "unix" for clients of unix sockets
	Listeners []string // names of listeners

	Scripts    []string // names of registered scripts, or name@version; * and ? are wildcards
	Functions  []string // names of functions called by FCALL; * and ? are wildcards
	Tags       []string
	SHAs       []string // 40 hex digits
	Registered *bool
	Classes    []string // read, write, admin, script
	// Uses are commands used inside the script: FLUSHALL, CONFIG (with all subcommands), CONFIG|SET, COMMAND|
	// (without a subcommand), @dangerous (an ACL category); * and ? are wildcards.
	Uses     []string
	Findings []string // lint rule ids, or a level: that level and worse

	Commands []string // plain commands (not scripts), written as in Uses; * is every command

	MinKeys, MaxKeys         *int
	MinArgBytes, MaxArgBytes *int64 // all arguments of the call together

	Hours []string // "22:00-06:00", "Mon-Fri 09:00-17:00", "Sat,Sun"
	Zone  string   // IANA time zone of Hours; empty is UTC
}

// Rule is one entry of a policy.
type Rule struct {
	Name  string
	Match Match

	Action        Action
	Message       string // for Deny and Audit: what the client, or the log, is told
	Route         Route
	Deadline      time.Duration
	MaxConcurrent int // calls of one script at the same time; 0 is no limit
	Rates         []Rate
	Priority      *Priority
	Version       string // the version that runs instead of the active one

	Line  int            // where the rule starts in its file; 0 is unknown
	Lines map[string]int // lines of single fields ("networks", "networks[1]"), for errors; may be nil
}

// Spec is a policy as its author wrote it.
type Spec struct {
	Mode            Mode
	Default         Action // for script calls that no rule decides; Continue and Allow allow
	DefaultCommands Action // the same for plain commands
	Rules           []Rule
	File            string // for errors; may be empty
}

// ParseMode reads off, audit or enforce.
func ParseMode(text string) (Mode, error) {
	for i, name := range modeNames {
		if text == name {
			return Mode(i), nil
		}
	}
	return 0, fmt.Errorf("unknown mode '%s': use off, audit or enforce", text)
}

// ParseAction reads allow, deny or audit.
func ParseAction(text string) (Action, error) {
	for a := Allow; a <= Audit; a++ {
		if text == a.String() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("unknown action '%s': use allow, deny or audit", text)
}

// ParseRoute reads primary or replica.
func ParseRoute(text string) (Route, error) {
	switch text {
	case "primary":
		return RoutePrimary, nil
	case "replica":
		return RouteReplica, nil
	}
	return 0, fmt.Errorf("unknown route '%s': use primary or replica", text)
}

// ParsePriority reads low, normal or high.
func ParsePriority(text string) (Priority, error) {
	for p := PriorityLow; p <= PriorityHigh; p++ {
		if text == p.String() {
			return p, nil
		}
	}
	return 0, fmt.Errorf("unknown priority '%s': use low, normal or high", text)
}

// ParsePer reads script or user.
func ParsePer(text string) (Per, error) {
	switch text {
	case "script":
		return PerScript, nil
	case "user":
		return PerUser, nil
	}
	return 0, fmt.Errorf("unknown rate subject '%s': use script or user", text)
}

// ParseLimit reads calls per time, such as 10/s, 600/m or 0.5/h, and returns calls per second.
func ParseLimit(text string) (float64, error) {
	number, unit, ok := strings.Cut(text, "/")
	perSecond, known := map[string]float64{"s": 1, "m": 60, "h": 3600}[unit]
	calls, err := strconv.ParseFloat(number, 64)
	if !ok || !known || err != nil || !(calls > 0) || math.IsInf(calls, 0) {
		return 0, fmt.Errorf("bad rate '%s': use calls per second, minute or hour, such as 10/s, 600/m or 5/h", text)
	}
	if limit := calls / perSecond; limit <= MaxRate {
		return limit, nil
	}
	return 0, fmt.Errorf("rate '%s' is above %d/s, the highest that can be limited", text, int(MaxRate))
}

var (
	modeNames     = [...]string{"off", "audit", "enforce"}
	actionNames   = [...]string{"continue", "allow", "deny", "audit"}
	routeNames    = [...]string{"any", "primary", "replica"}
	priorityNames = [...]string{"low", "normal", "high"}
	perNames      = [...]string{"script", "user"}
)

func (m Mode) String() string     { return modeNames[m] }
func (a Action) String() string   { return actionNames[a] }
func (r Route) String() string    { return routeNames[r] }
func (p Priority) String() string { return priorityNames[p+1] }
func (p Per) String() string      { return perNames[p] }

// LimitText gives the rate as ParseLimit reads it, in the largest unit that keeps it a short number.
func (r Rate) LimitText() string {
	for _, u := range []struct {
		name    string
		seconds float64
	}{{"s", 1}, {"m", 60}, {"h", 3600}} {
		calls := r.Limit * u.seconds
		if math.Abs(calls-math.Round(calls)) < 1e-9*calls {
			return strconv.FormatFloat(math.Round(calls), 'f', -1, 64) + "/" + u.name
		}
	}
	return strconv.FormatFloat(r.Limit, 'g', -1, 64) + "/s"
}

// String gives "10/s per script".
func (r Rate) String() string { return r.LimitText() + " per " + r.Per.String() }

// burst returns the number of calls that may come at once.
func (r Rate) burst() int {
	if r.Burst > 0 {
		return r.Burst
	}
	return max(1, int(math.Ceil(r.Limit)))
}
