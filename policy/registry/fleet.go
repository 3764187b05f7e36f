package registry

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Audit returns the latest changes, the newest first; limit 0 means 100.
func (r *Registry) Audit(ctx context.Context, limit int) ([]Change, error) {
	if limit <= 0 {
		limit = 100
	}
	return r.store.Audit(ctx, limit)
}

// Fleet returns the proxies that use the store, with the revision that each serves.
func (r *Registry) Fleet(ctx context.Context) ([]Instance, error) { return r.store.Fleet(ctx) }

// WaitError says which proxies did not serve a revision in time.
type WaitError struct {
	Revision uint64
	Behind   []Instance
	Err      error // why the wait ended
}

func (e *WaitError) Error() string {
	behind := make([]string, len(e.Behind))
	for i, in := range e.Behind {
		behind[i] = fmt.Sprintf("%s (%s) at %d", in.ID, in.Address, in.Revision)
	}
	return fmt.Sprintf("waiting for revision %d: %v; still behind: %s", e.Revision, e.Err, strings.Join(behind, ", "))
}

func (e *WaitError) Unwrap() error { return e.Err }

// How often WaitRevision looks: soon at first, since proxies follow within milliseconds.
const (
	firstLook = 2 * time.Millisecond
	slowLook  = 100 * time.Millisecond
)

// WaitRevision returns as soon as every proxy that is not away serves revision or a later one;
// the caller should look at those which are Away in the result. When ctx ends first the error is a
// *WaitError with those behind.
func (r *Registry) WaitRevision(ctx context.Context, revision uint64) ([]Instance, error) {
	pause := firstLook
	for {
		fleet, err := r.store.Fleet(ctx)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		var behind []Instance
		for _, in := range fleet {
			if !in.Away && in.Revision < revision {
				behind = append(behind, in)
			}
		}
		if err == nil && len(behind) == 0 {
			return fleet, nil
		}
		select {
		case <-ctx.Done():
			return fleet, &WaitError{Revision: revision, Behind: behind, Err: ctx.Err()}
		case <-time.After(pause):
			pause = min(pause*3/2, slowLook)
		}
	}
}
