package registry

import (
	"context"
	"time"
)

// Store keeps one registry. Its methods may be called by several goroutines. Errors that mean
// "cannot be reached now" are *UnavailableError.
type Store interface {
	// Load returns the current state, which is empty in a new store. It is cheap when nothing has
	// changed since the last call. A store that cannot be reached but remembers a state on local
	// disk returns both that and an *UnavailableError.
	Load(ctx context.Context) (*Snapshot, error)

	// Commit replaces base by next, and appends changes to the audit log, in one step which
	// happens wholly or not at all. base must be a snapshot that this store handed out, or a next
	// that it took. When the store is no longer at base the error is a *ConflictError with the
	// current state.
	Commit(ctx context.Context, base, next *Snapshot, changes []Change) error

	// Watch calls fn with each state that others committed, until ctx ends. fn may be called
	// with a state which is known already, or with the latest of several.
	Watch(ctx context.Context, fn func(*Snapshot))

	// Audit returns the latest changes, the newest first; limit must be positive.
	Audit(ctx context.Context, limit int) ([]Change, error)

	// Serving tells the store, without blocking, which revision this process serves now.
	Serving(revision uint64)

	// Fleet returns the processes that use this store.
	Fleet(ctx context.Context) ([]Instance, error)

	// Health tells whether the store can be reached.
	Health() Health

	// Shared tells whether other processes may use the same state.
	Shared() bool

	// String names the store in messages: its kind and place, without secrets.
	String() string

	Close() error
}

// Change is one entry of the audit log.
type Change struct {
	Revision uint64    `json:"revision"`
	At       time.Time `json:"at"`
	Who      string    `json:"who"`
	Action   string    `json:"action"` // one of the Action constants
	Name     string    `json:"name"`
	From     string    `json:"from,omitempty"` // version before; empty: none
	To       string    `json:"to,omitempty"`   // version after; empty: none
	Why      string    `json:"why,omitempty"`
	Note     string    `json:"note,omitempty"`     // what else the change did
	Forced   bool      `json:"forced,omitempty"`   // a check was overridden
	Instance string    `json:"instance,omitempty"` // the proxy through which it was made
}

// What a Change did.
const (
	ActionDeclare  = "declare"  // the configuration added or changed a script
	ActionForget   = "forget"   // the configuration no longer has a script
	ActionLoad     = "load"     // a version was added
	ActionActivate = "activate" // To became active
	ActionRollback = "rollback" // To became active again, or the canary From ended
	ActionCanary   = "canary"   // the canary To began or its share changed
	ActionPromote  = "promote"  // the canary To became active
	ActionAbort    = "abort"    // the canary From ended
	ActionRetire   = "retire"
	ActionUnretire = "unretire"
	ActionPin      = "pin"
	ActionUnpin    = "unpin"
	ActionTag      = "tag"
	ActionRemove   = "remove"
	ActionRestore  = "restore" // a store that lost commits got them back from a proxy
)

// Instance is one proxy of a fleet, as the store last heard of it.
type Instance struct {
	ID       string        `json:"id"`
	Address  string        `json:"address,omitempty"`
	Revision uint64        `json:"revision"` // what it serves
	Started  time.Time     `json:"started"`
	Seen     time.Time     `json:"seen"` // by the store's clock
	Age      time.Duration `json:"age"`  // since Seen
	Away     bool          `json:"away"` // not heard of for several heartbeats: stopped, or cut off from the store and serving Revision
}

// Health tells how a process gets on with its store.
type Health struct {
	Away  bool      // the last attempt to reach it failed
	Since time.Time // of the last change of Away
	Error string    // of the last attempt, when Away
}
