package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// nodeChanges are the servers of a new configuration, for each set nil or what
// is different.
type nodeChanges []*topology.Change

// proposeNodes asks the servers that a configuration adds. Nothing is changed
// yet: the caller either applies what is returned or cancels it.
func (a *App) proposeNodes(ctx context.Context, cfg *config.Config) (nodeChanges, error) {
	sets := cfg.Sets()
	if !slices.EqualFunc(sets, a.upstreams, func(s config.Set, u *upstreamSet) bool { return s.Name == u.name }) {
		return nil, errors.New("sets of servers are added, renamed and taken away by a restart only")
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	changes := make(nodeChanges, len(sets))
	for i, set := range sets {
		c, err := a.upstreams[i].monitor.Propose(ctx, set.Primary, set.Replicas, a.places)
		if err != nil {
			a.cancelNodes(changes)
			if len(sets) > 1 {
				err = fmt.Errorf("upstream %s: %w", set.Name, err)
			}
			return nil, fmt.Errorf("the servers can't be changed: %w", err)
		}
		changes[i] = c
	}
	return changes, nil
}

func (a *App) cancelNodes(changes nodeChanges) {
	for _, c := range changes {
		if c != nil {
			c.Cancel(a.places)
		}
	}
}

// applyNodes makes proposed servers those that clients are served by. Clients
// that have something on a server which goes, a transaction or a subscription,
// have drain_timeout to end it.
func (a *App) applyNodes(changes nodeChanges) {
	grace := a.cfg.Limits.DrainTimeout
	for _, c := range changes {
		if c == nil {
			continue
		}
		for _, n := range c.Added() {
			a.server.AddNode(n)
		}
		c.Apply(a.places)
		for _, n := range c.Removed() {
			a.server.RemoveNode(n, grace)
			a.government.wall.forget(n.Addr)
		}
	}
}

// nodeLeft is told of a node that is asked no more.
func (a *App) nodeLeft(n *topology.Node) { a.metrics.NodeGone(a.metrics.Node(n.Addr)) }
