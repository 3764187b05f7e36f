package registry

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Activate makes a version the active one and ends a running canary. A version whose contract
// differs from the active one's is refused with a *ContractError unless Op.Force is set.
func (r *Registry) Activate(ctx context.Context, op Op, name, version string) (Result, error) {
	return r.change(ctx, op, name, func(s *Snapshot, old *Script) (*plan, error) {
		old, target, err := target(s, old, name, version)
		if err != nil {
			return nil, err
		}
		if target.ID == old.Active {
			p := &plan{}
			if old.Canary != nil {
				p.warnings = []string{fmt.Sprintf("%s is active already; the canary of %s goes on: abort it to end it", version, old.Canary.Version)}
			}
			return p, nil
		}
		forced, err := old.allows(target, op.Force)
		if err != nil {
			return nil, err
		}
		p := r.move(old, target, Change{Action: ActionActivate, Forced: forced})
		p.warnPinned(old)
		return p, nil
	})
}

// Rollback takes the latest change back: it ends a running canary, or else makes the previous
// version active again. Given a version in to, it makes that one active and ends a canary. No
// contract stands in the way of a version that has been active before; one that never was is
// checked like in Activate. Op.Force overrides that, and also a node on which the version can't be
// prepared.
func (r *Registry) Rollback(ctx context.Context, op Op, name, to string) (Result, error) {
	return r.change(ctx, op, name, func(s *Snapshot, old *Script) (*plan, error) {
		old, err := existing(s, old, name)
		if err != nil {
			return nil, err
		}
		if old.Canary != nil && (to == "" || to == old.Active) {
			return old.endCanary(Change{Action: ActionRollback, Note: "ended the canary; the active version stays"}), nil
		}
		if to == "" {
			if to, err = old.rollbackTarget(); err != nil {
				return nil, err
			}
		}
		_, target, err := target(s, old, name, to)
		if err != nil {
			return nil, err
		}
		if target.ID == old.Active {
			return &plan{}, nil
		}
		forced := false
		if target.ActivatedAt.IsZero() {
			if forced, err = old.allows(target, op.Force); err != nil {
				return nil, err
			}
		}
		p := r.move(old, target, Change{Action: ActionRollback, Forced: forced})
		p.put[0].RolledBack = true
		p.anyway = op.Force
		p.warnDiffering(old, target)
		p.warnPinned(old)
		return p, nil
	})
}

// rollbackTarget is where a rollback without a target goes.
func (s *Script) rollbackTarget() (string, error) {
	if s.Previous != "" && !s.RolledBack {
		return s.Previous, nil
	}
	var before []string
	byTime := slices.Clone(s.Versions)
	slices.SortStableFunc(byTime, func(a, b *Version) int { return b.ActivatedAt.Compare(a.ActivatedAt) })
	for _, v := range byTime {
		if !v.ActivatedAt.IsZero() && v.ID != s.Active && !v.Retired {
			before = append(before, v.ID)
		}
	}
	list := "no other version has been active"
	if len(before) > 0 {
		list = "these have been active before, the latest first: " + strings.Join(before, ", ")
	}
	if s.RolledBack {
		return "", invalid(s.Name, "it was rolled back already, from %s to %s; a second rollback would bring %s back: name the version to go to (%s)", s.Previous, s.Active, s.Previous, list)
	}
	return "", invalid(s.Name, "there is no previous version to go back to; name the version to go to (%s)", list)
}

// SetCanary begins to send percent of the calls to version, or changes the share of the canary
// which runs already; percent is 0.01 to 100, in hundredths, and sticky is StickyKey (also when
// empty) or StickyClient. A differing contract is refused unless Op.Force is set.
func (r *Registry) SetCanary(ctx context.Context, op Op, name, version string, percent float64, sticky string) (Result, error) {
	if sticky == "" {
		sticky = StickyKey
	}
	if err := validateShare(percent, sticky); err != nil {
		return Result{}, invalid(name, "%v", err)
	}
	percent = math.Round(percent*100) / 100
	return r.change(ctx, op, name, func(s *Snapshot, old *Script) (*plan, error) {
		old, target, err := target(s, old, name, version)
		if err != nil {
			return nil, err
		}
		switch {
		case old.Active == "":
			return nil, invalid(name, "no version is active, so there is nothing to compare a canary with; activate one")
		case old.Active == version:
			return nil, invalid(name, "%s is the active version; a canary must be another", version)
		case old.Kind == KindFunction && without(old.ActiveVersion().Functions, target.Functions) != nil:
			return nil, invalid(name, "%s lacks functions of the active version (%s), so that calls could not be shared between them", version,
				strings.Join(without(old.ActiveVersion().Functions, target.Functions), ", "))
		}
		forced, err := old.allows(target, op.Force)
		if err != nil {
			return nil, err
		}
		canary := newCanary(name, version, percent, sticky)
		canary.Since, canary.By = r.now(), op.Who
		c := Change{Action: ActionCanary, From: old.Active, To: version, Forced: forced, Note: fmt.Sprintf("%g %% by %s", percent, sticky)}
		if running := old.Canary; running != nil {
			if running.Version == version && running.Percent == percent && running.Sticky == sticky {
				return &plan{}, nil
			}
			if running.Version != version {
				c.Note += ", instead of " + running.Version
			}
		}
		script := old.clone()
		script.Canary = canary
		p := script.alone(c)
		p.staged = []Staged{{Script: name, Kind: old.Kind, Version: target}}
		return p, nil
	})
}

func validateShare(percent float64, sticky string) error {
	if !(percent >= 0.01 && percent <= 100) {
		return fmt.Errorf("a canary's share is 0.01 to 100 percent, not %g; abort a canary to end it", percent)
	}
	if sticky != StickyKey && sticky != StickyClient {
		return fmt.Errorf("a canary sticks to %q or %q, not to %q", StickyKey, StickyClient, sticky)
	}
	return nil
}

// Promote makes the running canary's version the active one.
func (r *Registry) Promote(ctx context.Context, op Op, name string) (Result, error) {
	return r.change(ctx, op, name, func(s *Snapshot, old *Script) (*plan, error) {
		old, err := withCanary(s, old, name)
		if err != nil {
			return nil, err
		}
		p := r.move(old, old.Version(old.Canary.Version), Change{Action: ActionPromote})
		p.warnPinned(old)
		return p, nil
	})
}

// Abort ends the running canary; the active version stays.
func (r *Registry) Abort(ctx context.Context, op Op, name string) (Result, error) {
	return r.change(ctx, op, name, func(s *Snapshot, old *Script) (*plan, error) {
		old, err := withCanary(s, old, name)
		if err != nil {
			return nil, err
		}
		return old.endCanary(Change{Action: ActionAbort}), nil
	})
}

func withCanary(s *Snapshot, old *Script, name string) (*Script, error) {
	old, err := existing(s, old, name)
	if err != nil {
		return nil, err
	}
	if old.Canary == nil {
		return nil, invalid(name, "no canary is running; start one, or activate a version")
	}
	return old, nil
}

// target finds a version that may get a pointer.
func target(s *Snapshot, script *Script, name, version string) (*Script, *Version, error) {
	script, err := existing(s, script, name)
	if err != nil {
		return nil, nil, err
	}
	v, err := versionOf(script, version)
	if err != nil {
		return nil, nil, err
	}
	if v.Retired {
		return nil, nil, invalid(name, "version %s is retired; unretire it first, or choose another", version)
	}
	return script, v, nil
}

// allows tells whether v may take calls that were meant for the active version, and whether
// only force made it so.
func (s *Script) allows(v *Version, force bool) (forced bool, err error) {
	active := s.ActiveVersion()
	if active == nil {
		return false, nil
	}
	d := differences(active, v)
	if len(d) > 0 && !force {
		return false, &ContractError{Name: s.Name, Active: active.ID, Version: v.ID, Differences: d}
	}
	return len(d) > 0, nil
}

// move plans the active pointer's way to target, which ends a canary.
func (r *Registry) move(old *Script, target *Version, c Change) *plan {
	script := old.clone()
	if old.Canary != nil && old.Canary.Version != target.ID {
		c.Note = "ended the canary of " + old.Canary.Version
	}
	script.moveTo(r, target.ID)
	c.From, c.To = old.Active, target.ID
	p := script.alone(c)
	p.staged = []Staged{{Script: old.Name, Kind: old.Kind, Version: target, Active: true}}
	return p
}

// moveTo sets the pointers of a clone.
func (s *Script) moveTo(r *Registry, id string) {
	s.Previous, s.Active = s.Active, id
	s.RolledBack, s.Canary = false, nil
	s.edit(id).ActivatedAt = r.now()
	s.Override = s.DeclaredActive != "" && s.DeclaredActive != id
}

// endCanary plans the end of the running canary.
func (s *Script) endCanary(c Change) *plan {
	script := s.clone()
	c.From, c.To = s.Canary.Version, s.Active
	script.Canary = nil
	return script.alone(c)
}

// warnPinned tells that the version which loses the pointer can still be called by its sha.
func (p *plan) warnPinned(old *Script) {
	if v := old.ActiveVersion(); v != nil && v.Pinned {
		p.warnings = append(p.warnings, fmt.Sprintf("%s of script %s is pinned: calls by its sha %s still run it; unpin it to redirect them", v.ID, old.Name, v.SHA))
	}
}

// warnDiffering tells what callers of the active version will notice.
func (p *plan) warnDiffering(old *Script, target *Version) {
	if active := old.ActiveVersion(); active != nil {
		if d := differences(active, target); len(d) > 0 {
			p.warnings = append(p.warnings, fmt.Sprintf("script %s: %s asks something else of its callers than %s: %s", old.Name, target.ID, active.ID, strings.Join(d, "; ")))
		}
	}
}
