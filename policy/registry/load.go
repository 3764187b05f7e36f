package registry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Load describes a version to be added.
type Load struct {
	Name    string
	Version string // empty: v1, v2, … the next that is free
	Kind    Kind   // of a new script; an existing one has its kind
	Body    []byte
	Class   Class    // ClassAuto: what the analysis finds
	Tags    []string // added to the script's
	Pinned  bool
}

// LoadVersion adds a version, and the script when the name is new. The body is analysed and
// prepared on every node; nothing runs it until it is activated. Loading a body again that the
// script has already, under the same id or none, changes nothing.
func (r *Registry) LoadVersion(ctx context.Context, op Op, l Load) (Result, error) {
	if err := ValidateName(l.Name); err != nil {
		return Result{}, invalid("", "%v", err)
	}
	if int(l.Class) >= len(classNames) || int(l.Kind) >= len(kindNames) {
		return Result{}, invalid(l.Name, "unknown class or kind: %v, %v", l.Class, l.Kind)
	}
	a, err := r.check(l.Name, l.Kind, l.Version, l.Body)
	if err != nil {
		return Result{}, err
	}
	l.Body = slices.Clone(l.Body)
	sha := SHA(l.Body)
	var version *Version
	return r.change(ctx, op, l.Name, func(s *Snapshot, old *Script) (*plan, error) {
		script := &Script{Name: l.Name, Kind: l.Kind}
		if old != nil {
			if old.Kind != l.Kind {
				return nil, invalid(l.Name, "it holds versions of kind %v, and this is a %v; choose another name", old.Kind, l.Kind)
			}
			if same, err := loadedAlready(old, l.Version, sha); err != nil {
				return nil, err
			} else if same != nil {
				return &plan{warnings: []string{fmt.Sprintf("this body is %s already", same.ID)}}, nil
			}
			script = old.clone()
		}
		if len(script.Versions) >= r.maxVersions {
			return nil, r.tooMany(l.Name)
		}
		id := cmp.Or(l.Version, script.nextID())
		if version == nil || version.ID != id {
			version = r.newVersion(id, sha, l.Body, l.Class, a, op.Who, op.Why)
			version.Pinned = l.Pinned
		}
		script.Versions = append(script.Versions, version)
		script.Tags = append(script.Tags, without(l.Tags, script.Tags)...)
		p := script.alone(Change{Action: ActionLoad, To: id})
		p.staged = []Staged{{Script: l.Name, Kind: l.Kind, Version: version}}
		if other, _, _ := s.BySHA(sha); other != nil && other.Name != l.Name {
			p.warnings = append(p.warnings, fmt.Sprintf("script %s has this body too: calls by its sha run it as it is, and follow neither name's active version", other.Name))
		}
		return p, nil
	})
}

func loadedAlready(s *Script, id, sha string) (*Version, error) {
	same, named := s.VersionBySHA(sha), s.Version(id)
	switch {
	case same != nil && (id == "" || same == named):
		return same, nil
	case same != nil:
		return nil, invalid(s.Name, "this body is version %s already, and can't be %s too; a name holds a body once", same.ID, id)
	case named != nil:
		return nil, invalid(s.Name, "version %s exists with another body (sha %s); versions never change: choose another id, such as %s", id, named.SHA, s.nextID())
	}
	return nil, nil
}

// check refuses what can't become a version, and analyses the rest. An empty id is one that is
// yet to be chosen.
func (r *Registry) check(name string, kind Kind, id string, body []byte) (Analysis, error) {
	if id != "" {
		if err := ValidateVersion(id); err != nil {
			return Analysis{}, invalid(name, "%v", err)
		}
	}
	label := cmp.Or(id, "the new version")
	switch {
	case len(body) == 0:
		return Analysis{}, invalid(name, "the body of %s is empty", label)
	case len(body) > r.maxBody:
		return Analysis{}, invalid(name, "the body of %s has %d bytes; at most %d are allowed: move data out of the script, or raise the limit", label, len(body), r.maxBody)
	}
	if r.analyse == nil {
		return Analysis{Class: ClassWrite}, nil
	}
	a, err := r.analyse(kind, body)
	if err != nil {
		return Analysis{}, invalid(name, "%s does not parse: %v; correct the body", label, err)
	}
	if kind == KindFunction && a.Library != "" && a.Library != name {
		return Analysis{}, invalid(name, "%s is a library that calls itself %q in its first line; register it under that name, or change the line", label, a.Library)
	}
	return a, nil
}

func (r *Registry) newVersion(id, sha string, body []byte, class Class, a Analysis, who, why string) *Version {
	return &Version{
		ID: id, SHA: sha, Body: body, Class: resolve(cmp.Or(class, a.Class)), ClassSet: class != ClassAuto, Flags: a.Flags, Contract: a.Contract,
		Findings: a.Findings, Functions: a.Functions, CreatedBy: who, CreatedAt: r.now(), Why: why,
	}
}

// resolve makes write of what nobody knows.
func resolve(c Class) Class { return cmp.Or(c, ClassWrite) }

func (r *Registry) tooMany(name string) error {
	return invalid(name, "it would have more than %d versions; remove old ones", r.maxVersions)
}

// nextID returns "v" with the number after the highest in use.
func (s *Script) nextID() string {
	highest := 0
	for _, v := range s.Versions {
		if digits, ok := strings.CutPrefix(v.ID, "v"); ok {
			if n, err := strconv.Atoi(digits); err == nil && n < 1<<30 {
				highest = max(highest, n)
			}
		}
	}
	return "v" + strconv.Itoa(highest+1)
}

// alone is a plan that puts this script and nothing else.
func (s *Script) alone(c Change) *plan {
	return &plan{put: []*Script{s}, changes: []Change{c}}
}
