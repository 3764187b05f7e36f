package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultMaxBody     = 1 << 20
	defaultMaxVersions = 1000
)

// Options configure a Registry. Only Store is required.
type Options struct {
	Store Store // the registry closes it

	// Analyse finds out about a body. An error means that the body does not parse, and is shown to
	// the person who sent it. Nil finds nothing: every script then counts as writing.
	Analyse func(kind Kind, body []byte) (Analysis, error)

	// Prepare puts versions where they will run, before any pointer moves to them; nil does
	// nothing. An error keeps the change from happening; a *PrepareError names the node. It may be
	// called by several goroutines, again for versions that are prepared already, and for
	// changes that then do not happen.
	Prepare func(ctx context.Context, staged []Staged) error

	Clock        func() time.Time // nil: time.Now
	Logger       *slog.Logger     // nil: nothing is logged
	Instance     string           // this proxy's name in the audit log
	MaxBody      int              // bytes; 0 means 1 MiB
	MaxVersions  int              // of one script; 0 means 1000
	RequireStore bool             // New fails when the store cannot be reached, instead of serving the configuration until it can
}

// Staged is a version on its way to the nodes.
type Staged struct {
	Script  string
	Kind    Kind
	Version *Version
	Active  bool // the active pointer is about to move to it; else it becomes a canary or is only loaded
}

// Registry is the current state and all operations on it. Its methods may be called by any
// goroutine; Close must be called once, last.
type Registry struct {
	store       Store
	analyse     func(Kind, []byte) (Analysis, error)
	prepare     func(context.Context, []Staged) error
	clock       func() time.Time
	log         *slog.Logger
	instance    string
	maxBody     int
	maxVersions int
	current     atomic.Pointer[Snapshot] // what is served
	stop        context.CancelFunc
	background  sync.WaitGroup
	declaring   sync.Mutex    // one Declare at a time
	back        chan struct{} // the store can be reached again and a declaration is pending

	mu          sync.Mutex   // guards what follows, and orders publication
	known       *Snapshot    // the newest state that the store is known to have had
	detached    bool         // known is not the store's word: it could not be reached when it was last needed
	pending     *declaration // declared while the store was away, laid over known until it is committed
	subscribers map[int]func(*Snapshot)
	nextID      int
}

// New loads the store's state and begins to follow it. When the store cannot be reached it
// starts with what the store remembers locally, or empty, and joins the store's state as soon as
// it can, unless Options.RequireStore is set. Any other trouble with the store is an error. The
// store is closed when New fails.
func New(ctx context.Context, o Options) (*Registry, error) {
	r := &Registry{
		store: o.Store, analyse: o.Analyse, prepare: o.Prepare, clock: o.Clock, log: o.Logger, instance: o.Instance,
		maxBody: o.MaxBody, maxVersions: o.MaxVersions, subscribers: map[int]func(*Snapshot){}, back: make(chan struct{}, 1),
	}
	if r.clock == nil {
		r.clock = time.Now
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.maxBody <= 0 {
		r.maxBody = defaultMaxBody
	}
	if r.maxVersions <= 0 {
		r.maxVersions = defaultMaxVersions
	}
	snapshot, err := r.store.Load(ctx)
	if err != nil {
		var away *UnavailableError
		if !errors.As(err, &away) || o.RequireStore {
			return nil, errors.Join(err, r.store.Close())
		}
		r.detached = true
		from := "the configuration alone"
		if snapshot == nil {
			snapshot = NewSnapshot(0, "", time.Time{}, nil)
			snapshot.Detached = true
		} else {
			from = fmt.Sprintf("revision %d, remembered on local disk", snapshot.Revision)
		}
		r.log.Warn("registry: starting without the store", "store", r.store.String(), "serving", from, "error", away.Err)
	}
	r.known = snapshot
	r.serve(snapshot)

	background, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.background.Go(func() { r.store.Watch(background, func(s *Snapshot) { _ = r.observe(background, s) }) })
	r.background.Go(func() { r.declareAgain(background) })
	return r, nil
}

// Close stops following the store and closes it. The last snapshot stays available.
func (r *Registry) Close() error {
	r.stop()
	r.background.Wait()
	return r.store.Close()
}

// Snapshot returns what is served now. It never blocks.
func (r *Registry) Snapshot() *Snapshot { return r.current.Load() }

// Subscribe calls fn with the current snapshot, and then with each new one, in order and one
// at a time. An operation returns only after every subscriber has returned from the snapshot
// which the operation made: what fn swaps in is in force when the operator sees success. fn
// must be quick and must not call operations of the registry. The returned function ends the
// subscription.
func (r *Registry) Subscribe(fn func(*Snapshot)) (cancel func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.nextID
	r.nextID++
	r.subscribers[id] = fn
	fn(r.current.Load())
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.subscribers, id)
	}
}

// Health tells whether the store can be reached.
func (r *Registry) Health() Health { return r.store.Health() }

// Store names the store in messages.
func (r *Registry) Store() string { return r.store.String() }

// Sync asks the store for its state now, instead of waiting to be told, and returns what is
// served afterwards.
func (r *Registry) Sync(ctx context.Context) (*Snapshot, error) {
	s, err := r.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.observe(ctx, s); err != nil {
		return nil, err
	}
	return r.Snapshot(), nil
}

// serve publishes s. The caller holds mu, except in New.
func (r *Registry) serve(s *Snapshot) {
	r.current.Store(s)
	for id := range r.nextID {
		if fn := r.subscribers[id]; fn != nil {
			fn(s)
		}
	}
	r.store.Serving(s.Revision)
}

// adopt takes over a state which the store had, when it is newer than what is known.
func (r *Registry) adopt(s *Snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Revision < r.known.Revision || s.Revision == r.known.Revision && s.Token == r.known.Token && !r.detached {
		return
	}
	if r.detached {
		r.detached = false
		r.log.Info("registry: joined the store", "store", r.store.String(), "revision", s.Revision)
	}
	r.known = s
	if r.pending != nil {
		select {
		case r.back <- struct{}{}:
		default:
		}
	}
	if s = r.overlay(s); s != r.current.Load() {
		r.serve(s)
	}
}

// observe takes over what the store says. A store that knows less than this process has lost
// commits which were acknowledged (a restart without persistence, a failover to a replica that
// lagged): they are given back to it.
func (r *Registry) observe(ctx context.Context, s *Snapshot) error {
	known := r.lastKnown()
	if !behind(s, known) {
		r.adopt(s)
		return nil
	}
	// s may just be older than a commit of this process. A state that is asked for now can't be.
	now, err := r.store.Load(ctx)
	if err != nil {
		return err
	}
	if !behind(now, known) {
		r.adopt(now)
		return nil
	}
	return r.restore(ctx, now, known)
}

func behind(s, known *Snapshot) bool {
	return s.Revision < known.Revision || s.Token == "" && known.Token != ""
}

func (r *Registry) lastKnown() *Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known
}

// restore commits known over now. Of several proxies that try, one succeeds.
func (r *Registry) restore(ctx context.Context, now, known *Snapshot) error {
	at := r.now()
	next := NewSnapshot(max(now.Revision, known.Revision)+1, newToken(), at, slices.Clone(known.Scripts))
	note := fmt.Sprintf("the store was at revision %d and had lost what followed, up to %d", now.Revision, known.Revision)
	err := r.store.Commit(ctx, now, next, []Change{{Revision: next.Revision, At: at, Who: "scriptproxy", Action: ActionRestore, Note: note, Instance: r.instance}})
	var conflict *ConflictError
	switch {
	case err == nil:
		r.log.Warn("registry: gave the store back what it had lost", "store", r.store.String(), "had", now.Revision, "known", known.Revision, "revision", next.Revision)
		r.adopt(next)
		return nil
	case errors.As(err, &conflict) && !behind(conflict.Current, known):
		r.adopt(conflict.Current)
		return nil
	}
	r.log.Error("registry: the store lost commits, and they could not be given back", "store", r.store.String(), "error", err)
	return err
}

// now is the clock's time in the form that survives being written and read.
func (r *Registry) now() time.Time { return r.clock().UTC().Round(0) }
