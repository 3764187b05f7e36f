package registry

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// Snapshot is the whole registry at one revision. It is immutable, and its methods may be
// called by any goroutine. Consecutive snapshots share the scripts that did not change, so
// that comparing the pointers tells what did.
type Snapshot struct {
	Revision uint64
	Token    string    // random, one per commit: tells two commits at one revision apart; empty where a store holds no state
	At       time.Time // of the commit
	Scripts  []*Script // sorted by name
	Detached bool      // holds what the configuration declared while the store could not be reached; the store has yet to hear of it

	once  sync.Once
	bySHA map[string]owner
}

type owner struct {
	script  *Script
	version *Version
	shared  bool
}

// NewSnapshot takes scripts over and sorts them by name.
func NewSnapshot(revision uint64, token string, at time.Time, scripts []*Script) *Snapshot {
	slices.SortFunc(scripts, func(a, b *Script) int { return strings.Compare(a.Name, b.Name) })
	return &Snapshot{Revision: revision, Token: token, At: at, Scripts: scripts}
}

// Script returns the script of that name, or nil.
func (s *Snapshot) Script(name string) *Script {
	i, found := s.find(name)
	if !found {
		return nil
	}
	return s.Scripts[i]
}

func (s *Snapshot) find(name string) (int, bool) {
	return sort.Find(len(s.Scripts), func(i int) int { return strings.Compare(name, s.Scripts[i].Name) })
}

// BySHA returns the script and version with that body, or nils. When several names hold the
// body, it returns the first by name whose version is not retired (the first by name, when all
// are) and shared is true: such a sha stands for its own body and must not be redirected to
// any name's active version.
func (s *Snapshot) BySHA(sha string) (script *Script, version *Version, shared bool) {
	s.once.Do(s.index)
	o := s.bySHA[sha]
	return o.script, o.version, o.shared
}

func (s *Snapshot) index() {
	s.bySHA = make(map[string]owner, len(s.Scripts))
	for _, script := range s.Scripts {
		for _, v := range script.Versions {
			first, taken := s.bySHA[v.SHA]
			switch {
			case !taken:
				s.bySHA[v.SHA] = owner{script, v, false}
			case first.version.Retired && !v.Retired:
				s.bySHA[v.SHA] = owner{script, v, true}
			default:
				first.shared = true
				s.bySHA[v.SHA] = first
			}
		}
	}
}

// Next returns the snapshot that follows s: put replaces or adds scripts, remove drops names.
// It takes put over.
func (s *Snapshot) Next(revision uint64, token string, at time.Time, put []*Script, remove []string) *Snapshot {
	byName := func(a, b *Script) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(put, byName)
	removed := make(map[string]bool, len(remove))
	for _, name := range remove {
		removed[name] = true
	}
	scripts := make([]*Script, 0, len(s.Scripts)+len(put))
	rest := s.Scripts
	for _, p := range put {
		i, found := slices.BinarySearchFunc(rest, p, byName)
		scripts = append(scripts, rest[:i]...)
		scripts = append(scripts, p)
		if found {
			i++
		}
		rest = rest[i:]
	}
	scripts = append(scripts, rest...)
	if len(removed) > 0 {
		scripts = slices.DeleteFunc(scripts, func(script *Script) bool { return removed[script.Name] })
	}
	return &Snapshot{Revision: revision, Token: token, At: at, Scripts: scripts}
}

// Validate checks every script, and that names are sorted and unique. The stores call it on
// what they read, so that a damaged or foreign state is refused as a whole.
func (s *Snapshot) Validate() error {
	for i, script := range s.Scripts {
		if i > 0 && s.Scripts[i-1].Name >= script.Name {
			return fmt.Errorf("script %q stands twice or out of order", script.Name)
		}
		if err := script.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks that the script is whole: names are well formed, bodies match their shas,
// and every pointer points at a version.
func (s *Script) Validate() error {
	if err := ValidateName(s.Name); err != nil {
		return err
	}
	if int(s.Kind) >= len(kindNames) {
		return fmt.Errorf("script %s: unknown %v", s.Name, s.Kind)
	}
	if len(s.Versions) == 0 {
		return fmt.Errorf("script %s has no versions", s.Name)
	}
	ids, shas := make(map[string]bool, len(s.Versions)), make(map[string]bool, len(s.Versions))
	for _, v := range s.Versions {
		switch {
		case v == nil:
			return fmt.Errorf("script %s: a version is null", s.Name)
		case ValidateVersion(v.ID) != nil:
			return fmt.Errorf("script %s: %w", s.Name, ValidateVersion(v.ID))
		case ids[v.ID]:
			return fmt.Errorf("script %s: version %s stands twice", s.Name, v.ID)
		case shas[v.SHA]:
			return fmt.Errorf("script %s: version %s has the body of another version", s.Name, v.ID)
		case SHA(v.Body) != v.SHA:
			return fmt.Errorf("script %s: version %s says sha %q, but its body has %s", s.Name, v.ID, v.SHA, SHA(v.Body))
		case int(v.Class) >= len(classNames):
			return fmt.Errorf("script %s: version %s: unknown %v", s.Name, v.ID, v.Class)
		}
		ids[v.ID], shas[v.SHA] = true, true
	}
	for pointer, id := range map[string]string{"active": s.Active, "previous": s.Previous} {
		if id != "" && !ids[id] {
			return fmt.Errorf("script %s: the %s version %q does not exist", s.Name, pointer, id)
		}
	}
	if c := s.Canary; c != nil {
		if !ids[c.Version] {
			return fmt.Errorf("script %s: the canary's version %q does not exist", s.Name, c.Version)
		}
		if err := validateShare(c.Percent, c.Sticky); err != nil {
			return fmt.Errorf("script %s: canary: %w", s.Name, err)
		}
	}
	return nil
}
