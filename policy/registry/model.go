package registry

import (
	"fmt"
	"slices"
	"time"
)

// Class tells whether a script may write.
type Class uint8

const (
	ClassAuto Class = iota // not said: take what the analysis of the body found
	ClassRead
	ClassWrite
)

var classNames = [...]string{ClassAuto: "auto", ClassRead: "read", ClassWrite: "write"}

// String returns "auto", "read" or "write".
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class %d", uint8(c))
}

// MarshalText is String for JSON.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText accepts what String returns; empty means auto.
func (c *Class) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*c = ClassAuto
		return nil
	}
	i := slices.Index(classNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("class %q is none of auto, read, write", text)
	}
	*c = Class(i)
	return nil
}

// Kind tells what the versions of a script are.
type Kind uint8

const (
	KindScript   Kind = iota // bodies for EVAL and SCRIPT LOAD
	KindFunction             // libraries for FUNCTION LOAD
)

var kindNames = [...]string{KindScript: "script", KindFunction: "function"}

// String returns "script" or "function".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// MarshalText is String for JSON.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText accepts what String returns; empty means script.
func (k *Kind) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*k = KindScript
		return nil
	}
	i := slices.Index(kindNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("kind %q is none of script, function", text)
	}
	*k = Kind(i)
	return nil
}

// Contract is what a body asks of its callers, as far as static analysis can tell.
type Contract struct {
	MinKeys      int  `json:"min_keys"`      // the highest constant index into KEYS
	MinArgs      int  `json:"min_args"`      // the highest constant index into ARGV
	VariableKeys bool `json:"variable_keys"` // KEYS is also indexed by a computed number, or taken whole
	VariableArgs bool `json:"variable_args"` // the same for ARGV
}

// Finding is one remark of the analysis about a body.
type Finding struct {
	Rule    string `json:"rule"`
	Level   string `json:"level"` // "error", "warning" or "info"
	Line    int    `json:"line"`  // from 1; 0 where no line is to blame
	Message string `json:"message"`
}

// Analysis is what an analyser found in a body.
type Analysis struct {
	Class     Class // ClassRead or ClassWrite; ClassAuto counts as write
	Flags     []string
	Contract  Contract
	Findings  []Finding
	Library   string   // KindFunction: the name in the body's first line
	Functions []string // KindFunction: the functions that the body registers
}

// Answer is what a caller of a retired version is told.
type Answer string

const (
	AnswerNoScript Answer = "noscript" // Redis's own NOSCRIPT, as if the script had never been there
	AnswerDenied   Answer = "denied"   // an error which says that the version is retired
)

// Version is one immutable body of a script. Values reachable from a Snapshot must not be
// written to.
type Version struct {
	ID        string    `json:"id"`
	SHA       string    `json:"sha"` // SHA-1 of Body, 40 lowercase hex digits
	Body      []byte    `json:"-"`   // kept apart by the stores, under SHA
	Class     Class     `json:"class"`
	ClassSet  bool      `json:"class_set,omitempty"` // Class was said by a person, not found by analysis
	Flags     []string  `json:"flags,omitempty"`
	Contract  Contract  `json:"contract"`
	Findings  []Finding `json:"findings,omitempty"`
	Functions []string  `json:"functions,omitempty"` // KindFunction: what the library registers

	Pinned         bool   `json:"pinned,omitempty"` // calls by SHA run this body, whatever is active
	DeclaredPinned bool   `json:"declared_pinned,omitempty"`
	Retired        bool   `json:"retired,omitempty"` // calls are answered with RetiredAnswer
	RetiredAnswer  Answer `json:"retired_answer,omitempty"`

	Declared    bool      `json:"declared,omitempty"` // from the configuration
	CreatedBy   string    `json:"created_by,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	ActivatedAt time.Time `json:"activated_at,omitzero"` // when it last became active; zero: never
	Why         string    `json:"why,omitempty"`
}

// Script is a name with its versions and pointers. Values reachable from a Snapshot must not
// be written to.
type Script struct {
	Name     string     `json:"name"`
	Kind     Kind       `json:"kind"`
	Tags     []string   `json:"tags,omitempty"`
	Versions []*Version `json:"versions"` // in the order in which they were created

	Active     string  `json:"active,omitempty"`      // version id; empty until the first activation
	Previous   string  `json:"previous,omitempty"`    // what was active before Active
	RolledBack bool    `json:"rolled_back,omitempty"` // Previous is what a rollback took back
	Canary     *Canary `json:"canary,omitempty"`

	DeclaredActive string `json:"declared_active,omitempty"` // empty: the configuration does not name this script
	Override       bool   `json:"override,omitempty"`        // Active was chosen at runtime against DeclaredActive

	Revision   uint64    `json:"revision"` // of the last change
	ChangedBy  string    `json:"changed_by,omitempty"`
	ChangedAt  time.Time `json:"changed_at"`
	LastAction string    `json:"last_action,omitempty"`
	Why        string    `json:"why,omitempty"`
}

// Version returns the version with that id, or nil.
func (s *Script) Version(id string) *Version {
	for _, v := range s.Versions {
		if v.ID == id {
			return v
		}
	}
	return nil
}

// VersionBySHA returns the version with that body, or nil. A name never holds a body twice.
func (s *Script) VersionBySHA(sha string) *Version {
	for _, v := range s.Versions {
		if v.SHA == sha {
			return v
		}
	}
	return nil
}

// ActiveVersion returns the active version, or nil before the first activation.
func (s *Script) ActiveVersion() *Version {
	if s.Active == "" {
		return nil
	}
	return s.Version(s.Active)
}

// clone returns a copy whose fields and list of versions may be changed; the versions
// themselves stay shared until edit copies one.
func (s *Script) clone() *Script {
	c := *s
	c.Versions = slices.Clone(s.Versions)
	return &c
}

// edit replaces a version of a clone by a copy that may be changed, and returns the copy.
func (s *Script) edit(id string) *Version {
	for i, v := range s.Versions {
		if v.ID == id {
			c := *v
			s.Versions[i] = &c
			return &c
		}
	}
	return nil
}
