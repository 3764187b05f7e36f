// Package api is the shape of what the HTTP API takes and answers, shared by the
// server and the client. docs/openapi.yaml describes the same for others.
//
// What the registry keeps is answered in the registry's own types, whose JSON is
// stable; here is what is added to them.
package api

import (
	"fmt"
	"time"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

// Scripts is the answer to GET /api/v1/scripts.
type Scripts struct {
	Registry
	Scripts []Script `json:"scripts"`
}

// Registry is the answer to GET /api/v1/registry: the state as a whole.
type Registry struct {
	Revision  uint64    `json:"revision"` // that this proxy serves
	Store     string    `json:"store"`
	Shared    bool      `json:"shared"` // other proxies use the same store
	Away      bool      `json:"away"`   // the store can't be reached
	Since     time.Time `json:"since"`  // of the last change of Away
	Error     string    `json:"error,omitempty"`
	Detached  bool      `json:"detached,omitempty"` // serves what the store has yet to hear of
	Overrides int       `json:"overrides"`          // scripts whose active version is not the declared one
	Instance  string    `json:"instance"`           // this proxy's name in the fleet
}

// Script is a script with what this proxy knows of its use.
type Script struct {
	registry.Script
	Use []Use `json:"use"` // for each version, in their order
}

// Calls sums the calls of all versions.
func (s *Script) Calls() (n uint64) {
	for _, u := range s.Use {
		n += u.Calls
	}
	return n
}

// LastUsed is the latest use of any version; zero when there was none.
func (s *Script) LastUsed() (at time.Time) {
	for _, u := range s.Use {
		if u.LastUsed.After(at) {
			at = u.LastUsed
		}
	}
	return at
}

// States are the words for what a version is to its script.
func States(s *registry.Script, v *registry.Version) []string {
	var out []string
	for _, state := range []struct {
		word string
		is   bool
	}{
		{"active", v.ID == s.Active},
		{"previous", v.ID == s.Previous},
		{"canary", s.Canary != nil && s.Canary.Version == v.ID},
		{"declared", v.ID == s.DeclaredActive},
		{"pinned", v.Pinned},
		{"retired", v.Retired},
	} {
		if state.is {
			out = append(out, state.word)
		}
	}
	return out
}

// Use is what this proxy knows of one version since it was started.
type Use struct {
	Version  string    `json:"version"`
	Bytes    int       `json:"bytes"` // of the body
	Calls    uint64    `json:"calls"`
	LastUsed time.Time `json:"last_used,omitzero"`
	Nodes    []NodeUse `json:"nodes,omitempty"`
	Breaker  *Breaker  `json:"breaker,omitempty"` // left out while it is closed
}

// NodeUse is a version on one node.
type NodeUse struct {
	Node     string    `json:"node"`
	Loaded   bool      `json:"loaded"`
	LastUsed time.Time `json:"last_used,omitzero"`
}

// Version is the answer to GET /api/v1/scripts/{name}/versions/{version}.
type Version struct {
	registry.Version
	Body       string `json:"body,omitempty"` // when it is UTF-8
	BodyBase64 []byte `json:"body_base64,omitempty"`
	Active     bool   `json:"active"`
}

// Change is the body of every request that changes one script. Which of the
// fields matter depends on the operation; the others must be left out.
type Change struct {
	Who string `json:"who,omitempty"` // for the audit log; empty: the address of the caller
	Why string `json:"why,omitempty"`

	Version string   `json:"version,omitempty"`
	Force   bool     `json:"force,omitempty"`
	Percent float64  `json:"percent,omitempty"` // canary
	Sticky  string   `json:"sticky,omitempty"`  // canary: key or client
	Answer  string   `json:"answer,omitempty"`  // retire: noscript or denied
	Tags    []string `json:"tags,omitempty"`    // load, tags
	Pinned  bool     `json:"pinned,omitempty"`  // load, pin

	Kind       string `json:"kind,omitempty"`        // load: script or function; empty: seen from the body
	Class      string `json:"class,omitempty"`       // load: auto, read or write
	Body       string `json:"body,omitempty"`        // load
	BodyBase64 []byte `json:"body_base64,omitempty"` // load: instead of body, for what is not UTF-8
}

// Result is the answer to a change.
type Result struct {
	Revision  uint64          `json:"revision"`         // of the registry, with the change in it
	Change    registry.Change `json:"change,omitzero"`  // as it stands in the audit log; left out when unchanged
	Unchanged bool            `json:"unchanged"`        // everything was as asked for already
	Warnings  []string        `json:"warnings"`         // what the caller should know besides
	Script    *Script         `json:"script,omitempty"` // after the change; left out when it was removed
}

// Diff is the answer to GET /api/v1/scripts/{name}/diff.
type Diff struct {
	Diff string `json:"diff"` // unified; empty when there is no difference
}

// Audit is the answer to GET /api/v1/audit.
type Audit struct {
	Changes []registry.Change `json:"changes"` // the newest first
}

// Fleet is the answer to GET /api/v1/fleet and GET /api/v1/wait.
type Fleet struct {
	Revision  uint64              `json:"revision"` // fleet: that this proxy serves; wait: that was waited for
	Instances []registry.Instance `json:"instances"`
}

// Codes of an Error.
const (
	CodeBadRequest   = "bad_request"
	CodeUnauthorized = "unauthorized"
	CodeForbidden    = "forbidden"
	CodeNotFound     = "not_found"
	CodeInvalid      = "invalid"      // can't succeed as it stands
	CodeConflict     = "conflict"     // somebody else was first; look again
	CodeContract     = "contract"     // asks something else of callers; repeat with force
	CodeNotLoaded    = "not_loaded"   // a node refused the version
	CodeForeign      = "foreign"      // scripts in use that only the servers know; repeat with force
	CodeUnavailable  = "unavailable"  // the store can't be reached
	CodeBroken       = "broken_store" // the store holds what this program can't use
	CodeTimeout      = "timeout"      // not every proxy served the revision in time
	CodeBusy         = "busy"         // another compaction is running
	CodeInternal     = "internal"
)

// Error is every answer that is not a success.
type Error struct {
	Status  int    `json:"-"` // of HTTP
	Message string `json:"error"`
	Code    string `json:"code"`

	Revision uint64              `json:"revision,omitempty"` // conflict: of the registry now
	Current  *registry.Script    `json:"current,omitempty"`  // conflict: the script now; left out when it is gone
	Node     string              `json:"node,omitempty"`     // not_loaded: which refused
	Behind   []registry.Instance `json:"behind,omitempty"`   // timeout: proxies that do not serve the revision
	Close    []string            `json:"close,omitempty"`    // not_found: what may have been meant
}

func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the proxy answered with status %d", e.Status)
	}
	return e.Message
}
