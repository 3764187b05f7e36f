package topology

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Change is another list of servers for a monitor: those that are new are
// asked already, and nothing else has changed yet. Either Apply or Cancel ends
// it, before the next one is proposed.
type Change struct {
	m       *Monitor
	all     []*Node // the primary first, as configured
	added   []*Node
	fresh   []*Node // of added, those that were never anybody's
	removed []*Node
}

// errRemoved is why a node that was taken away is down.
var errRemoved = errors.New("it is no longer in the configuration")

// Propose begins to ask the servers that the monitor does not have yet, and
// waits until each was heard or failed, or until ctx ends. It is an error when
// the change would take a working primary away and none of the servers is one,
// when more than one is, or when there is no place left for them; then nothing
// has changed. It returns nil when the servers are those that there are.
func (m *Monitor) Propose(ctx context.Context, primary string, replicas []string, places *Places) (*Change, error) {
	old := m.View()
	c := &Change{m: m}
	for _, addr := range append([]string{primary}, replicas...) {
		if i := slices.IndexFunc(old.All, func(n *Node) bool { return n.Addr == addr }); i >= 0 {
			c.all = append(c.all, old.All[i])
			continue
		}
		n, fresh := places.take(addr, m.opts.Backend, m.opts.Now())
		if n == nil {
			c.Cancel(places)
			return nil, fmt.Errorf("there is no place for %s: this process has taken up %d servers beside those that it began with; restart it", addr, SparePlaces)
		}
		c.all = append(c.all, n)
		c.added = append(c.added, n)
		if fresh {
			c.fresh = append(c.fresh, n)
		}
	}
	for _, n := range old.All {
		if !slices.Contains(c.all, n) {
			c.removed = append(c.removed, n)
		}
	}
	if len(c.added)+len(c.removed) == 0 {
		return nil, nil
	}
	heard := make(chan struct{}, len(c.added))
	for _, n := range c.added {
		m.watch(n, heard)
	}
	for range c.added {
		select {
		case <-heard:
		case <-ctx.Done():
		}
	}
	if err := c.check(old); err != nil {
		c.Cancel(places)
		return nil, err
	}
	return c, nil
}

// check refuses a change that would leave a set without a primary that it has.
func (c *Change) check(old *View) error {
	var claims []*Node
	for _, n := range c.all {
		if n.Up() && n.Role() == RolePrimary {
			claims = append(claims, n)
		}
	}
	switch {
	case len(claims) > 1:
		return errors.New(conflict(claims, nil))
	case len(claims) == 0 && old.Primary != nil && old.Primary.Up() && slices.Contains(c.removed, old.Primary):
		var why []string
		for _, n := range c.all {
			state := "is a " + n.Role().String()
			if !n.Up() {
				state = "is down: " + n.LastError()
			}
			why = append(why, n.Addr+" "+state)
		}
		return fmt.Errorf("the primary %s would be taken away, and no other server is one: %s", old.Primary.Addr, strings.Join(why, "; "))
	}
	return nil
}

// Added and Removed are the servers that come and go.
func (c *Change) Added() []*Node   { return c.added }
func (c *Change) Removed() []*Node { return c.removed }

// Apply makes the servers those of the monitor. A new one gets reads once it
// has every script, and, as a replica, once it has caught up.
func (c *Change) Apply(places *Places) {
	m := c.m
	for _, n := range c.added {
		n.SetReady(false) // scripts may have been registered since it was asked
	}
	m.mu.Lock()
	old := m.View()
	v := &View{All: c.all, Primary: old.Primary, Why: old.Why}
	if old.Primary == nil || slices.Contains(c.removed, old.Primary) {
		v.Primary, v.Why = c.primary(), ""
	}
	for _, n := range c.all {
		if n != v.Primary {
			v.Replicas = append(v.Replicas, n)
		}
	}
	if v.Primary != old.Primary {
		m.primaryChanged(v)
	}
	m.view.Store(v)
	m.mu.Unlock()
	for _, n := range c.removed {
		m.unwatch(n)
		n.fail(m.opts.Now(), errRemoved)
		n.gone.Store(true)
		places.leave(n)
	}
	if log := m.opts.Logger; log != nil {
		log.Info("the servers have changed", "primary", v.Primary.Addr, "added", addrs(c.added), "removed", addrs(c.removed))
	}
}

// primary is the node that says it is, or else the configured one.
func (c *Change) primary() *Node {
	for _, n := range c.all {
		if n.Up() && n.Role() == RolePrimary {
			return n
		}
	}
	return c.all[0]
}

// Cancel forgets the change.
func (c *Change) Cancel(places *Places) {
	for _, n := range c.added {
		c.m.unwatch(n)
		n.fail(c.m.opts.Now(), errRemoved)
		if slices.Contains(c.fresh, n) {
			places.untake(n, c.m.opts.Now())
			continue
		}
		n.gone.Store(true)
		places.leave(n)
	}
}

func addrs(nodes []*Node) []string {
	list := make([]string, len(nodes))
	for i, n := range nodes {
		list[i] = n.Addr
	}
	return list
}
