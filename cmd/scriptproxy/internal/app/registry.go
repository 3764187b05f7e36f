package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/operate"
	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/filestore"
	"github.com/scriptproxy/scriptproxy/policy/registry/redisstore"
	"github.com/scriptproxy/scriptproxy/proxy/edge"
)

// openRegistry opens the store, declares the configuration and publishes the
// first generation, and each that follows a change.
func (a *App) openRegistry(ctx context.Context) error {
	store, err := a.openStore()
	if err != nil {
		return err
	}
	a.registry, err = registry.New(ctx, registry.Options{
		Store: store, Analyse: a.analyse, Prepare: a.stage, Logger: a.log, Instance: a.instance,
	})
	if err != nil {
		return err
	}
	if _, err := a.registry.Declare(ctx, declared(a.cfg)); err != nil {
		return err
	}
	a.declared.Store(true)
	a.desk = &operate.Desk{
		Registry: a.registry, Instance: a.instance, Shared: store.Shared(),
		Changed: a.changedHere, Use: a.use, Nodes: a.nodeList, Breakers: a.breakers, ResetBreaker: a.resetBreaker, Cache: a.cacheState, Compact: a.compact,
	}
	a.registry.Subscribe(func(*registry.Snapshot) {
		a.publish()
		a.settle()
		a.libraries.wake()
	})
	a.background.Go(func(ctx context.Context) { a.watchStore(ctx, store.Shared()) })
	a.background.Go(a.libraries.follow)
	a.background.Go(a.watchCaches)
	a.background.Go(a.watchWall)
	a.background.Go(a.watchSentinels)
	a.background.Go(a.tellLoads)
	return nil
}

// openStore opens the store that the configuration names. That a shared one
// can't be reached is no error.
func (a *App) openStore() (registry.Store, error) {
	c := &a.cfg.Registry
	address := a.cfg.Listen[0].Address
	if c.Store == config.StoreFile {
		store, err := filestore.Open(filestore.Options{
			Path: c.StateFile, Audit: c.AuditSize, Instance: a.instance, Address: address, Logger: a.log,
		})
		if err != nil {
			return nil, err
		}
		return store, nil
	}
	secure, err := a.storeTLS(c.Redis)
	if err != nil {
		return nil, err
	}
	store, err := redisstore.Open(redisstore.Options{
		Redis: redis.UniversalOptions{
			Addrs: []string{c.Redis.Address}, Username: c.Redis.Username, Password: c.Redis.Password.Reveal(), TLSConfig: secure,
		},
		Namespace: c.Redis.Namespace, Instance: a.instance, Address: address, Poll: c.Redis.PollInterval,
		Audit: c.AuditSize, Cache: c.Redis.CacheFile, Logger: a.log,
	})
	if err != nil {
		return nil, err
	}
	return store, nil
}

// storeTLS is TLS to the registry's store; nil speaks none.
func (a *App) storeTLS(c config.RegistryRedis) (*tls.Config, error) {
	if !c.TLS.Enabled {
		return nil, nil
	}
	t, err := edge.NewClientTLS(edge.ClientFiles{
		CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile,
		ServerName: c.TLS.ServerName, InsecureSkipVerify: c.TLS.InsecureSkipVerify,
	}, a.log)
	if err != nil {
		return nil, fmt.Errorf("registry.redis.tls: %w", err)
	}
	_, address := config.SplitAddress(c.Address)
	return t.For(address), nil
}

// flightTime bounds the wait for calls that an earlier snapshot decided. They
// take milliseconds, but for scripts that run for long: those are in flight,
// and end as they began.
const flightTime = 50 * time.Millisecond

// settle returns when the loops decide by the current generation and what they
// decided before is answered, so that an operator who hears of a change sees
// it in force.
func (a *App) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), flightTime)
	defer cancel()
	if err := a.server.Settle(ctx); err != nil {
		a.log.Debug("calls that began before the registry changed are still running", "after", flightTime)
	}
}

// storeLook is how often metrics ask how far behind the fleet this proxy is.
const storeLook = time.Second

// watchStore keeps the metrics of the store, until ctx ends.
func (a *App) watchStore(ctx context.Context, shared bool) {
	tick := time.NewTicker(storeLook)
	defer tick.Stop()
	for {
		if shared {
			a.metrics.RegistryUp(!a.registry.Health().Away)
		}
		a.metrics.RegistryDrift(a.drift(ctx))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// drift is by how many revisions this proxy is behind the furthest of its
// fleet; 0 when the store does not say.
func (a *App) drift(ctx context.Context) uint64 {
	ctx, cancel := context.WithTimeout(ctx, storeLook)
	defer cancel()
	fleet, err := a.registry.Fleet(ctx)
	if err != nil {
		return 0
	}
	here, furthest := a.registry.Snapshot().Revision, uint64(0)
	for _, in := range fleet {
		furthest = max(furthest, in.Revision)
	}
	return furthest - min(here, furthest)
}

// changedHere does what must have happened before a change made through this
// proxy is answered: libraries are loaded under their plain names.
func (a *App) changedHere(ctx context.Context, r registry.Result) []string {
	script := r.Snapshot.Script(r.Change.Name)
	if script == nil || script.Kind != registry.KindFunction {
		return nil
	}
	if err := a.libraries.sync(ctx); err != nil {
		return []string{fmt.Sprintf("the change is saved, but not in force on the primary: %v; it is tried again every %s", err, libraryRetry)}
	}
	return nil
}
