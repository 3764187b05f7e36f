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
	// wallTimeout bounds one look at one server.
	wallTimeout = 5 * time.Second
)

// wall is what the servers' own ACLs would let through that the policy
// denies, and whom they let load no scripts. Its methods are for any
// goroutine.
type wall struct {
	mu     sync.Mutex
	stale  bool                // something has changed since the last look
	byNode map[string][]string // warnings by the server's address
	apart  map[string]bool
}

// wake has the servers looked at soon.
func (w *wall) wake() {
	w.mu.Lock()
	w.stale = true
	w.mu.Unlock()
}

// mayNotLoad are the users that the servers let load nothing. It must not be
// changed.
func (w *wall) mayNotLoad() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.apart
}

// warnings are for readiness: each once, with the servers that it is about
// when it is not about all.
func (w *wall) warnings() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	on := make(map[string][]string)
	for node, list := range w.byNode {
		for _, text := range list {
			on[text] = append(on[text], node)
		}
	}
	var list []string
	for _, text := range slices.Sorted(maps.Keys(on)) {
		nodes := on[text]
		if len(nodes) < len(w.byNode) {
			slices.Sort(nodes)
			text += " (" + strings.Join(nodes, ", ") + ")"
		}
		list = append(list, text)
	}
	return list
}

// watchWall looks at the servers' ACLs until ctx ends.
func (a *App) watchWall(ctx context.Context) {
	w := &a.government.wall
	tick := time.NewTicker(wallLook)
	defer tick.Stop()
	var seen []string
	var last time.Time
	for {
		users := a.server.Users()
		w.mu.Lock()
		stale := w.stale
		w.stale = false
		w.mu.Unlock()
		if stale || len(users) != len(seen) || a.governed() && time.Since(last) > wallEvery {
			seen, last = users, time.Now()
			a.lookAtWall(ctx, users)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// governed reports that the policy is on.
func (a *App) governed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.government.spec.Mode != policy.ModeOff
}

// lookAtWall asks every server that is up. users are those that clients came
// as.
func (a *App) lookAtWall(ctx context.Context, users []string) {
	a.mu.Lock()
	cfg, book, spec, table := a.cfg, a.government.book, a.government.spec, a.commands
	a.mu.Unlock()
	w := &a.government.wall
	byNode, apart := make(map[string][]string), make(map[string]bool)
	for _, n := range a.monitor.View().All {
		if !n.Up() {
			continue
		}
		states, err := a.aclStates(ctx, n)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errNoACL) {
			states, err = nil, nil
		}
		var gaps []string
		switch {
		case err != nil && enforced(spec):
			gaps = []string{fmt.Sprintf("it is not known what the server would let through: %v; give the user %s the command ACL", err, loaderOf(cfg))}
		case err == nil:
			noteApart(apart, states, table, loaderOf(cfg))
			if enforced(spec) && book != nil {
				gaps = gapsOf(cfg, book, table, states, users)
			}
		}
		byNode[n.Addr] = gaps
	}
	before := w.warnings()
	w.mu.Lock()
	changed := !maps.Equal(apart, w.apart)
	w.byNode, w.apart = byNode, apart
	w.mu.Unlock()
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
func (a *App) aclStates(ctx context.Context, n *topology.Node) ([]acl.State, error) {
	ctx, cancel := context.WithTimeout(ctx, wallTimeout)
	defer cancel()
	client := a.monitor.Client(n)
	defer client.Close()
	return aclStates(ctx, client)
}

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

// noteApart adds the users that may run what is loaded and load nothing.
func noteApart(apart map[string]bool, states []acl.State, table *command.Table, loader string) {
	reader := acl.NewReader(serverCommands(table))
	for _, s := range states {
		if s.Name == loader {
			continue
		}
		calls, err1 := reader.Permits(s, "evalsha")
		loads, err2 := reader.Permits(s, "eval")
		if err1 == nil && err2 == nil && calls && !loads {
			apart[s.Name] = true
		}
	}
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
	client := a.monitor.Client(n)
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
