package redisstore

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

// connection is the way to the server. It becomes a Cluster's client when a server answers
// MOVED, repeats what is safe to repeat, and keeps track of whether the server can be reached.
type connection struct {
	name    string
	options redis.UniversalOptions
	log     *slog.Logger

	mu      sync.Mutex
	client  redis.UniversalClient
	old     redis.UniversalClient // replaced by a Cluster's client
	cluster bool
	state   registry.Health
}

func connect(o redis.UniversalOptions, name string, log *slog.Logger) *connection {
	o = dialOptions(o)
	return &connection{name: name, options: o, log: log, client: redis.NewUniversalClient(&o), cluster: o.IsClusterMode, state: registry.Health{Since: time.Now()}}
}

func (c *connection) current() redis.UniversalClient {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.client
}

// attempts bounds how often a call is sent; every call of this package can be repeated.
const attempts = 3

// do is repeat for what changes nothing of the state.
func (c *connection) do(ctx context.Context, f func(redis.UniversalClient) error) error {
	err := c.repeat(ctx, f)
	var away *registry.UnavailableError
	if errors.As(err, &away) {
		away.MayHaveSaved = false
	}
	return err
}

// repeat calls f until the server answers, at most attempts times. The error is the server's, or
// an *registry.UnavailableError; its MayHaveSaved says that f may have reached the server.
func (c *connection) repeat(ctx context.Context, f func(redis.UniversalClient) error) error {
	sent := false
	for attempt := 1; ; attempt++ {
		err := c.once(ctx, f)
		var away *registry.UnavailableError
		if !errors.As(err, &away) {
			return err
		}
		sent = sent || away.MayHaveSaved
		away.MayHaveSaved = sent
		// Nobody answers at all: whoever called decides when to try again.
		if attempt == attempts || ctx.Err() != nil || isDial(away.Err) {
			return away
		}
		select {
		case <-ctx.Done():
			return away
		case <-time.After(time.Duration(attempt) * 20 * time.Millisecond):
		}
	}
}

func (c *connection) once(ctx context.Context, f func(redis.UniversalClient) error) error {
	client := c.current()
	err := f(client)
	if isMoved(err) {
		if client, switched := c.becomeCluster(client); switched {
			err = f(client)
		}
	}
	if err == nil || errors.Is(err, redis.Nil) || isReply(err) {
		c.note(nil)
		return err
	}
	// A caller who gives up says nothing about the server.
	if ctx.Err() != context.Canceled {
		c.note(err)
	}
	return &registry.UnavailableError{Store: c.name, MayHaveSaved: !isDial(err), Err: err}
}

// becomeCluster replaces client, unless somebody else did.
func (c *connection) becomeCluster(client redis.UniversalClient) (redis.UniversalClient, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != client {
		return c.client, true
	}
	if c.cluster {
		return nil, false
	}
	c.log.Info("registry: the store is a Redis Cluster", "store", c.name)
	o := c.options
	c.cluster, c.old = true, client
	c.client = redis.NewClusterClient(o.Cluster())
	return c.client, true
}

func (c *connection) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	away := err != nil
	if away != c.state.Away {
		if away {
			c.log.Warn("registry: the store cannot be reached; calls are served as before", "store", c.name, "error", err)
		} else {
			c.log.Info("registry: the store can be reached again", "store", c.name, "after", time.Since(c.state.Since).Round(time.Millisecond))
		}
		c.state = registry.Health{Away: away, Since: time.Now()}
	}
	if away {
		c.state.Error = err.Error()
	}
}

func (c *connection) health() registry.Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *connection) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.client.Close()
	if c.old != nil {
		err = errors.Join(err, c.old.Close())
	}
	return err
}

// isReply tells whether the server answered with an error, other than that it is not ready.
func isReply(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	for _, passing := range []string{"LOADING ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ", "BUSY ", "READONLY ", "UNAVAILABLE "} {
		if strings.HasPrefix(reply.Error(), passing) {
			return false
		}
	}
	return true
}

func isMoved(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "MOVED ")
}

// isDial tells whether err came before anything could be sent.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrClosed)
}
