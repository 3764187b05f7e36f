package registry

import (
	"fmt"
	"strings"
	"time"
)

// ConflictError says that somebody else changed the registry first. Nothing was changed.
type ConflictError struct {
	Name     string    // the script; empty when a store reports the conflict
	Asked    uint64    // the revision on which the change was based
	Revision uint64    // the current revision of the registry
	Current  *Snapshot // the current state
}

func (e *ConflictError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("the registry is at revision %d, not at %d: somebody changed it at the same time; nothing was changed; look again and retry", e.Revision, e.Asked)
	}
	if e.Asked > e.Revision {
		return fmt.Sprintf("script %s: revision %d was asked for, but the registry is only at %d; nothing was changed; look again and retry", e.Name, e.Asked, e.Revision)
	}
	what := "has been removed"
	if s := e.Current.Script(e.Name); s != nil {
		by := s.ChangedBy
		if by == "" {
			by = "somebody"
		}
		what = fmt.Sprintf("was changed at revision %d by %s (%s at %s); its active version is now %s", s.Revision, by, s.LastAction,
			s.ChangedAt.UTC().Format(time.RFC3339), orNone(s.Active))
	}
	return fmt.Sprintf("script %s %s, after revision %d; nothing was changed; look again and retry", e.Name, what, e.Asked)
}

// NotFoundError says that a script or version does not exist.
type NotFoundError struct {
	Name    string
	Version string   // empty: the script itself is unknown
	Close   []string // names, or ids of versions, that may have been meant
}

func (e *NotFoundError) Error() string {
	var b strings.Builder
	if e.Version == "" {
		fmt.Fprintf(&b, "no script is named %q", clip(e.Name))
	} else {
		fmt.Fprintf(&b, "script %s has no version %q", e.Name, clip(e.Version))
	}
	if len(e.Close) > 0 {
		verb := "did you mean "
		if e.Version != "" {
			verb = "it has "
		}
		b.WriteString("; " + verb + strings.Join(e.Close, ", "))
		if e.Version == "" {
			b.WriteString("?")
		}
	}
	return b.String()
}

// ContractError says that a version asks something else of its callers than the active one.
// Op.Force overrides it.
type ContractError struct {
	Name, Active, Version string
	Differences           []string
}

func (e *ContractError) Error() string {
	return fmt.Sprintf("script %s: %s asks something else of its callers than the active %s: %s; check the callers, then repeat with force",
		e.Name, e.Version, e.Active, strings.Join(e.Differences, "; "))
}

// PrepareError says that a version could not be loaded everywhere, so that no pointer moved.
type PrepareError struct {
	Node          string // empty when it is not known which node refused
	Name, Version string
	Err           error
}

func (e *PrepareError) Error() string {
	node := "a node"
	if e.Node != "" {
		node = "node " + e.Node
	}
	return fmt.Sprintf("script %s: %s could not be loaded on %s: %v; nothing was changed; repair the node or the script and retry", e.Name, e.Version, node, e.Err)
}

func (e *PrepareError) Unwrap() error { return e.Err }

// InvalidError says that a request can never succeed as it stands. Nothing was changed.
type InvalidError struct {
	Name string // the script; may be empty
	Text string // what is wrong and what to do
}

func (e *InvalidError) Error() string {
	if e.Name == "" {
		return e.Text
	}
	return "script " + clip(e.Name) + ": " + e.Text
}

func invalid(name, format string, args ...any) error {
	return &InvalidError{Name: name, Text: fmt.Sprintf(format, args...)}
}

// UnavailableError says that the store cannot be reached. What is served goes on unchanged.
type UnavailableError struct {
	Store        string
	MayHaveSaved bool // a commit was sent and no answer came back
	Err          error
}

func (e *UnavailableError) Error() string {
	outcome := "nothing was changed"
	if e.MayHaveSaved {
		outcome = "the change may or may not have been saved: look again when the store is back"
	}
	return fmt.Sprintf("the registry's store (%s) cannot be reached: %v; %s; calls are served as before", e.Store, e.Err, outcome)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// StoreError says that a store holds something which this program did not write, or not whole.
// None of it is used, and nothing is written over it.
type StoreError struct {
	Store string
	Text  string // what is wrong and what to do
}

func (e *StoreError) Error() string {
	return fmt.Sprintf("the registry's store (%s) %s", e.Store, e.Text)
}

func orNone(id string) string {
	if id == "" {
		return "none"
	}
	return id
}

// clip keeps a name which nobody has validated from flooding a message.
func clip(s string) string {
	if len(s) > maxName {
		return s[:maxName] + "…"
	}
	return s
}
