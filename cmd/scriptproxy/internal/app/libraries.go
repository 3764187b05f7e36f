package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/library"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

const (
	// libraryLook is how often the primary's libraries are compared with the
	// registry's: somebody may have loaded another by hand, and a change made
	// through another proxy may have failed there.
	libraryLook = 30 * time.Second
	// libraryRetry is how soon that is tried again after it failed.
	libraryRetry = time.Second
	// libraryPause lets the proxy through which a change was made load it,
	// so that a fleet does not do so at once.
	libraryPause = 500 * time.Millisecond
	// libraryTime bounds loading all libraries.
	libraryTime = 5 * time.Second
	// replicaWait is how long loading waits for replicas to have it too.
	replicaWait = 300 * time.Millisecond
)

// libraries keeps every primary's function libraries as the registry says: under
// its own name the active version, and beside it a copy of every version that
// is not retired, for name@version and canaries. Functions replicate, so that
// the primary is enough.
type libraries struct {
	app   *App
	kick  chan struct{}
	mu    sync.Mutex // one comparison at a time
	ours  map[copyOn]bool
	shown string // the error that was logged last
}

func newLibraries(a *App) *libraries {
	return &libraries{app: a, kick: make(chan struct{}, 1), ours: make(map[copyOn]bool)}
}

// copyOn is a copy of a version that this process loaded for a backend.
type copyOn struct {
	backend int
	name    string
}

// wake has the libraries compared soon.
func (l *libraries) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// follow compares the libraries after changes, and regularly, until ctx ends.
func (l *libraries) follow(ctx context.Context) {
	next := libraryLook
	for {
		pause := time.Duration(0)
		select {
		case <-ctx.Done():
			return
		case <-l.kick:
			pause = libraryPause
		case <-time.After(next):
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		err := l.sync(ctx)
		next = libraryLook
		if err != nil {
			next = libraryRetry
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			l.shown = ""
		case err.Error() != l.shown:
			l.shown = err.Error()
			l.app.log.Error("function libraries are not as the registry says", "error", err)
		}
	}
}

// wanted lists the libraries that a snapshot asks for, by their names, the
// copies with them.
func wanted(s *registry.Snapshot) map[string][]byte {
	var out map[string][]byte
	for _, script := range s.Scripts {
		if script.Kind != registry.KindFunction {
			continue
		}
		if out == nil {
			out = make(map[string][]byte)
		}
		for _, v := range script.Versions {
			if v.Retired {
				continue
			}
			if v.ID == script.Active {
				out[script.Name] = v.Body
			}
			if body, lib, err := library.SideBySide(v.Body, v.ID); err == nil {
				out[lib.Name] = body
			}
		}
	}
	return out
}

// sync loads what the primaries lack or have differently, and deletes copies
// of versions that were retired or removed. The caller is told when they have
// it all; without a registered library nothing is asked.
func (l *libraries) sync(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	want := wanted(l.app.registry.Snapshot())
	if len(want) == 0 && len(l.ours) == 0 {
		return nil
	}
	var failed []error
	for _, set := range l.app.upstreams {
		if err := l.syncOn(ctx, set, want); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (l *libraries) syncOn(ctx context.Context, set *upstreamSet, want map[string][]byte) error {
	primary := set.monitor.View().Primary
	if primary == nil || !primary.Up() {
		return set.noPrimary()
	}
	ctx, cancel := context.WithTimeout(ctx, libraryTime)
	defer cancel()
	client := set.monitor.Client(primary)
	defer client.Close()
	conn := client.WithTimeout(libraryTime).Conn()
	defer conn.Close()
	return l.bring(ctx, primary, conn, want)
}

// noPrimary says that libraries can't be loaded on a set of servers.
func (u *upstreamSet) noPrimary() error {
	return fmt.Errorf("no primary of upstream %s is up", u.name)
}

func (l *libraries) bring(ctx context.Context, primary *topology.Node, conn *redis.Conn, want map[string][]byte) error {
	have, err := codeOf(ctx, conn)
	if err != nil {
		return fmt.Errorf("list the libraries on %s: %w", primary.Addr, err)
	}
	var failed []error
	changed := 0
	for name, body := range want {
		if have[name] == string(body) {
			continue
		}
		if err := conn.FunctionLoadReplace(ctx, string(body)).Err(); err != nil {
			failed = append(failed, fmt.Errorf("load the library %s on %s: %w", name, primary.Addr, err))
			continue
		}
		changed++
		l.ours[copyOn{primary.Backend, name}] = true
	}
	for c := range l.ours {
		name := c.name
		if _, wanted := want[name]; wanted || c.backend != primary.Backend {
			continue
		}
		if _, there := have[name]; there {
			if err := conn.FunctionDelete(ctx, name).Err(); err != nil {
				failed = append(failed, fmt.Errorf("delete the library %s on %s: %w", name, primary.Addr, err))
				continue
			}
		}
		delete(l.ours, c)
	}
	if up := l.replicasUp(primary); changed > 0 && up > 0 {
		// Best effort: a replica that lags serves FCALL_RO of the version
		// before, as it serves older data.
		_ = conn.Wait(ctx, up, replicaWait).Err()
	}
	return errors.Join(failed...)
}

func (l *libraries) replicasUp(primary *topology.Node) int {
	up := 0
	for _, n := range l.app.upstreams.of(primary).View().All {
		if n != primary && n.Up() {
			up++
		}
	}
	return up
}

func codeOf(ctx context.Context, conn *redis.Conn) (map[string]string, error) {
	list, err := conn.FunctionList(ctx, redis.FunctionListQuery{WithCode: true}).Result()
	if err != nil {
		return nil, err
	}
	code := make(map[string]string, len(list))
	for _, lib := range list {
		code[lib.Name] = lib.Code
	}
	return code, nil
}

// stage loads copies of versions on every primary: what compiles there beside
// the active version will compile in its place. The plain name is loaded after
// the change is committed.
func (l *libraries) stage(ctx context.Context, staged []registry.Staged) error {
	for _, set := range l.app.upstreams {
		if err := l.stageOn(ctx, set, staged); err != nil {
			return err
		}
	}
	return nil
}

func (l *libraries) stageOn(ctx context.Context, set *upstreamSet, staged []registry.Staged) error {
	primary := set.monitor.View().Primary
	fail := func(st registry.Staged, err error) error {
		e := &registry.PrepareError{Name: st.Script, Version: st.Version.ID, Err: err}
		if primary != nil {
			e.Node = primary.Addr
		}
		return e
	}
	if primary == nil || !primary.Up() {
		return fail(staged[0], set.noPrimary())
	}
	ctx, cancel := context.WithTimeout(ctx, libraryTime)
	defer cancel()
	client := set.monitor.Client(primary)
	defer client.Close()
	c := client.WithTimeout(libraryTime)
	for _, st := range staged {
		if err := l.taken(st); err != nil {
			return fail(st, err)
		}
		body, lib, err := library.SideBySide(st.Version.Body, st.Version.ID)
		if err != nil {
			return fail(st, err)
		}
		if err := c.FunctionLoadReplace(ctx, string(body)).Err(); err != nil {
			return fail(st, err)
		}
		l.mu.Lock()
		l.ours[copyOn{primary.Backend, lib.Name}] = true
		l.mu.Unlock()
	}
	return nil
}

// taken refuses a version with a function that another active library has: the
// server would refuse it under its plain name.
func (l *libraries) taken(st registry.Staged) error {
	if !st.Active || l.app.registry == nil {
		return nil
	}
	for _, other := range l.app.registry.Snapshot().Scripts {
		if other.Kind != registry.KindFunction || other.Name == st.Script || other.ActiveVersion() == nil {
			continue
		}
		for _, f := range other.ActiveVersion().Functions {
			for _, mine := range st.Version.Functions {
				if strings.EqualFold(f, mine) {
					return fmt.Errorf("the library %s registers the function %s already", other.Name, f)
				}
			}
		}
	}
	return nil
}
