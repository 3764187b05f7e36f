package registry

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Op says on whose behalf an operation runs, and under which conditions.
type Op struct {
	Who string // goes to the audit log; may be empty
	Why string // goes to the audit log; may be empty

	// IfRevision, when not zero, is the revision at which the caller looked: the operation is
	// refused with a *ConflictError when the script has changed since. Changes to other scripts
	// do not matter.
	IfRevision uint64

	// Force overrides the checks that an operation's comment names.
	Force bool
}

// Result is what an operation did.
type Result struct {
	Change    Change    // as it stands in the audit log; zero when Unchanged
	Snapshot  *Snapshot // the state with the change in it
	Unchanged bool      // everything was as asked for already
	Warnings  []string  // what the caller should know besides
}

// plan is a change that has been worked out against one snapshot and not yet happened. The
// scripts in put are private to it.
type plan struct {
	put      []*Script
	remove   []string
	changes  []Change
	staged   []Staged
	anyway   bool // go on when a staged version can't be prepared, with a warning
	warnings []string
}

// maxAttempts bounds how often a change is worked out anew because other scripts changed
// meanwhile. Every failed attempt means that somebody else's succeeded.
const maxAttempts = 50

// change is the way of every operation on one script: look, work out, prepare, commit. When
// somebody else commits in between, it starts over, unless it is this script that they
// changed: then the person who asked must look again.
func (r *Registry) change(ctx context.Context, op Op, name string, work func(*Snapshot, *Script) (*plan, error)) (Result, error) {
	base, err := r.fresh(ctx)
	if err != nil {
		return Result{}, err
	}
	first := base.Script(name)
	asked := op.IfRevision
	if asked == 0 {
		asked = base.Revision
	}
	return r.commit(ctx, base, func(s *Snapshot) (*plan, error) {
		script := s.Script(name)
		gone := first != nil && script == nil
		if asked > s.Revision || gone || script != nil && script.Revision > asked {
			return nil, &ConflictError{Name: name, Asked: asked, Revision: s.Revision, Current: s}
		}
		p, err := work(s, script)
		if err != nil {
			return nil, err
		}
		for i := range p.changes {
			c := &p.changes[i]
			c.Name, c.Who, c.Why, c.Forced = name, op.Who, op.Why, c.Forced && op.Force
		}
		return p, nil
	})
}

// fresh returns the store's state as of now.
func (r *Registry) fresh(ctx context.Context) (*Snapshot, error) {
	if _, err := r.Sync(ctx); err != nil {
		return nil, err
	}
	return r.lastKnown(), nil
}

func (r *Registry) commit(ctx context.Context, base *Snapshot, work func(*Snapshot) (*plan, error)) (Result, error) {
	prepared := map[stagedKey]bool{}
	for range maxAttempts {
		p, err := work(base)
		if err != nil {
			return Result{}, err
		}
		if len(p.put)+len(p.remove) == 0 {
			return Result{Snapshot: base, Unchanged: true, Warnings: p.warnings}, nil
		}
		if err := r.stage(ctx, p, prepared); err != nil {
			return Result{}, err
		}
		next := r.follow(base, p)
		err = r.store.Commit(ctx, base, next, p.changes)
		var conflict *ConflictError
		if errors.As(err, &conflict) {
			if err := r.observe(ctx, conflict.Current); err != nil {
				return Result{}, err
			}
			base = r.lastKnown()
			continue
		}
		if err != nil {
			return Result{}, err
		}
		r.adopt(next)
		return Result{Change: p.changes[0], Snapshot: next, Warnings: p.warnings}, nil
	}
	return Result{}, &ConflictError{Asked: base.Revision, Revision: base.Revision, Current: base}
}

// follow stamps the plan's scripts and changes and makes the snapshot after base.
func (r *Registry) follow(base *Snapshot, p *plan) *Snapshot {
	at, revision := r.now(), base.Revision+1
	last := make(map[string]*Change, len(p.changes))
	for i := range p.changes {
		c := &p.changes[i]
		c.Revision, c.At, c.Instance = revision, at, r.instance
		last[c.Name] = c
	}
	for _, s := range p.put {
		c := last[s.Name]
		s.Revision, s.ChangedAt, s.ChangedBy, s.LastAction, s.Why = revision, at, c.Who, c.Action, c.Why
	}
	return base.Next(revision, newToken(), at, p.put, p.remove)
}

type stagedKey struct {
	script, sha string
	active      bool
}

func (s Staged) key() stagedKey { return stagedKey{s.Script, s.Version.SHA, s.Active} }

// stage prepares what the plan needs and earlier attempts did not prepare.
func (r *Registry) stage(ctx context.Context, p *plan, prepared map[stagedKey]bool) error {
	var staged []Staged
	for _, s := range p.staged {
		if !prepared[s.key()] {
			staged = append(staged, s)
		}
	}
	if r.prepare == nil || len(staged) == 0 {
		return nil
	}
	if err := r.prepare(ctx, staged); err != nil {
		var refused *PrepareError
		if !errors.As(err, &refused) {
			refused = &PrepareError{Err: err}
		}
		if refused.Name == "" {
			named := *refused
			named.Name, named.Version = staged[0].Script, staged[0].Version.ID
			refused = &named
		}
		if !p.anyway {
			return refused
		}
		p.warnings = append(p.warnings, fmt.Sprintf("went on although %s is not loaded on node %s: %v", refused.Version, orNone(refused.Node), refused.Err))
		for i := range p.changes {
			p.changes[i].Forced = true
		}
	}
	for _, s := range staged {
		prepared[s.key()] = true
	}
	return nil
}

// existing returns the script, or an error that names similar ones.
func existing(s *Snapshot, script *Script, name string) (*Script, error) {
	if script != nil {
		return script, nil
	}
	return nil, unknown(s, name)
}

func unknown(s *Snapshot, name string) error {
	e := &NotFoundError{Name: name}
	if len(name) <= maxName {
		names := make([]string, len(s.Scripts))
		for i, script := range s.Scripts {
			names[i] = script.Name
		}
		e.Close = closest(name, names)
	}
	return e
}

// versionOf returns a version of the script, or an error that lists the latest ones.
func versionOf(s *Script, id string) (*Version, error) {
	if v := s.Version(id); v != nil {
		return v, nil
	}
	const listed = 10
	e := &NotFoundError{Name: s.Name, Version: id}
	for i := len(s.Versions) - 1; i >= 0 && len(e.Close) < listed; i-- {
		e.Close = append(e.Close, s.Versions[i].ID)
	}
	return nil, e
}

// differences lists what a caller of a would notice when b ran instead.
func differences(a, b *Version) []string {
	var out []string
	note := func(what string, was, is any) {
		if was != is {
			out = append(out, fmt.Sprintf("%s %v, was %v", what, is, was))
		}
	}
	note("class", a.Class, b.Class)
	note("number of keys", count(a.Contract.MinKeys, a.Contract.VariableKeys), count(b.Contract.MinKeys, b.Contract.VariableKeys))
	note("number of arguments", count(a.Contract.MinArgs, a.Contract.VariableArgs), count(b.Contract.MinArgs, b.Contract.VariableArgs))
	if missing := without(a.Functions, b.Functions); len(missing) > 0 {
		out = append(out, "functions no longer registered: "+strings.Join(missing, ", "))
	}
	return out
}

func count(least int, variable bool) string {
	if variable {
		return fmt.Sprintf("%d or more", least)
	}
	return fmt.Sprint(least)
}

// without returns what is in a and not in b.
func without(a, b []string) []string {
	have := make(map[string]bool, len(b))
	for _, s := range b {
		have[s] = true
	}
	var out []string
	for _, s := range a {
		if !have[s] {
			out = append(out, s)
		}
	}
	return out
}

func newToken() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return hex.EncodeToString(b[:])
}
