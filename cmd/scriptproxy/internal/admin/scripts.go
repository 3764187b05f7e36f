package admin

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/operate"
	"github.com/scriptproxy/scriptproxy/policy/registry"
)

func (s *Server) registry(w http.ResponseWriter, _ *http.Request) {
	state := s.opts.Desk.State()
	etag(w, state.Revision)
	answer(w, state)
}

func (s *Server) scripts(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	list := s.opts.Desk.List(q["tag"], q.Get("kind"))
	etag(w, list.Revision)
	answer(w, list)
}

func (s *Server) script(w http.ResponseWriter, r *http.Request) {
	script, err := s.opts.Desk.Show(r.PathValue("name"))
	if err != nil {
		fail(w, err)
		return
	}
	etag(w, script.Revision)
	answer(w, script)
}

func (s *Server) version(w http.ResponseWriter, r *http.Request) {
	v, err := s.opts.Desk.Version(r.PathValue("name"), r.PathValue("version"))
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, v)
}

func (s *Server) diff(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	text, err := s.opts.Desk.Registry.Diff(r.PathValue("name"), q.Get("from"), q.Get("to"))
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, api.Diff{Diff: text})
}

// auditMost bounds one look at the audit log.
const auditMost = 100_000

func (s *Server) audit(w http.ResponseWriter, r *http.Request) {
	limit, err := count(r, "limit", 100)
	if err != nil {
		fail(w, err)
		return
	}
	name, fetch := r.URL.Query().Get("name"), limit
	if name != "" {
		fetch = auditMost
	}
	all, err := s.opts.Desk.Registry.Audit(r.Context(), min(fetch, auditMost))
	if err != nil {
		fail(w, err)
		return
	}
	changes := []registry.Change{}
	for _, c := range all {
		if (name == "" || c.Name == name) && len(changes) < limit {
			changes = append(changes, c)
		}
	}
	answer(w, api.Audit{Changes: changes})
}

func (s *Server) fleet(w http.ResponseWriter, r *http.Request) {
	fleet, err := s.opts.Desk.Registry.Fleet(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, api.Fleet{Revision: s.opts.Desk.Registry.Snapshot().Revision, Instances: fleet})
}

// waitMost bounds how long a request may wait for the fleet.
const waitMost = 10 * time.Minute

func (s *Server) wait(w http.ResponseWriter, r *http.Request) {
	timeout, err := duration(r, "timeout", 5*time.Second, waitMost)
	if err != nil {
		fail(w, err)
		return
	}
	revision := s.opts.Desk.Registry.Snapshot().Revision
	if v := r.URL.Query().Get("revision"); v != "" {
		if revision, err = strconv.ParseUint(v, 10, 64); err != nil {
			fail(w, badRequest("revision is %q, and not a whole number", clip(v)))
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	fleet, err := s.opts.Desk.Registry.WaitRevision(ctx, revision)
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, api.Fleet{Revision: revision, Instances: fleet})
}

// changer is an operation on one script.
type changer func(ctx context.Context, op registry.Op, name string, c *api.Change) (*api.Result, error)

// change is the way of every request that changes a script.
func (s *Server) change(do changer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var c api.Change
		if err := decode(w, r, &c); err != nil {
			fail(w, err)
			return
		}
		if v := r.PathValue("version"); v != "" {
			c.Version = v
		}
		if r.Method == http.MethodDelete {
			q := r.URL.Query()
			c.Who, c.Why = cmp.Or(c.Who, q.Get("who")), cmp.Or(c.Why, q.Get("why"))
			c.Force = c.Force || q.Get("force") == "true"
		}
		revision, err := ifMatch(r)
		if err != nil {
			fail(w, err)
			return
		}
		op := registry.Op{Who: cmp.Or(c.Who, caller(r)), Why: c.Why, IfRevision: revision, Force: c.Force}
		// A client that goes away leaves the change whole: done or not done.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), changeTime)
		defer cancel()
		result, err := do(ctx, op, r.PathValue("name"), &c)
		if err != nil {
			e := operate.Explain(err)
			if e.Code == api.CodeConflict && revision != 0 {
				e.Status = http.StatusPreconditionFailed
			}
			fail(w, e)
			return
		}
		if result.Script != nil {
			etag(w, result.Script.Revision)
		}
		answer(w, result)
	}
}

// changeTime bounds a change: loading a version on every node, and the store.
const changeTime = 30 * time.Second

// caller names who sent a request without saying who they are.
func caller(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "http"
	}
	return "http " + host
}

func (s *Server) load(ctx context.Context, op registry.Op, name string, c *api.Change) (*api.Result, error) {
	l := registry.Load{Name: name, Version: c.Version, Body: c.BodyBase64, Tags: c.Tags, Pinned: c.Pinned}
	if l.Body == nil {
		l.Body = []byte(c.Body)
	} else if c.Body != "" {
		return nil, badRequest("body and body_base64 are given; keep one of them")
	}
	l.Kind = operate.KindOf(l.Body)
	if c.Kind != "" {
		if err := l.Kind.UnmarshalText([]byte(c.Kind)); err != nil {
			return nil, badRequest("%s", err)
		}
	}
	if err := l.Class.UnmarshalText([]byte(c.Class)); err != nil {
		return nil, badRequest("%s", err)
	}
	return s.opts.Desk.Load(ctx, op, l)
}

func (s *Server) activate(ctx context.Context, op registry.Op, name string, c *api.Change) (*api.Result, error) {
	if c.Version == "" {
		return nil, badRequest("version is missing; say which version of %s becomes active", clip(name))
	}
	return s.opts.Desk.Activate(ctx, op, name, c.Version)
}

func (s *Server) rollback(ctx context.Context, op registry.Op, name string, c *api.Change) (*api.Result, error) {
	return s.opts.Desk.Rollback(ctx, op, name, c.Version)
}

func (s *Server) canary(ctx context.Context, op registry.Op, name string, c *api.Change) (*api.Result, error) {
	if c.Version == "" {
		return nil, badRequest("version is missing; say which version of %s becomes the canary", clip(name))
	}
	return s.opts.Desk.Canary(ctx, op, name, c.Version, c.Percent, c.Sticky)
}

func (s *Server) promote(ctx context.Context, op registry.Op, name string, _ *api.Change) (*api.Result, error) {
	return s.opts.Desk.Promote(ctx, op, name)
}

func (s *Server) abort(ctx context.Context, op registry.Op, name string, _ *api.Change) (*api.Result, error) {
	return s.opts.Desk.Abort(ctx, op, name)
}

func (s *Server) retire(ctx context.Context, op registry.Op, name string, c *api.Change) (*api.Result, error) {
	return s.opts.Desk.Retire(ctx, op, name, c.Version, registry.Answer(c.Answer))
}

func (s *Server) unretire(ctx context.Context, op registry.Op, name string, c *api.Change) (*api.Result, error) {
	return s.opts.Desk.Unretire(ctx, op, name, c.Version)
}

func (s *Server) pin(ctx context.Context, op registry.Op, name string, c *api.Change) (*api.Result, error) {
	if c.Version == "" {
		return nil, badRequest("version is missing; say which version of %s is pinned", clip(name))
	}
	return s.opts.Desk.Pin(ctx, op, name, c.Version, c.Pinned)
}

func (s *Server) tags(ctx context.Context, op registry.Op, name string, c *api.Change) (*api.Result, error) {
	return s.opts.Desk.Tag(ctx, op, name, c.Tags)
}

func (s *Server) remove(ctx context.Context, op registry.Op, name string, c *api.Change) (*api.Result, error) {
	return s.opts.Desk.Remove(ctx, op, name, c.Version)
}
