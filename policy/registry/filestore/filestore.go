// Package filestore keeps a registry for one proxy: in a state file, or in memory.
//
// A change is on disk, synced, before it takes effect. Whatever ends the process, the next one
// finds the state before a change or the one after it, with the audit log to match, since both are
// in one file which is replaced as a whole (see package statefile). A file that is torn, edited or
// not ours is refused and left alone. A lock file keeps two proxies from sharing a state file.
package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/statefile"
)

const (
	defaultAudit    = 1000
	defaultLockWait = 5 * time.Second
)

// Options configure a Store.
type Options struct {
	Path     string        // of the state file; empty keeps everything in memory
	Audit    int           // changes kept; 0 means 1000
	LockWait time.Duration // how long to wait for a predecessor to end; 0 means 5 s, negative not at all
	Instance string        // this proxy's name in Fleet
	Address  string        // this proxy's address in Fleet
	Logger   *slog.Logger  // nil: nothing is logged
}

// Store implements registry.Store. Its methods may be called by any goroutine.
type Store struct {
	path     string
	keep     int
	log      *slog.Logger
	lock     *os.File
	mu       sync.Mutex // guards what follows
	snapshot *registry.Snapshot
	audit    []registry.Change // the oldest first
	encoder  statefile.Encoder
	self     registry.Instance
	health   registry.Health
}

// Open reads the state file, or begins without one. The directory is made when it is missing.
func Open(o Options) (*Store, error) {
	s := &Store{path: o.Path, keep: o.Audit, log: o.Logger}
	if s.keep <= 0 {
		s.keep = defaultAudit
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.self = registry.Instance{ID: o.Instance, Address: o.Address, Started: time.Now()}
	s.health.Since = time.Now()
	if s.path == "" {
		s.snapshot = registry.NewSnapshot(0, "", time.Time{}, nil)
		return s, nil
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return nil, fmt.Errorf("registry: make the directory of the state file: %w", err)
	}
	wait := o.LockWait
	if wait == 0 {
		wait = defaultLockWait
	}
	lock, err := acquire(s.path+".lock", wait)
	if err != nil {
		return nil, err
	}
	s.lock = lock
	if err := s.read(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

func (s *Store) read() error {
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.snapshot = registry.NewSnapshot(0, "", time.Time{}, nil)
		return nil
	}
	if err != nil {
		return fmt.Errorf("registry: read the state file: %w", err)
	}
	state, err := statefile.Decode(data)
	if err != nil {
		return &registry.StoreError{Store: s.String(), Text: fmt.Sprintf("is refused: %v; restore it from a backup, or move it away to start from the configuration alone", err)}
	}
	s.snapshot, s.audit = state.Snapshot, state.Audit
	return nil
}

// Load returns the current state.
func (s *Store) Load(context.Context) (*registry.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot, nil
}

// Commit writes next and changes to the disk. An error of the disk leaves everything as it was.
func (s *Store) Commit(_ context.Context, base, next *registry.Snapshot, changes []registry.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if base.Revision != s.snapshot.Revision || base.Token != s.snapshot.Token {
		return &registry.ConflictError{Asked: base.Revision, Revision: s.snapshot.Revision, Current: s.snapshot}
	}
	audit := append(s.audit[:len(s.audit):len(s.audit)], changes...)
	audit = audit[max(0, len(audit)-s.keep):]
	if s.path != "" {
		if err := s.write(&statefile.State{Snapshot: next, Audit: audit}); err != nil {
			return err
		}
	}
	s.snapshot, s.audit = next, audit
	return nil
}

func (s *Store) write(state *statefile.State) error {
	data, err := s.encoder.Encode(state)
	if err != nil {
		return err
	}
	err = statefile.Replace(s.path, data)
	var unsynced *statefile.UnsyncedError
	if errors.As(err, &unsynced) {
		s.log.Warn("registry: a change may not survive a loss of power", "file", s.path, "error", unsynced.Err)
		err = nil
	}
	if away := err != nil; away != s.health.Away {
		s.health = registry.Health{Away: away, Since: time.Now()}
	}
	if err != nil {
		s.health.Error = err.Error()
		return &registry.UnavailableError{Store: s.String(), Err: err}
	}
	return nil
}

// Watch waits for ctx: nobody else changes the state.
func (s *Store) Watch(ctx context.Context, _ func(*registry.Snapshot)) { <-ctx.Done() }

// Audit returns the latest changes, the newest first.
func (s *Store) Audit(_ context.Context, limit int) ([]registry.Change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(limit, len(s.audit))
	out := make([]registry.Change, n)
	for i := range out {
		out[i] = s.audit[len(s.audit)-1-i]
	}
	return out, nil
}

// Serving notes what this proxy serves.
func (s *Store) Serving(revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.self.Revision = revision
}

// Fleet returns this proxy alone.
func (s *Store) Fleet(context.Context) ([]registry.Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	self := s.self
	self.Seen = time.Now()
	return []registry.Instance{self}, nil
}

// Health tells whether the last change could be written.
func (s *Store) Health() registry.Health {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.health
}

// Shared is false: the lock sees to it.
func (s *Store) Shared() bool { return false }

// String names the state file.
func (s *Store) String() string {
	if s.path == "" {
		return "memory"
	}
	return "file " + s.path
}

// Close gives the lock back. The state file stays.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	err := s.lock.Close()
	s.lock = nil
	return err
}
