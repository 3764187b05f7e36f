package api

import "time"

// Cache is the answer to GET /api/v1/cache: what the nodes hold in their script
// caches, and what clients put there themselves.
type Cache struct {
	Nodes        []CacheNode    `json:"nodes"`
	Limits       CacheLimits    `json:"limits"`
	Unregistered []ClientScript `json:"unregistered"` // brought by clients, the latest used first
	Foreign      []Foreign      `json:"foreign"`      // called by shas which this proxy does not know
	Shapes       []Shape        `json:"shapes"`       // bodies that differ only in literals
}

// CacheNode is the script cache of one node.
type CacheNode struct {
	Node    string `json:"node"`
	Role    string `json:"role"`
	Up      bool   `json:"up"`
	Scripts int64  `json:"scripts"` // that the node says it holds; -1: not known
	Memory  int64  `json:"memory"`  // bytes that scripts take there; -1: not known
	Alive   int    `json:"alive"`   // scripts that a compaction would load again
	// AliveBytes is the sum of their bodies.
	AliveBytes int64     `json:"alive_bytes"`
	Compacted  time.Time `json:"compacted,omitzero"` // when this proxy last did so
	Error      string    `json:"error,omitempty"`
}

// CacheLimits are scripts.compact of the configuration; 0 is no bound.
type CacheLimits struct {
	MaxScripts int    `json:"max_scripts"`
	MaxMemory  int64  `json:"max_memory"`
	Keep       string `json:"keep"` // a duration
}

// ClientScript is a script that clients brought.
type ClientScript struct {
	SHA      string    `json:"sha"`
	Bytes    int       `json:"bytes"`
	Class    string    `json:"class"`
	Calls    uint64    `json:"calls"`
	LastUsed time.Time `json:"last_used"`
	Alive    bool      `json:"alive"` // a compaction would load it again
	Begins   string    `json:"begins"`
	Nodes    []NodeUse `json:"nodes"`
}

// Foreign is a script that only the servers know.
type Foreign struct {
	SHA      string    `json:"sha"`
	LastUsed time.Time `json:"last_used"`
}

// Shape is a group of bodies that differ only in literals, which should be in KEYS
// and ARGV.
type Shape struct {
	Shape   string    `json:"shape"`  // the body with ? for each literal
	Bodies  int       `json:"bodies"` // different ones seen
	Example string    `json:"example"`
	Last    time.Time `json:"last"`
}

// Compact is the body of POST /api/v1/cache/compact.
type Compact struct {
	Nodes []string `json:"nodes,omitempty"` // addresses; empty: all
	Keep  string   `json:"keep,omitempty"`  // instead of scripts.compact.keep; a duration
	// Force goes on although scripts are in use which only the servers know:
	// their clients will see NOSCRIPT.
	Force bool `json:"force,omitempty"`
}

// Steps of a Progress.
const (
	StepStart = "start" // the node's cache is about to be emptied
	StepLoad  = "load"  // Loaded of Of scripts are there again
	StepDone  = "done"
	StepFail  = "failed" // see Error; the nodes after this one are left alone
	StepSkip  = "skipped"
	StepEnd   = "end" // of the whole
)

// Progress is one line of the answer to POST /api/v1/cache/compact.
type Progress struct {
	Step   string `json:"step"`
	Node   string `json:"node,omitempty"`
	Loaded int    `json:"loaded,omitempty"`
	Of     int    `json:"of,omitempty"`

	// done: the node's own numbers; -1 when not known.
	ScriptsBefore int64   `json:"scripts_before,omitempty"`
	ScriptsAfter  int64   `json:"scripts_after,omitempty"`
	MemoryBefore  int64   `json:"memory_before,omitempty"`
	MemoryAfter   int64   `json:"memory_after,omitempty"`
	Seconds       float64 `json:"seconds,omitempty"`

	Error string `json:"error,omitempty"`
	Code  string `json:"code,omitempty"` // failed, as in Error
}
