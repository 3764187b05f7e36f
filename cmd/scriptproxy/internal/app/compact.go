package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/operate"
	"github.com/scriptproxy/scriptproxy/proxy"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// How a node's script cache is compacted under load.
//
// Redis can't unload one script. So the cache is emptied and what is alive is
// loaded again. The scripts that the node runs most are loaded in the same
// transaction as the flush: nobody meets a moment without them. The others
// follow, pipelined in batches small enough for the server to serve clients in
// between. A call that comes before its script is back meets it all the same:
// the data plane loads ahead of a call what it does not know to be loaded, and
// a call that was on its way during the flush is sent again with its body.

const (
	// hotScripts and hotBytes bound the transaction. Loading takes about 15 µs
	// a script (10,000 of 500 bytes in 0.15 s, Redis 7.0.15), so that other
	// clients wait some 2 ms for it, and for the flush itself.
	hotScripts = 128
	hotBytes   = 256 << 10
	// compactBatch is what is loaded between two looks at the clock.
	compactBatch = 128 << 10
	// compactTime bounds each exchange with the node.
	compactTime = 10 * time.Second
	// compactGap is how many looks at the caches pass between two automatic
	// compactions of one node.
	compactGap = 6
	// worthwhile is the part of a cache that must be dead for it to be
	// compacted without being asked for: 1/worthwhile.
	worthwhile = 10
)

// compactions remembers when nodes were compacted by this process.
type compactions struct {
	running sync.Mutex
	mu      sync.Mutex
	last    map[*topology.Node]time.Time
	warned  map[*topology.Node]time.Time
}

func (c *compactions) at(n *topology.Node) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last[n]
}

func (c *compactions) done(n *topology.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = make(map[*topology.Node]time.Time)
	}
	c.last[n] = time.Now().UTC()
}

// warn reports whether a warning about the node is due: once an hour.
func (c *compactions) warn(n *topology.Node) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.warned[n]) < time.Hour {
		return false
	}
	if c.warned == nil {
		c.warned = make(map[*topology.Node]time.Time)
	}
	c.warned[n] = time.Now()
	return true
}

// compact empties the script caches of nodes, one after the other, replicas
// first, and loads again what is alive.
func (a *App) compact(ctx context.Context, c api.Compact, progress func(api.Progress)) error {
	a.mu.Lock()
	keep := a.cfg.Scripts.Compact.Keep
	a.mu.Unlock()
	if c.Keep != "" {
		var err error
		if keep, err = time.ParseDuration(c.Keep); err != nil || keep < 0 {
			return &api.Error{Status: 400, Code: api.CodeBadRequest, Message: fmt.Sprintf("keep is %q; write a duration such as 1h", c.Keep)}
		}
	}
	nodes, err := a.toCompact(c.Nodes)
	if err != nil {
		return err
	}
	if !a.compacted.running.TryLock() {
		return &operate.BusyError{Text: "a compaction is running already; nothing was done; wait for it to end"}
	}
	defer a.compacted.running.Unlock()
	if !c.Force {
		if err := a.foreignInUse(ctx, keep); err != nil {
			return &operate.ForeignError{Text: err.Error()}
		}
	}
	for _, n := range nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !n.Up() {
			if len(c.Nodes) > 0 {
				return fmt.Errorf("node %s is down: %s; it was left alone", n.Addr, n.LastError())
			}
			progress(api.Progress{Step: api.StepSkip, Node: n.Addr, Error: "down: " + n.LastError()})
			continue
		}
		// Who asked may go away: a node that was begun is finished.
		if err := a.compactNode(context.WithoutCancel(ctx), n, keep, progress); err != nil {
			return fmt.Errorf("node %s: %w", n.Addr, err)
		}
	}
	return nil
}

// toCompact finds nodes by their addresses, or all of them; the primary last.
func (a *App) toCompact(addrs []string) ([]*topology.Node, error) {
	all := a.upstreams.nodes()
	var nodes []*topology.Node
	for _, n := range all {
		if len(addrs) == 0 || slices.Contains(addrs, n.Addr) {
			nodes = append(nodes, n)
		}
	}
	for _, addr := range addrs {
		if !slices.ContainsFunc(nodes, func(n *topology.Node) bool { return n.Addr == addr }) {
			var known []string
			for _, n := range all {
				known = append(known, n.Addr)
			}
			return nil, &api.Error{Status: 404, Code: api.CodeNotFound, Message: fmt.Sprintf("no node has the address %q; there are %s", addr, strings.Join(known[:min(len(known), 10)], ", ")), Close: known}
		}
	}
	slices.SortStableFunc(nodes, func(x, y *topology.Node) int {
		return boolInt(a.upstreams.primary(x)) - boolInt(a.upstreams.primary(y))
	})
	return nodes, nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compactNode empties one node's cache and loads it again.
func (a *App) compactNode(ctx context.Context, n *topology.Node, keep time.Duration, progress func(api.Progress)) (err error) {
	started := time.Now()
	before, err := a.sizeOf(ctx, n)
	if err != nil {
		return fmt.Errorf("its cache was left alone: %w", err)
	}
	scripts := a.aliveOn(keep, n)
	progress(api.Progress{Step: api.StepStart, Node: n.Addr, Of: len(scripts), ScriptsBefore: before.scripts, MemoryBefore: before.memory})

	client := a.upstreams.client(n)
	defer client.Close()
	c := client.WithTimeout(compactTime)
	n.Flushing(true)
	defer n.Flushing(false)
	hot := hottest(scripts)
	there, err := a.flushAndLoad(ctx, n, c, scripts[:hot])
	if err != nil && isServerError(err) {
		return fmt.Errorf("SCRIPT FLUSH was refused, and its cache is as it was: %w", err)
	}
	// From here on calls look for themselves what is loaded.
	n.LostScripts(n.Epoch())
	epoch := n.Epoch()
	if err != nil {
		n.SetReady(false)
		return fmt.Errorf("SCRIPT FLUSH may have happened, and calls load what they need: %w", err)
	}
	for _, s := range there {
		s.SetLoaded(n.Index, epoch)
	}
	a.lostWithPrimary(n)
	loaded := hot
	progress(api.Progress{Step: api.StepLoad, Node: n.Addr, Loaded: loaded, Of: len(scripts)})
	for loaded < len(scripts) {
		k := batch(scripts[loaded:], compactBatch)
		if err := a.load(ctx, n, epoch, c, scripts[loaded:loaded+k], a.refused); err != nil {
			// The poller brings the registered ones; calls bring the others.
			n.SetReady(false)
			return fmt.Errorf("%d of %d scripts are loaded again, and calls load the others as they come: %w", loaded, len(scripts), err)
		}
		loaded += k
		progress(api.Progress{Step: api.StepLoad, Node: n.Addr, Loaded: loaded, Of: len(scripts)})
	}
	after, err := a.sizeOf(ctx, n)
	if err != nil {
		after = unknownSize
	}
	a.compacted.done(n)
	took := time.Since(started)
	a.log.Info("script cache compacted", "node", n.Addr, "scripts_before", before.scripts, "scripts_after", after.scripts,
		"memory_before", before.memory, "memory_after", after.memory, "took", took)
	progress(api.Progress{
		Step: api.StepDone, Node: n.Addr, Loaded: loaded, Of: len(scripts), ScriptsBefore: before.scripts, ScriptsAfter: after.scripts,
		MemoryBefore: before.memory, MemoryAfter: after.memory, Seconds: took.Seconds(),
	})
	return nil
}

// hottest is how many of the scripts, which are in order of their last use,
// are loaded together with the flush.
func hottest(scripts []*proxy.Script) int {
	return min(hotScripts, batch(scripts, hotBytes))
}

// batch is how many of the scripts together have at most so many bytes; one at
// least, if there is any.
func batch(scripts []*proxy.Script, most int) int {
	size := 0
	for i, s := range scripts {
		if size += len(s.Body); size > most && i > 0 {
			return i
		}
	}
	return len(scripts)
}

// flushAndLoad empties the cache and loads scripts in one transaction. It
// returns those which the node took. An error of the server means that nothing
// happened, any other that it may have.
func (a *App) flushAndLoad(ctx context.Context, n *topology.Node, c *redis.Client, scripts []*proxy.Script) ([]*proxy.Script, error) {
	var flush *redis.Cmd
	var loads []*redis.StringCmd
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		flush = p.Do(ctx, "SCRIPT", "FLUSH", "ASYNC")
		for _, s := range scripts {
			loads = append(loads, p.ScriptLoad(ctx, string(s.Body)))
		}
		return nil
	})
	if flush.Err() != nil {
		return nil, flush.Err()
	}
	if err != nil && !isServerError(err) {
		return nil, err
	}
	var there []*proxy.Script
	for i, l := range loads {
		if err := l.Err(); err != nil {
			a.refused(n, scripts[i], err)
			continue
		}
		there = append(there, scripts[i])
	}
	return there, nil
}

// lostWithPrimary takes note that servers before Redis 7 replicate SCRIPT
// FLUSH: their replicas lost what the primary did.
func (a *App) lostWithPrimary(n *topology.Node) {
	v := a.upstreams.of(n).View()
	if n != v.Primary || n.HasReadOnlyCalls() {
		return
	}
	for _, r := range v.Replicas {
		r.LostScripts(r.Epoch())
	}
}

// maybeCompact compacts a node whose cache passes a bound, if enough of it is
// dead.
func (a *App) maybeCompact(ctx context.Context, n *topology.Node, size cacheSize, limits config.Compact) {
	over := ""
	switch {
	case limits.MaxScripts > 0 && size.scripts > int64(limits.MaxScripts):
		over = fmt.Sprintf("%d scripts, and max_scripts is %d", size.scripts, limits.MaxScripts)
	case limits.MaxMemory > 0 && size.memory > int64(limits.MaxMemory):
		over = fmt.Sprintf("scripts take %s, and max_memory is %s", config.Size(size.memory), limits.MaxMemory)
	}
	if over == "" || time.Since(a.compacted.at(n)) < compactGap*limits.CheckInterval {
		return
	}
	alive := int64(len(a.aliveOn(limits.Keep, n)))
	if alive > size.scripts-size.scripts/worthwhile {
		if a.compacted.warn(n) {
			a.log.Warn("a script cache passes its bound, and nearly all of it is in use; raise scripts.compact's bounds, or retire versions",
				"node", n.Addr, "cache", over, "in_use", alive)
		}
		return
	}
	a.log.Info("a script cache passes its bound", "node", n.Addr, "cache", over)
	err := a.compact(ctx, api.Compact{Nodes: []string{n.Addr}}, func(api.Progress) {})
	if busy := (*operate.BusyError)(nil); err != nil && !errors.As(err, &busy) && ctx.Err() == nil && a.compacted.warn(n) {
		a.log.Warn("a script cache passes its bound and was not compacted", "node", n.Addr, "error", err)
	}
}
