package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/proxy"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// cacheSize is what a node says of its script cache; -1 is not known.
type cacheSize struct{ scripts, memory int64 }

var unknownSize = cacheSize{-1, -1}

// cacheTime bounds asking a node for it.
const cacheTime = 2 * time.Second

// sizeOf asks a node how large its script cache is, and tells the metrics.
func (a *App) sizeOf(ctx context.Context, n *topology.Node) (cacheSize, error) {
	ctx, cancel := context.WithTimeout(ctx, cacheTime)
	defer cancel()
	c := a.upstreams.client(n)
	defer c.Close()
	info, err := c.WithTimeout(cacheTime).Info(ctx, "memory").Result()
	if err != nil {
		return unknownSize, err
	}
	size := parseCacheSize(info)
	a.metrics.UpstreamScripts(a.metrics.Node(n.Addr), size.scripts, size.memory)
	return size, nil
}

// parseCacheSize reads INFO memory. Redis 7 tells the memory of the Lua
// interpreter of EVAL and that of what belongs to the scripts apart; before,
// the interpreter was used_memory_lua.
func parseCacheSize(info string) cacheSize {
	fields := make(map[string]int64)
	for line := range strings.SplitSeq(info, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			if n, err := strconv.ParseInt(v, 10, 64); err == nil {
				fields[k] = n
			}
		}
	}
	size := unknownSize
	if n, ok := fields["number_of_cached_scripts"]; ok {
		size.scripts = n
	}
	if vm, ok := fields["used_memory_vm_eval"]; ok {
		size.memory = vm + fields["used_memory_scripts_eval"]
	} else if vm, ok := fields["used_memory_lua"]; ok {
		size.memory = vm + fields["used_memory_scripts"]
	}
	return size
}

// aliveOn lists the scripts that must be in a node's cache: registered
// versions that are not retired, and what its clients brought and used within
// keep. Those which it has run latest come first.
func (a *App) aliveOn(keep time.Duration, node *topology.Node) []*proxy.Script {
	list := slices.Clone(a.server.Generation().Scripts.All())
	since := time.Now().Add(-keep)
	for _, s := range a.server.KnownScriptsOf(node) {
		if s.LastSeen().After(since) {
			list = append(list, s)
		}
	}
	used := make(map[*proxy.Script]time.Time, len(list))
	for _, s := range list {
		used[s] = s.LastUsed(node.Index)
	}
	slices.SortStableFunc(list, func(x, y *proxy.Script) int { return used[y].Compare(used[x]) })
	return list
}

// use tells how the versions of registered scripts are used.
func (a *App) use(scripts []*registry.Script) [][]api.Use {
	calls := a.metrics.Calls()
	nodes := a.upstreams.nodes()
	out := make([][]api.Use, len(scripts))
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, s := range scripts {
		out[i] = make([]api.Use, 0, len(s.Versions))
		for _, v := range s.Versions {
			u := api.Use{Version: v.ID, Bytes: len(v.Body), Calls: calls[metrics.ScriptVersion{Script: s.Name, Version: v.ID}]}
			if known := a.scripts.known[versionKey{s.Name, v.ID, v.SHA}]; known != nil {
				u.Nodes = nodeUse(known, nodes, s.Kind == registry.KindScript)
				u.Breaker = a.breakerOfVersion(known)
				for _, n := range u.Nodes {
					if n.LastUsed.After(u.LastUsed) {
						u.LastUsed = n.LastUsed
					}
				}
			}
			out[i] = append(out[i], u)
		}
	}
	return out
}

func nodeUse(s *proxy.Script, nodes []*topology.Node, cached bool) []api.NodeUse {
	out := make([]api.NodeUse, len(nodes))
	for i, n := range nodes {
		out[i] = api.NodeUse{Node: n.Addr, Loaded: cached && s.LoadedOn(n.Index, n.Epoch()), LastUsed: s.LastUsed(n.Index).UTC().Truncate(time.Second)}
		if s.LastUsed(n.Index).IsZero() {
			out[i].LastUsed = time.Time{}
		}
	}
	return out
}

// begins is how much of a body is shown.
const begins = 80

// cacheState asks every node, and tells what clients brought.
func (a *App) cacheState(ctx context.Context) (*api.Cache, error) {
	a.mu.Lock()
	limits := a.cfg.Scripts.Compact
	a.mu.Unlock()
	out := &api.Cache{
		Limits:       api.CacheLimits{MaxScripts: limits.MaxScripts, MaxMemory: int64(limits.MaxMemory), Keep: limits.Keep.String()},
		Unregistered: []api.ClientScript{}, Foreign: []api.Foreign{}, Shapes: a.shapes.list(),
	}
	living := make(map[*proxy.Script]bool)
	nodes := a.upstreams.nodes()
	for _, n := range nodes {
		alive, aliveBytes := a.aliveOn(limits.Keep, n), int64(0)
		for _, s := range alive {
			aliveBytes += int64(len(s.Body))
			living[s] = true
		}
		state := api.CacheNode{
			Node: n.Addr, Role: n.Role().String(), Up: n.Up(), Alive: len(alive), AliveBytes: aliveBytes, Compacted: a.compacted.at(n),
		}
		size, err := a.sizeOf(ctx, n)
		if err != nil {
			state.Error = err.Error()
		}
		state.Scripts, state.Memory = size.scripts, size.memory
		out.Nodes = append(out.Nodes, state)
	}
	for _, s := range a.server.KnownScripts() {
		class := "write"
		if s.Class() == proxy.ClassRead {
			class = "read"
		}
		out.Unregistered = append(out.Unregistered, api.ClientScript{
			SHA: s.SHA, Bytes: len(s.Body), Class: class, Calls: s.Calls(), LastUsed: s.LastSeen().UTC(), Alive: living[s],
			Begins: strings.ToValidUTF8(string(s.Body[:min(begins, len(s.Body))]), "?"), Nodes: nodeUse(s, nodes, true),
		})
	}
	slices.SortFunc(out.Unregistered, func(x, y api.ClientScript) int {
		return compareTime(y.LastUsed, x.LastUsed, x.SHA, y.SHA)
	})
	foreign, err := a.server.Foreign(ctx)
	if err != nil {
		return nil, err
	}
	for sha, at := range foreign {
		out.Foreign = append(out.Foreign, api.Foreign{SHA: sha, LastUsed: at.UTC()})
	}
	slices.SortFunc(out.Foreign, func(x, y api.Foreign) int { return compareTime(y.LastUsed, x.LastUsed, x.SHA, y.SHA) })
	return out, nil
}

func compareTime(a, b time.Time, x, y string) int {
	if c := a.Compare(b); c != 0 {
		return c
	}
	return strings.Compare(x, y)
}

// foreignInUse names scripts that were called within keep and that only the
// servers know; nil when there are none.
func (a *App) foreignInUse(ctx context.Context, keep time.Duration) error {
	foreign, err := a.server.Foreign(ctx)
	if err != nil {
		return err
	}
	since := time.Now().Add(-keep)
	var used []string
	for sha, at := range foreign {
		if at.After(since) {
			used = append(used, sha)
		}
	}
	if len(used) == 0 {
		return nil
	}
	slices.Sort(used)
	const named = 3
	text := strings.Join(used[:min(named, len(used))], ", ")
	if len(used) > named {
		text += fmt.Sprintf(" and %d more", len(used)-named)
	}
	return errors.New("clients call scripts which only the servers know, by the shas " + text +
		"; they would be lost: register them, have the clients load them through this proxy, or repeat with force")
}

// watchCaches looks at the nodes' caches for the metrics, and compacts those
// which pass a bound, until ctx ends.
func (a *App) watchCaches(ctx context.Context) {
	for {
		a.mu.Lock()
		limits := a.cfg.Scripts.Compact
		a.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(limits.CheckInterval):
		}
		for _, n := range a.upstreams.nodes() {
			if !n.Up() || n.Busy() {
				continue
			}
			size, err := a.sizeOf(ctx, n)
			if err != nil || ctx.Err() != nil {
				continue
			}
			a.maybeCompact(ctx, n, size, limits)
		}
	}
}
