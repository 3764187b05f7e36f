package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"

	"github.com/redis/go-redis/v9"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/policy/acl"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/edge"
)

// ACLTool makes the servers' ACLs enforce the policy of a configuration. It is
// for the command line.
type ACLTool struct {
	cfg  *config.Config
	dial *dialer

	// Username and Password are those of the servers' user who may look at
	// and change ACLs.
	Username, Password string
}

// NewACLTool makes a tool that logs in as the proxy's own user.
func NewACLTool(cfg *config.Config, logger *slog.Logger) (*ACLTool, error) {
	dial, err := newDialer(cfg.Upstream, new(edge.Bridge), logger)
	if err != nil {
		return nil, err
	}
	return &ACLTool{cfg: cfg, dial: dial, Username: cfg.Upstream.Username, Password: cfg.Upstream.Password.Reveal()}, nil
}

// Servers are the addresses of all nodes.
func (t *ACLTool) Servers() []string {
	return append([]string{t.cfg.Upstream.Primary}, t.cfg.Upstream.Replicas...)
}

// ErrNoUsers says that nobody knows for whom the ACL is to be.
var ErrNoUsers = errors.New("the rules name no user whose calls travel as a user of the server")

// Plan makes the plan for a server that has the commands of table. users
// stand in for those that the configuration and the rules name.
func (t *ACLTool) Plan(table *command.Table, users []string) (*acl.Plan, error) {
	spec, err := readRules(t.cfg)
	if err != nil {
		return nil, err
	}
	book, err := compileBook(spec, declaredEntries(t.cfg), table, t.cfg.Listen, new(factBook))
	if err != nil {
		return nil, err
	}
	data, shared := dataUsers(t.cfg, spec.Rules, users)
	if len(users) > 0 {
		data = slices.DeleteFunc(data, func(u acl.User) bool { return !slices.Contains(users, u.Name) })
	}
	switch {
	case shared && slices.Contains(users, loaderOf(t.cfg)):
		return nil, fmt.Errorf("the user '%s' is the proxy's own, which loads scripts: whoever may load any script is bound by none; %s", loaderOf(t.cfg), ownUsers(t.cfg))
	case len(data) == 0 && shared:
		return nil, fmt.Errorf("calls of clients travel as '%s', the proxy's own user, which loads scripts; %s", loaderOf(t.cfg), ownUsers(t.cfg))
	case len(data) == 0:
		return nil, ErrNoUsers
	}
	catalog := book.Catalog
	catalog.Commands = serverCommands(table)
	return acl.Generate(book.Set, catalog, acl.Options{Users: data, Loader: loaderOf(t.cfg)})
}

// Commands asks a server for its commands.
func (t *ACLTool) Commands(ctx context.Context, addr string) (*command.Table, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	conn, err := t.dial.conn(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	if t.Password != "" {
		args := []string{"AUTH", t.Password}
		if t.Username != "" {
			args = []string{"AUTH", t.Username, t.Password}
		}
		if _, err := askOn(conn, args...); err != nil {
			return nil, err
		}
	}
	reply, err := askOn(conn, "COMMAND")
	if err != nil {
		return nil, err
	}
	table, err := command.Parse(reply)
	if err != nil {
		return nil, err
	}
	return command.Embedded().Merge(table), nil
}

// Apply sets the plan up on a server, and returns what is not as planned
// afterwards.
func (t *ACLTool) Apply(ctx context.Context, addr string, plan *acl.Plan) ([]acl.Gap, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	client := redis.NewClient(&redis.Options{
		Addr: addr, Username: t.Username, Password: t.Password,
		Dialer:   func(ctx context.Context, _, addr string) (net.Conn, error) { return t.dial.conn(ctx, addr) },
		Protocol: 2, DisableIdentity: true, MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	defer client.Close()
	pipe := client.TxPipeline()
	for _, words := range plan.Commands() {
		args := make([]any, len(words))
		for i, w := range words {
			args[i] = w
		}
		pipe.Do(ctx, args...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	states, err := aclStates(ctx, client)
	if err != nil {
		return nil, err
	}
	return plan.Check(states)
}
