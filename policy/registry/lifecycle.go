package registry

import (
	"context"
	"slices"
)

// Retire takes a version out of use, or every version when version is empty: calls get answer
// (empty: AnswerNoScript). The version of a running canary can't be retired, and the active one only
// with Op.Force, since calls by name then fail.
func (r *Registry) Retire(ctx context.Context, op Op, name, version string, answer Answer) (Result, error) {
	switch answer {
	case "":
		answer = AnswerNoScript
	case AnswerNoScript, AnswerDenied:
	default:
		return Result{}, invalid(name, "a retired version answers %q or %q, not %q", AnswerNoScript, AnswerDenied, answer)
	}
	return r.change(ctx, op, name, func(s *Snapshot, old *Script) (*plan, error) {
		p, err := each(s, old, name, version, func(v *Version) bool {
			changed := !v.Retired || v.RetiredAnswer != answer
			v.Retired, v.RetiredAnswer = true, answer
			return changed
		})
		if err != nil || len(p.put) == 0 {
			return p, err
		}
		script := p.put[0]
		if script.Canary != nil && script.Version(script.Canary.Version).Retired {
			return nil, invalid(name, "%s is the running canary; abort it first", script.Canary.Version)
		}
		active, before := script.ActiveVersion(), old.ActiveVersion()
		retiresActive := active != nil && active.Retired && !before.Retired
		if retiresActive && !op.Force {
			return nil, invalid(name, "%s is the active version, and calls by name would fail; activate another first, or repeat with force", active.ID)
		}
		c := &p.changes[0]
		c.Action, c.From, c.Note, c.Forced = ActionRetire, version, "answers "+string(answer), retiresActive
		if version == "" {
			c.Note = "all versions; " + c.Note
		}
		return p, nil
	})
}

// Unretire takes a version back into use, or every version when version is empty.
func (r *Registry) Unretire(ctx context.Context, op Op, name, version string) (Result, error) {
	return r.change(ctx, op, name, func(s *Snapshot, old *Script) (*plan, error) {
		p, err := each(s, old, name, version, func(v *Version) bool {
			changed := v.Retired
			v.Retired, v.RetiredAnswer = false, ""
			return changed
		})
		if err != nil || len(p.put) == 0 {
			return p, err
		}
		c := &p.changes[0]
		c.Action, c.To = ActionUnretire, version
		for _, v := range p.put[0].Versions {
			if old.Version(v.ID).Retired && !v.Retired {
				p.staged = append(p.staged, Staged{Script: name, Kind: old.Kind, Version: v, Active: v.ID == old.Active})
			}
		}
		return p, nil
	})
}

// Pin makes calls by a version's sha run that version, whatever is active; with pinned false,
// they follow the active version again.
func (r *Registry) Pin(ctx context.Context, op Op, name, version string, pinned bool) (Result, error) {
	return r.change(ctx, op, name, func(s *Snapshot, old *Script) (*plan, error) {
		old, err := existing(s, old, name)
		if err != nil {
			return nil, err
		}
		if _, err := versionOf(old, version); err != nil {
			return nil, err
		}
		p, err := each(s, old, name, version, func(v *Version) bool {
			changed := v.Pinned != pinned
			v.Pinned = pinned
			return changed
		})
		if err != nil || len(p.put) == 0 {
			return p, err
		}
		p.changes[0].Action, p.changes[0].To = ActionPin, version
		if !pinned {
			p.changes[0].Action = ActionUnpin
		}
		return p, nil
	})
}

// Tag replaces the script's tags.
func (r *Registry) Tag(ctx context.Context, op Op, name string, tags []string) (Result, error) {
	for _, tag := range tags {
		if err := validate("tag", tag); err != nil {
			return Result{}, invalid(name, "%v", err)
		}
	}
	tags = slices.Compact(slices.Sorted(slices.Values(tags)))
	return r.change(ctx, op, name, func(s *Snapshot, old *Script) (*plan, error) {
		old, err := existing(s, old, name)
		if err != nil {
			return nil, err
		}
		if slices.Equal(old.Tags, tags) {
			return &plan{}, nil
		}
		script := old.clone()
		script.Tags = tags
		return script.alone(Change{Action: ActionTag}), nil
	})
}

// Remove forgets a version and its body, or the whole script when version is empty. The active
// version and a running canary can't be removed alone; a script whose active version is not
// retired only with Op.Force. What the configuration declares comes back at the next Declare.
func (r *Registry) Remove(ctx context.Context, op Op, name, version string) (Result, error) {
	return r.change(ctx, op, name, func(s *Snapshot, old *Script) (*plan, error) {
		old, err := existing(s, old, name)
		if err != nil {
			return nil, err
		}
		if version == "" {
			return old.removal(op.Force)
		}
		v, err := versionOf(old, version)
		if err != nil {
			return nil, err
		}
		switch {
		case v.ID == old.Active:
			return nil, invalid(name, "%s is the active version; activate another first", version)
		case old.Canary != nil && old.Canary.Version == v.ID:
			return nil, invalid(name, "%s is the running canary; abort it first", version)
		}
		if len(old.Versions) == 1 {
			return old.removal(op.Force)
		}
		script := old.clone()
		script.Versions = slices.DeleteFunc(script.Versions, func(w *Version) bool { return w == v })
		if script.Previous == v.ID {
			script.Previous, script.RolledBack = "", false
		}
		p := script.alone(Change{Action: ActionRemove, From: version})
		if v.Declared {
			p.warnings = append(p.warnings, v.ID+" is declared in the configuration, and comes back at the next reload; take it out there too")
		}
		return p, nil
	})
}

func (s *Script) removal(force bool) (*plan, error) {
	active := s.ActiveVersion()
	inUse := active != nil && !active.Retired
	if inUse && !force {
		return nil, invalid(s.Name, "%s is active, and calls by name would fail; retire the script first, or repeat with force", active.ID)
	}
	p := &plan{remove: []string{s.Name}, changes: []Change{{Action: ActionRemove, From: s.Active, Note: "the whole script", Forced: inUse}}}
	if s.DeclaredActive != "" {
		p.warnings = append(p.warnings, "the script is declared in the configuration, and comes back at the next reload; take it out there too")
	}
	return p, nil
}

// each plans an edit of one version, or of all when version is empty. edit reports whether it
// changed anything; when nothing changed the plan is empty.
func each(s *Snapshot, old *Script, name, version string, edit func(*Version) bool) (*plan, error) {
	old, err := existing(s, old, name)
	if err != nil {
		return nil, err
	}
	if version != "" {
		if _, err := versionOf(old, version); err != nil {
			return nil, err
		}
	}
	script, changed := old.clone(), false
	for _, v := range old.Versions {
		if version == "" || v.ID == version {
			changed = edit(script.edit(v.ID)) || changed
		}
	}
	if !changed {
		return &plan{}, nil
	}
	return script.alone(Change{}), nil
}
