package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/policy/acl"
	"github.com/scriptproxy/scriptproxy/proxy"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

const (
	// wallEvery is how often the servers' ACLs are looked at while the policy
	// is on, beside what is known here to have changed.
	wallEvery = 30 * time.Second
	// wallLook is how often new users are looked for.
	wallLook = time.Second
	// wallTimeout bounds one look at all servers that are up.
	wallTimeout = 5 * time.Second
)

// wall is what the servers' own ACLs would let through that the policy
// denies, and whom they let load no scripts. Its methods are for any
// goroutine.
type wall struct {
	once sync.Once
	kick chan struct{}

	mu    sync.Mutex
	nodes map[string]nodeWall // by the server's address
}

// nodeWall is one server's share.
type nodeWall struct {
	gaps  []string
	apart []string // users that may run scripts and load none
}

func (w *wall) kicked() chan struct{} {
	w.once.Do(func() { w.kick = make(chan struct{}, 1) })
	return w.kick
}

// wake has the servers looked at now.
func (w *wall) wake() {
	select {
	case w.kicked() <- struct{}{}:
	default:
	}
}

// mayNotLoad are the users whom some server lets load nothing.
func (w *wall) mayNotLoad() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	users := make(map[string]bool)
	for _, n := range w.nodes {
		for _, name := range n.apart {
			users[name] = true
		}
	}
	return users
}

// set takes note of a server, and tells whether other users than before may
// not load.
func (w *wall) set(addr string, n nodeWall) (changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.nodes == nil {
		w.nodes = make(map[string]nodeWall)
	}
	changed = !slices.Equal(w.nodes[addr].apart, n.apart)
	w.nodes[addr] = n
	return changed
}

// forget drops what is known of a server that was taken away.
func (w *wall) forget(addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.nodes, addr)
}

// warnings are for readiness: each once, with the servers that it is about
// when it is not about all.
func (w *wall) warnings() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	on := make(map[string][]string)
	for addr, n := range w.nodes {
		for _, text := range n.gaps {
			on[text] = append(on[text], addr)
		}
	}
	var list []string
	for _, text := range slices.Sorted(maps.Keys(on)) {
		addrs := on[text]
		if len(addrs) < len(w.nodes) {
			slices.Sort(addrs)
			text += " (" + strings.Join(addrs, ", ") + ")"
		}
		list = append(list, text)
	}
	return list
}

// watchWall looks at the servers' ACLs until ctx ends.
func (a *App) watchWall(ctx context.Context) {
	tick := time.NewTicker(wallLook)
	defer tick.Stop()
	var seen []string
	var last time.Time
	for {
		kicked := false
		select {
		case <-ctx.Done():
			return
		case <-a.government.wall.kicked():
			kicked = true
		case <-tick.C:
		}
		users := a.server.Users()
		if kicked || len(users) != len(seen) || a.governed() && time.Since(last) > wallEvery {
			seen, last = users, time.Now()
			a.lookAtWall(ctx)
		}
	}
}

// governed reports that the policy is on.
func (a *App) governed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.government.spec.Mode != policy.ModeOff
}

// lookAtWall asks every server that is up. What it finds is in force when it
// returns. One that runs a script for long would not answer, and nobody should
// wait with a reload for it: it is asked later.
func (a *App) lookAtWall(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, wallTimeout)
	defer cancel()
	w := &a.government.wall
	before := w.warnings()
	changed := false
	for _, n := range a.upstreams.nodes() {
		switch {
		case !n.Up():
		case a.server.NodeBusy(n):
			time.AfterFunc(wallLook, w.wake)
		default:
			client := a.upstreams.client(n)
			changed = a.lookAtServer(ctx, n, client) || changed
			client.Close()
		}
	}
	now := w.warnings()
	for _, text := range now {
		if !slices.Contains(before, text) {
			a.log.Warn("the policy has no wall behind it: " + text)
		}
	}
	if len(before) > 0 && len(now) == 0 {
		a.log.Info("the servers' ACLs enforce what the policy denies")
	}
	if changed {
		a.publish()
	}
}

// lookAtServer asks one server for its ACL. It tells whether other users than
// before may not load scripts there.
func (a *App) lookAtServer(ctx context.Context, n *topology.Node, client *redis.Client) (changed bool) {
	a.mu.Lock()
	cfg, book, spec, table := a.cfg.For(a.cfg.Sets()[n.Backend]), a.government.book, a.government.spec, a.commands
	a.mu.Unlock()
	states, err := aclStates(ctx, client)
	var now nodeWall
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil && !errors.Is(err, errNoACL):
		if enforced(spec) {
			now.gaps = []string{fmt.Sprintf("it is not known what the server would let through: %v; allow the user '%s' ACL USERS and ACL GETUSER", err, loaderOf(cfg))}
		}
	default:
		now.apart = apartOf(states, table, loaderOf(cfg))
		if enforced(spec) && book != nil {
			now.gaps = gapsOf(cfg, book, table, states, a.server.Users())
		}
	}
	return a.government.wall.set(n.Addr, now)
}

// enforced reports that a policy denies something that a server could deny
// too.
func enforced(spec policy.Spec) bool {
	return spec.Mode == policy.ModeEnforce && (spec.Default == policy.Deny || spec.DefaultCommands == policy.Deny ||
		slices.ContainsFunc(spec.Rules, func(r policy.Rule) bool { return r.Action == policy.Deny }))
}

// loaderOf is the server's user that loads scripts: the proxy's own.
func loaderOf(cfg *config.Config) string {
	if cfg.Upstream.Username == "" {
		return "default"
	}
	return cfg.Upstream.Username
}

var errNoACL = errors.New("the server has no ACL")

// aclStates asks a server for its users.
func aclStates(ctx context.Context, client *redis.Client) ([]acl.State, error) {
	names, err := client.Do(ctx, "ACL", "USERS").StringSlice()
	if err != nil {
		if strings.HasPrefix(err.Error(), "ERR unknown command") {
			return nil, errNoACL
		}
		return nil, fmt.Errorf("ACL USERS: %w", err)
	}
	var states []acl.State
	for _, name := range names {
		reply, err := client.Do(ctx, "ACL", "GETUSER", name).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("ACL GETUSER %s: %w", name, err)
		}
		state, err := acl.ParseGetUser(name, reply)
		if err != nil {
			return nil, err
		}
		states = append(states, state)
	}
	return states, nil
}

// serverCommands are the commands that a server has, for its ACL.
func serverCommands(table *command.Table) []policy.Command {
	var list []policy.Command
	for c := range table.All() {
		if !c.Absent {
			list = append(list, policy.Command{Name: strings.ToLower(c.Name), Categories: c.Categories})
		}
	}
	return list
}

// apartOf are the users that may run what is loaded and load nothing.
func apartOf(states []acl.State, table *command.Table, loader string) []string {
	reader := acl.NewReader(serverCommands(table))
	var names []string
	for _, s := range states {
		if s.Name == loader {
			continue
		}
		calls, err1 := reader.Permits(s, "evalsha")
		loads, err2 := reader.Permits(s, "eval")
		if err1 == nil && err2 == nil && calls && !loads {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

// gapsOf compares what the policy asks of a server with what it says of its
// users.
func gapsOf(cfg *config.Config, book *Book, table *command.Table, states []acl.State, seen []string) []string {
	exists := make(map[string]bool, len(states))
	for _, s := range states {
		exists[s.Name] = s.Exists
	}
	if len(states) == 0 {
		return []string{"the server has no ACL (Redis 6.0 and later have): whoever evades the analysis of scripts is stopped by nobody"}
	}
	users, shared := dataUsers(cfg, book.Set.Rules(), seen)
	users = slices.DeleteFunc(users, func(u acl.User) bool { return !exists[u.Name] })
	var gaps []string
	if shared {
		gaps = append(gaps, fmt.Sprintf("calls of clients travel as '%s', the user with which the proxy loads scripts, so that no ACL can hold them to the policy; %s", loaderOf(cfg), ownUsers(cfg)))
	}
	if len(users) == 0 {
		return gaps
	}
	catalog := book.Catalog
	catalog.Commands = serverCommands(table)
	plan, err := acl.Generate(book.Set, catalog, acl.Options{Users: users, Loader: loaderOf(cfg)})
	if err != nil {
		return append(gaps, err.Error())
	}
	found, err := plan.Check(states)
	if err != nil {
		return append(gaps, err.Error())
	}
	for _, g := range found {
		gaps = append(gaps, g.Text)
	}
	return gaps
}

// ownUsers says how clients' calls get users of their own.
func ownUsers(cfg *config.Config) string {
	if cfg.Auth.Mode == config.AuthService {
		return "give auth.users[] an upstream_username"
	}
	return "give the proxy a user of its own with upstream.username"
}

// dataUsers are the server's users that clients' calls travel as: those that
// the configuration and the rules name, and those that were seen. shared
// tells that some travel as the proxy's own user.
func dataUsers(cfg *config.Config, rules []policy.Rule, seen []string) (users []acl.User, shared bool) {
	loader := loaderOf(cfg)
	callers := make(map[string][]string)
	if cfg.Auth.Mode == config.AuthService {
		for _, u := range cfg.Auth.Users {
			name := u.UpstreamUsername
			if name == "" {
				name = loader
			}
			callers[name] = append(callers[name], u.Name)
		}
		shared = len(callers[loader]) > 0 || len(cfg.Auth.Users) == 0
	} else {
		for _, r := range rules {
			for _, name := range r.Match.Users {
				if !strings.ContainsAny(name, "*?[]") {
					callers[name] = []string{name}
				}
			}
		}
		for _, name := range seen {
			callers[name] = []string{name}
			shared = shared || name == loader
		}
	}
	delete(callers, loader)
	for _, name := range slices.Sorted(maps.Keys(callers)) {
		users = append(users, acl.User{Name: name, Callers: callers[name]})
	}
	return users, shared
}

// loadOne loads a script on a node through the proxy's own user, for a user
// who may not.
func (a *App) loadOne(ctx context.Context, n *topology.Node, s *proxy.Script) (refused string, err error) {
	client := a.upstreams.client(n)
	defer client.Close()
	sha, err := client.ScriptLoad(ctx, string(s.Body)).Result()
	switch {
	case isServerError(err):
		return err.Error(), nil
	case err != nil:
		return "", err
	case sha != s.SHA:
		return "", fmt.Errorf("SCRIPT LOAD answered the sha %s, and the body's is %s", sha, s.SHA)
	}
	return "", nil
}
