// Package operate is what operators can do, whichever way they ask: over HTTP or
// in the console.
package operate

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/policy/registry"
)

// Desk takes operators' requests. Its methods may be called by any goroutine; all
// fields must be set.
type Desk struct {
	Registry *registry.Registry
	Instance string
	// Shared tells whether other proxies use the registry's store.
	Shared bool
	// Changed does what must have happened before a change that was made here is
	// answered, and returns what the operator should know of it.
	Changed func(context.Context, registry.Result) []string
	// Use tells how the versions of scripts are used here.
	Use func([]*registry.Script) [][]api.Use
	// Nodes lists the servers behind the proxy.
	Nodes func() []api.Node
	// Breakers lists the breakers that have opened lately, and ResetBreaker closes
	// those of a script.
	Breakers     func() []api.Breaker
	ResetBreaker func(api.BreakerReset) error
	// Cache tells what the nodes hold in their script caches.
	Cache func(context.Context) (*api.Cache, error)
	// Compact empties the nodes' script caches and loads again what is in use. It
	// tells each step to progress, on the caller's goroutine.
	Compact func(ctx context.Context, c api.Compact, progress func(api.Progress)) error
}

// State tells how the registry is.
func (d *Desk) State() api.Registry { return d.state(d.Registry.Snapshot()) }

func (d *Desk) state(s *registry.Snapshot) api.Registry {
	h := d.Registry.Health()
	out := api.Registry{
		Revision: s.Revision, Store: d.Registry.Store(), Shared: d.Shared, Away: h.Away, Since: h.Since.UTC(), Error: h.Error,
		Detached: s.Detached, Instance: d.Instance,
	}
	for _, script := range s.Scripts {
		if script.Override {
			out.Overrides++
		}
	}
	return out
}

// List returns the scripts that match, in order of their names: all of tags, and of
// a kind unless that is empty.
func (d *Desk) List(tags []string, kind string) api.Scripts {
	s := d.Registry.Snapshot()
	out := api.Scripts{Registry: d.state(s), Scripts: []api.Script{}}
	var found []*registry.Script
	for _, script := range s.Scripts {
		if kind != "" && script.Kind.String() != kind || slices.ContainsFunc(tags, func(t string) bool { return !slices.Contains(script.Tags, t) }) {
			continue
		}
		found = append(found, script)
	}
	for i, use := range d.Use(found) {
		out.Scripts = append(out.Scripts, api.Script{Script: *found[i], Use: use})
	}
	return out
}

// Show returns one script.
func (d *Desk) Show(name string) (*api.Script, error) {
	script := d.Registry.Snapshot().Script(name)
	if script == nil {
		_, err := d.Registry.Diff(name, "", "") // for its error, which names similar scripts
		return nil, err
	}
	return d.script(script), nil
}

func (d *Desk) script(s *registry.Script) *api.Script {
	return &api.Script{Script: *s, Use: d.Use([]*registry.Script{s})[0]}
}

// Version returns one version with its body. An empty id is the active one's.
func (d *Desk) Version(name, id string) (*api.Version, error) {
	script, err := d.Show(name)
	if err != nil {
		return nil, err
	}
	if id == "" {
		id = script.Active
	}
	v := script.Version(id)
	if v == nil {
		_, err := d.Registry.Diff(name, id, id)
		return nil, err
	}
	out := &api.Version{Version: *v, Active: v.ID == script.Active}
	if utf8.Valid(v.Body) {
		out.Body = string(v.Body)
	} else {
		out.BodyBase64 = v.Body
	}
	return out, nil
}

// Load adds a version.
func (d *Desk) Load(ctx context.Context, op registry.Op, l registry.Load) (*api.Result, error) {
	return d.done(ctx, l.Name)(d.Registry.LoadVersion(ctx, op, l))
}

// KindOf tells what a body is: Redis takes a first line with name= for FUNCTION
// LOAD only, and refuses it in a script.
func KindOf(body []byte) registry.Kind {
	line, _, _ := strings.Cut(string(body[:min(len(body), 4096)]), "\n")
	if strings.HasPrefix(line, "#!") && slices.ContainsFunc(strings.Fields(line), func(w string) bool { return strings.HasPrefix(w, "name=") }) {
		return registry.KindFunction
	}
	return registry.KindScript
}

// Activate makes a version the active one.
func (d *Desk) Activate(ctx context.Context, op registry.Op, name, version string) (*api.Result, error) {
	return d.done(ctx, name)(d.Registry.Activate(ctx, op, name, version))
}

// Rollback goes back to the previous version, or to one that is named.
func (d *Desk) Rollback(ctx context.Context, op registry.Op, name, to string) (*api.Result, error) {
	return d.done(ctx, name)(d.Registry.Rollback(ctx, op, name, to))
}

// Canary sends a share of the calls to a version.
func (d *Desk) Canary(ctx context.Context, op registry.Op, name, version string, percent float64, sticky string) (*api.Result, error) {
	return d.done(ctx, name)(d.Registry.SetCanary(ctx, op, name, version, percent, sticky))
}

// Promote makes the canary the active version.
func (d *Desk) Promote(ctx context.Context, op registry.Op, name string) (*api.Result, error) {
	return d.done(ctx, name)(d.Registry.Promote(ctx, op, name))
}

// Abort ends the canary.
func (d *Desk) Abort(ctx context.Context, op registry.Op, name string) (*api.Result, error) {
	return d.done(ctx, name)(d.Registry.Abort(ctx, op, name))
}

// Retire takes a version, or all, out of use.
func (d *Desk) Retire(ctx context.Context, op registry.Op, name, version string, answer registry.Answer) (*api.Result, error) {
	return d.done(ctx, name)(d.Registry.Retire(ctx, op, name, version, answer))
}

// Unretire takes a version, or all, back into use.
func (d *Desk) Unretire(ctx context.Context, op registry.Op, name, version string) (*api.Result, error) {
	return d.done(ctx, name)(d.Registry.Unretire(ctx, op, name, version))
}

// Pin makes calls by a version's sha run that version, or the active one again.
func (d *Desk) Pin(ctx context.Context, op registry.Op, name, version string, pinned bool) (*api.Result, error) {
	return d.done(ctx, name)(d.Registry.Pin(ctx, op, name, version, pinned))
}

// Tag replaces the tags.
func (d *Desk) Tag(ctx context.Context, op registry.Op, name string, tags []string) (*api.Result, error) {
	return d.done(ctx, name)(d.Registry.Tag(ctx, op, name, tags))
}

// Remove forgets a version, or the whole script.
func (d *Desk) Remove(ctx context.Context, op registry.Op, name, version string) (*api.Result, error) {
	return d.done(ctx, name)(d.Registry.Remove(ctx, op, name, version))
}

// done turns what the registry answered into what the operator is told.
func (d *Desk) done(ctx context.Context, name string) func(registry.Result, error) (*api.Result, error) {
	return func(r registry.Result, err error) (*api.Result, error) {
		if err != nil {
			return nil, err
		}
		out := &api.Result{Revision: r.Snapshot.Revision, Unchanged: r.Unchanged, Warnings: r.Warnings}
		if !r.Unchanged {
			out.Change = r.Change
			out.Warnings = append(out.Warnings, d.Changed(ctx, r)...)
		}
		if out.Warnings == nil {
			out.Warnings = []string{}
		}
		if script := r.Snapshot.Script(name); script != nil {
			out.Script = d.script(script)
		}
		return out, nil
	}
}

// ForeignError says that scripts are in use which only the servers know.
type ForeignError struct{ Text string }

func (e *ForeignError) Error() string { return e.Text }

// BusyError says that the same is being done already.
type BusyError struct{ Text string }

func (e *BusyError) Error() string { return e.Text }

// Explain turns an error of a Desk or its registry into what is answered.
func Explain(err error) *api.Error {
	out := &api.Error{Status: http.StatusInternalServerError, Code: api.CodeInternal, Message: err.Error()}
	var (
		answered *api.Error
		conflict *registry.ConflictError
		unknown  *registry.NotFoundError
		contract *registry.ContractError
		refused  *registry.PrepareError
		invalid  *registry.InvalidError
		away     *registry.UnavailableError
		broken   *registry.StoreError
		late     *registry.WaitError
		foreign  *ForeignError
		busy     *BusyError
	)
	switch {
	case errors.As(err, &answered):
		return answered
	case errors.As(err, &conflict):
		out.Status, out.Code, out.Revision = http.StatusConflict, api.CodeConflict, conflict.Revision
		if conflict.Current != nil {
			out.Current = conflict.Current.Script(conflict.Name)
		}
	case errors.As(err, &unknown):
		out.Status, out.Code, out.Close = http.StatusNotFound, api.CodeNotFound, unknown.Close
	case errors.As(err, &contract):
		out.Status, out.Code = http.StatusUnprocessableEntity, api.CodeContract
	case errors.As(err, &refused):
		out.Status, out.Code, out.Node = http.StatusUnprocessableEntity, api.CodeNotLoaded, refused.Node
	case errors.As(err, &invalid):
		out.Status, out.Code = http.StatusUnprocessableEntity, api.CodeInvalid
	case errors.As(err, &away):
		out.Status, out.Code = http.StatusServiceUnavailable, api.CodeUnavailable
	case errors.As(err, &broken):
		out.Status, out.Code = http.StatusInternalServerError, api.CodeBroken
	case errors.As(err, &late):
		out.Status, out.Code, out.Behind = http.StatusGatewayTimeout, api.CodeTimeout, late.Behind
	case errors.As(err, &foreign):
		out.Status, out.Code = http.StatusConflict, api.CodeForeign
	case errors.As(err, &busy):
		out.Status, out.Code = http.StatusConflict, api.CodeBusy
	case errors.Is(err, context.DeadlineExceeded):
		out.Status, out.Code = http.StatusGatewayTimeout, api.CodeTimeout
	}
	return out
}
