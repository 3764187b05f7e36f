package api

import "time"

// Ready is the answer to GET /readyz for who accepts JSON.
type Ready struct {
	Ready    bool     `json:"ready"`
	Reasons  []string `json:"reasons"`  // why the proxy should get no traffic
	Warnings []string `json:"warnings"` // what should be known although it is ready
}

// Policy is the answer to GET /api/v1/policy.
type Policy struct {
	Mode            string `json:"mode"` // off, audit or enforce
	RulesFile       string `json:"rules_file,omitempty"`
	Default         string `json:"default"`          // of script calls that no rule decides: allow or deny
	DefaultCommands string `json:"default_commands"` // the same for plain commands
	// Rules are in their order; what the defaults did is the last one, without
	// a name.
	Rules    []PolicyRule `json:"rules"`
	Warnings []string     `json:"warnings"`          // about the rules
	Wall     []string     `json:"wall"`              // what the servers would let through that the policy denies
	Problem  string       `json:"problem,omitempty"` // why the rules in force are not those for the scripts as they are now
	Learning *Learning    `json:"learning,omitempty"`
}

// PolicyRule is a rule and what it did since the proxy was started.
type PolicyRule struct {
	Name    string `json:"name"`
	Action  string `json:"action"`
	Line    int    `json:"line,omitempty"`
	Allowed uint64 `json:"allowed"` // calls it allowed
	Denied  uint64 `json:"denied"`  // calls it denied
	Audited uint64 `json:"audited"` // calls it would have denied, or reported
	Applied uint64 `json:"applied"` // calls it set an attribute of
	Limited uint64 `json:"limited"` // calls its limits refused, or would have refused
}

// PolicyQuery is the body of POST /api/v1/policy/explain: a call. What is left
// out is left open; rules that depend on it are said to.
type PolicyQuery struct {
	User     string `json:"user,omitempty"`
	Addr     string `json:"addr,omitempty"`     // the client's IP address, or "unix"
	Listener string `json:"listener,omitempty"` // its name

	// Exactly one of the following says what is called.
	Command  string `json:"command,omitempty"`  // a plain command: GET, or "CONFIG SET"
	Script   string `json:"script,omitempty"`   // name, name@version, or a sha
	Function string `json:"function,omitempty"` // as FCALL has it
	Body     string `json:"body,omitempty"`     // of a script

	Class    string    `json:"class,omitempty"` // read or write; left out: what is known of the script
	Keys     *int      `json:"keys,omitempty"`
	ArgBytes *int64    `json:"arg_bytes,omitempty"`
	Time     time.Time `json:"time,omitzero"` // left out: now
}

// PolicyAnswer says what becomes of a call, and which rule decides.
type PolicyAnswer struct {
	Verdict    string            `json:"verdict"` // in mode enforce: allow, deny, or audit, which runs and is reported
	Rule       string            `json:"rule"`    // empty: the default
	Line       int               `json:"line,omitempty"`
	Reason     string            `json:"reason"`
	Certain    bool              `json:"certain"` // nothing that was left open can change whether it runs
	Mode       string            `json:"mode"`
	Of         string            `json:"of"` // what the call was taken for: "script 'transfer' version v2"
	Attributes []PolicyAttribute `json:"attributes"`
	Rules      []ExplainedRule   `json:"rules"`
	Text       string            `json:"text"` // all of it, for people
}

// PolicyAttribute is something that a rule sets.
type PolicyAttribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Rule  string `json:"rule"`
}

// ExplainedRule is one rule, and how the call stands to it.
type ExplainedRule struct {
	Name       string            `json:"name"`
	Action     string            `json:"action"`
	Line       int               `json:"line,omitempty"`
	Matches    string            `json:"matches"` // no, yes, or depends
	Reached    bool              `json:"reached"` // no rule before it decided for certain
	Conditions []PolicyCondition `json:"conditions"`
}

// PolicyCondition is one condition of a rule, and how the call stands to it.
type PolicyCondition struct {
	Field string `json:"field"`
	Wants string `json:"wants"`
	Has   string `json:"has"`
	Holds string `json:"holds"` // no, yes, or depends
}

// Learn is the body of POST /api/v1/policy/learn.
type Learn struct {
	For        string `json:"for"`                   // how long; a duration
	Networks   *bool  `json:"networks,omitempty"`    // whether rules name the clients' networks; left out: true
	ExactSizes bool   `json:"exact_sizes,omitempty"` // largest argument sizes as they were, not rounded up
}

// Learning is a learning run: the answer to GET, POST and DELETE of
// /api/v1/policy/learn.
type Learning struct {
	Running bool      `json:"running"`
	Started time.Time `json:"started"`
	Until   time.Time `json:"until"`           // when it ends or ended
	Calls   int       `json:"calls"`           // different ones
	Rules   string    `json:"rules,omitempty"` // the rule file up to now
	Notes   []string  `json:"notes"`
}
