package redisstore

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/statefile"
)

// cache keeps a copy of the store's state on local disk. It is only read by a process which
// starts while the store is away, and only when it is a copy of this very store.
type cache struct {
	path   string
	origin string
	log    *slog.Logger
	latest chan *registry.Snapshot
}

func newCache(path, origin string, log *slog.Logger) *cache {
	return &cache{path: path, origin: origin, log: log, latest: make(chan *registry.Snapshot, 1)}
}

// offer replaces what is waiting to be written, without blocking.
func (c *cache) offer(s *registry.Snapshot) {
	for {
		select {
		case c.latest <- s:
			return
		default:
		}
		select {
		case <-c.latest:
		default:
		}
	}
}

// writeOffers writes what is offered, and the last offer before it returns.
func (c *cache) writeOffers(ctx context.Context) {
	var encoder statefile.Encoder
	for {
		select {
		case s := <-c.latest:
			c.write(&encoder, s)
		case <-ctx.Done():
			select {
			case s := <-c.latest:
				c.write(&encoder, s)
			default:
			}
			return
		}
	}
}

func (c *cache) write(encoder *statefile.Encoder, s *registry.Snapshot) {
	data, err := encoder.Encode(&statefile.State{Origin: c.origin, Snapshot: s})
	if err == nil {
		err = statefile.Replace(c.path, data)
	}
	if err != nil {
		c.log.Warn("registry: the copy of the store's state can't be written; a start without the store would use an older one", "file", c.path, "error", err)
	}
}

// read returns the copy, or nil when there is none that can be used.
func (c *cache) read() *registry.Snapshot {
	data, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var state *statefile.State
	if err == nil {
		state, err = statefile.Decode(data)
	}
	switch {
	case err != nil:
		c.log.Warn("registry: the copy of the store's state can't be used", "file", c.path, "error", err)
	case state.Origin != c.origin:
		c.log.Warn("registry: the copy of the store's state is of another store and not used", "file", c.path, "of", state.Origin)
	default:
		return state.Snapshot
	}
	return nil
}
