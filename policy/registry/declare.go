package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Declared is a script as the configuration describes it.
type Declared struct {
	Name     string
	Kind     Kind
	Tags     []string
	Active   string // a version id; empty: the last of Versions
	Versions []DeclaredVersion
}

// DeclaredVersion is one version in the configuration.
type DeclaredVersion struct {
	ID     string // empty: the first 12 digits of the body's sha
	Body   []byte
	Class  Class // ClassAuto: what the analysis finds
	Pinned bool
	Why    string
}

const configuration = "configuration" // who, in the audit log

// declaration is a checked list of Declared, with what the analysis found.
type declaration struct {
	scripts  []declared
	byName   map[string]bool
	analyses map[string]Analysis // by sha
}

type declared struct {
	Declared
	shas []string // of Versions
}

// Declare makes the registry hold what the configuration declares, at the start and after each
// reload. It adds scripts and versions, and moves an active pointer only where the declared
// active version is another than it was at the last Declare. Versions that are not declared
// any more are forgotten, except those which are active, previous, canary or pinned; scripts without
// any such version too. In a store that a fleet shares nothing is forgotten, since another
// proxy may still declare it.
//
// Everything is checked before anything changes, and all of it happens in one commit, or none. When the
// store can't be reached the declaration is served nevertheless, and committed as soon as the
// store is back; Result.Snapshot.Detached tells.
func (r *Registry) Declare(ctx context.Context, scripts []Declared) (Result, error) {
	d, err := r.checkDeclared(scripts)
	if err != nil {
		return Result{}, err
	}
	r.declaring.Lock()
	defer r.declaring.Unlock()
	res, err := r.commitDeclaration(ctx, d)
	var away *UnavailableError
	if errors.As(err, &away) {
		return r.declareDetached(ctx, d, away)
	}
	return res, err
}

func (r *Registry) commitDeclaration(ctx context.Context, d *declaration) (Result, error) {
	base, err := r.fresh(ctx)
	if err != nil {
		return Result{}, err
	}
	r.mu.Lock()
	if r.pending != nil {
		r.pending = d
	}
	r.mu.Unlock()
	res, err := r.commit(ctx, base, func(s *Snapshot) (*plan, error) { return r.planDeclaration(s, d) })
	if err != nil {
		return Result{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending = nil
	if r.current.Load() != r.known {
		r.serve(r.known)
	}
	return res, nil
}

// declareDetached serves d without the store.
func (r *Registry) declareDetached(ctx context.Context, d *declaration, away *UnavailableError) (Result, error) {
	p, err := r.planDeclaration(r.lastKnown(), d)
	if err != nil {
		return Result{}, err
	}
	if err := r.stage(ctx, p, map[stagedKey]bool{}); err != nil {
		return Result{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending, r.detached = d, true
	s := r.overlay(r.known)
	if s != r.current.Load() {
		r.serve(s)
	}
	r.log.Warn("registry: the configuration is served, but not yet saved", "store", r.store.String(), "error", away.Err)
	return Result{Snapshot: s, Warnings: append(p.warnings, "served from the configuration, and to be saved when the store is back: "+away.Error())}, nil
}

// declareAgain commits a pending declaration each time the store comes back.
func (r *Registry) declareAgain(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.back:
		}
		r.declaring.Lock()
		r.mu.Lock()
		d := r.pending
		r.mu.Unlock()
		if d != nil {
			r.retryDeclaration(ctx, d)
		}
		r.declaring.Unlock()
	}
}

func (r *Registry) retryDeclaration(ctx context.Context, d *declaration) {
	_, err := r.commitDeclaration(ctx, d)
	if err == nil {
		r.log.Info("registry: what the configuration declared while the store was away is saved", "store", r.store.String())
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var away *UnavailableError
	if errors.As(err, &away) {
		r.detached = true // adopt tries again
		return
	}
	r.log.Error("registry: what the configuration declared while the store was away can't be saved; it is served by this proxy until the next reload", "store", r.store.String(), "error", err)
}

// overlay lays the pending declaration, if any, over s. The caller holds mu.
func (r *Registry) overlay(s *Snapshot) *Snapshot {
	if r.pending == nil {
		return s
	}
	p, err := r.planDeclaration(s, r.pending)
	if err != nil {
		r.log.Error("registry: what the configuration declared while the store was away does not go with the store's state, which is served instead", "error", err)
		return s
	}
	if len(p.put)+len(p.remove) == 0 {
		return s
	}
	laid := s.Next(s.Revision, s.Token, s.At, p.put, p.remove)
	laid.Detached = true
	return laid
}

// checkDeclared validates and analyses everything, and reports all that is wrong at once.
func (r *Registry) checkDeclared(scripts []Declared) (*declaration, error) {
	d := &declaration{byName: map[string]bool{}, analyses: map[string]Analysis{}}
	var errs []error
	for _, s := range scripts {
		checked, err := r.checkOne(d, s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.byName[s.Name] = true
		d.scripts = append(d.scripts, checked)
	}
	return d, errors.Join(errs...)
}

func (r *Registry) checkOne(d *declaration, s Declared) (declared, error) {
	out := declared{Declared: s}
	if err := ValidateName(s.Name); err != nil {
		return out, invalid("", "%v", err)
	}
	if d.byName[s.Name] {
		return out, invalid(s.Name, "it is declared twice; keep one declaration")
	}
	if len(s.Versions) == 0 {
		return out, invalid(s.Name, "no version is declared; give at least one body")
	}
	out.Versions = slices.Clone(s.Versions)
	ids, bodies := map[string]bool{}, map[string]string{}
	for i := range out.Versions {
		v := &out.Versions[i]
		sha := SHA(v.Body)
		v.ID = cmp.Or(v.ID, sha[:12])
		switch {
		case ids[v.ID]:
			return out, invalid(s.Name, "version %s is declared twice; give each its own id", v.ID)
		case bodies[sha] != "":
			return out, invalid(s.Name, "versions %s and %s have the same body; remove one of them", bodies[sha], v.ID)
		}
		ids[v.ID], bodies[sha] = true, v.ID
		out.shas = append(out.shas, sha)
		if _, done := d.analyses[sha]; done {
			continue
		}
		if known := r.knownAnalysis(s, v.ID, sha); known != nil {
			d.analyses[sha] = *known
			continue
		}
		a, err := r.check(s.Name, s.Kind, v.ID, v.Body)
		if err != nil {
			return out, err
		}
		d.analyses[sha] = a
	}
	out.Active = cmp.Or(s.Active, out.Versions[len(out.Versions)-1].ID)
	if !ids[out.Active] {
		return out, invalid(s.Name, "the declared active version %q is not among the declared versions; declare its body, or name one of: %s", out.Active, strings.Join(versionIDs(out.Versions), ", "))
	}
	return out, nil
}

// knownAnalysis spares a restart the analysis of what has been analysed before.
func (r *Registry) knownAnalysis(s Declared, id, sha string) *Analysis {
	script := r.lastKnown().Script(s.Name)
	if script == nil || script.Kind != s.Kind {
		return nil
	}
	v := script.Version(id)
	if v == nil || v.SHA != sha || v.ClassSet {
		return nil
	}
	return &Analysis{Class: v.Class, Flags: v.Flags, Contract: v.Contract, Findings: v.Findings, Functions: v.Functions}
}

func versionIDs(versions []DeclaredVersion) []string {
	ids := make([]string, len(versions))
	for i, v := range versions {
		ids[i] = v.ID
	}
	return ids
}

// planDeclaration works out what d changes in s.
func (r *Registry) planDeclaration(s *Snapshot, d *declaration) (*plan, error) {
	p := &plan{}
	for i := range d.scripts {
		if err := r.planDeclared(p, s.Script(d.scripts[i].Name), &d.scripts[i], d.analyses); err != nil {
			return nil, err
		}
	}
	if r.store.Shared() {
		return p, nil
	}
	for _, script := range s.Scripts {
		if !d.byName[script.Name] {
			p.forget(script, nil)
		}
	}
	return p, nil
}

func (r *Registry) planDeclared(p *plan, old *Script, d *declared, analyses map[string]Analysis) error {
	script := &Script{Name: d.Name, Kind: d.Kind}
	if old != nil {
		if old.Kind != d.Kind {
			return invalid(d.Name, "it is declared as a %v, but the registry holds a %v of that name; choose another name, or remove the old one", d.Kind, old.Kind)
		}
		script = old.clone()
	}
	changed := old == nil
	var notes []string
	var staged []Staged
	for i, v := range d.Versions {
		have := script.Version(v.ID)
		switch {
		case have == nil:
			if twin := script.VersionBySHA(d.shas[i]); twin != nil {
				return invalid(d.Name, "version %s is declared with the body of version %s; a name holds a body once: declare it as %s", v.ID, twin.ID, twin.ID)
			}
			have = r.newVersion(v.ID, d.shas[i], v.Body, v.Class, analyses[d.shas[i]], configuration, v.Why)
			have.Declared, have.Pinned, have.DeclaredPinned = true, v.Pinned, v.Pinned
			script.Versions = append(script.Versions, have)
			staged = append(staged, Staged{Script: d.Name, Kind: d.Kind, Version: have, Active: v.ID == d.Active})
			notes = append(notes, "added "+v.ID)
			changed = true
		case have.SHA != d.shas[i]:
			return invalid(d.Name, "version %s is declared with another body (sha %s) than the registry holds (sha %s); versions never change: give the new body a new version id", v.ID, d.shas[i], have.SHA)
		default:
			changed = redeclare(script, have, &v, analyses[have.SHA]) || changed
		}
	}
	if len(script.Versions) > r.maxVersions {
		return r.tooMany(d.Name)
	}
	if !slices.Equal(script.Tags, d.Tags) && d.Tags != nil {
		script.Tags, changed = slices.Clone(d.Tags), true
	}
	c := Change{Who: configuration, Action: ActionDeclare, Name: d.Name, From: script.Active, To: script.Active}
	if d.Active != script.DeclaredActive {
		changed = true
		script.DeclaredActive = d.Active
		if d.Active != script.Active {
			target := script.Version(d.Active)
			if target.Retired {
				return invalid(d.Name, "version %s is declared active, but it has been retired; declare another, or unretire it", d.Active)
			}
			p.warnDiffering(script, target)
			if script.Canary != nil {
				notes = append(notes, "ended the canary of "+script.Canary.Version)
			}
			script.moveTo(r, target.ID)
			c.To = target.ID
			if !slices.ContainsFunc(staged, func(s Staged) bool { return s.Version.ID == target.ID }) {
				staged = append(staged, Staged{Script: d.Name, Kind: d.Kind, Version: script.Version(target.ID), Active: true})
			}
		}
	}
	script.Override = script.DeclaredActive != script.Active
	if !r.store.Shared() {
		changed = script.prune(d, &notes) || changed
	}
	if changed {
		c.Note = strings.Join(notes, ", ")
		p.put, p.changes, p.staged = append(p.put, script), append(p.changes, c), append(p.staged, staged...)
	}
	return nil
}

// redeclare brings what the configuration may change about a version up to date.
func redeclare(script *Script, have *Version, v *DeclaredVersion, a Analysis) bool {
	next := *have
	next.Declared = true
	if v.Pinned != have.DeclaredPinned {
		next.Pinned, next.DeclaredPinned = v.Pinned, v.Pinned
	}
	switch {
	case v.Class != ClassAuto:
		next.Class, next.ClassSet = v.Class, true
	case have.Declared && have.ClassSet:
		next.Class, next.ClassSet = resolve(a.Class), false
	}
	if next.Declared == have.Declared && next.Pinned == have.Pinned && next.DeclaredPinned == have.DeclaredPinned &&
		next.Class == have.Class && next.ClassSet == have.ClassSet {
		return false
	}
	*script.edit(have.ID) = next
	return true
}

// prune drops versions which came from the configuration, are not in d any more and have no
// role left. d is nil for a script that is not declared at all.
func (s *Script) prune(d *declared, notes *[]string) bool {
	changed := false
	s.Versions = slices.DeleteFunc(s.Versions, func(v *Version) bool {
		if !v.Declared || d != nil && slices.ContainsFunc(d.Versions, func(w DeclaredVersion) bool { return w.ID == v.ID }) {
			return false
		}
		if d != nil && (v.ID == s.Active || v.ID == s.Previous || v.Pinned || s.Canary != nil && s.Canary.Version == v.ID) {
			return false
		}
		*notes = append(*notes, "forgot "+v.ID)
		changed = true
		return true
	})
	return changed
}

// forget takes a script out that is not declared any more, unless versions were loaded at
// runtime: it then keeps everything that has a role.
func (p *plan) forget(old *Script, notes []string) {
	if !slices.ContainsFunc(old.Versions, func(v *Version) bool { return v.Declared }) {
		return
	}
	c := Change{Who: configuration, Action: ActionForget, Name: old.Name, From: old.Active, Note: "not declared any more"}
	if !slices.ContainsFunc(old.Versions, func(v *Version) bool { return !v.Declared }) {
		p.remove, p.changes = append(p.remove, old.Name), append(p.changes, c)
		return
	}
	script := old.clone()
	changed := script.prune(&declared{}, &notes)
	if script.DeclaredActive != "" || script.Override {
		script.DeclaredActive, script.Override, changed = "", false, true
	}
	if changed {
		c.To = script.Active
		c.Note = fmt.Sprintf("%s; kept what was loaded at runtime; %s", c.Note, strings.Join(notes, ", "))
		p.put, p.changes = append(p.put, script), append(p.changes, c)
	}
}
