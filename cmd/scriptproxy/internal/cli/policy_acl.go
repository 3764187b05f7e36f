package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/app"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/policy/acl"
	"github.com/scriptproxy/scriptproxy/proxy/command"
)

func policyACL(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "acl",
		Usage: "print the ACL with which the servers enforce the rules themselves, or set it",
		Description: "A script can hide from every analysis what it calls; from the server it can't.\n" +
			"With this ACL the users that clients' calls travel as can run scripts that are\n" +
			"loaded, but load none, and run no command that the rules deny them, inside or\n" +
			"outside of scripts. The proxy loads scripts with upstream.username. Passwords,\n" +
			"keys and channels of the users stay as they are.\n" +
			"The commands of the first server decide what is printed; -offline goes by those\n" +
			"of the server that scriptproxy was made with.",
		Flags: []urfave.Flag{
			configFlag(),
			jsonFlag(),
			&urfave.StringSliceFlag{Name: "user", Usage: "for the server's user `NAME`, instead of those that the rules name; may be given several times"},
			&urfave.StringSliceFlag{Name: "addr", Usage: "the server at `ADDRESS`, instead of those in upstream; may be given several times"},
			&urfave.StringFlag{Name: "upstream", Usage: "for the servers of the set `NAME`, of several"},
			&urfave.BoolFlag{Name: "offline", Usage: "connect to nothing"},
			&urfave.BoolFlag{Name: "apply", Usage: "set the ACL on every server"},
			&urfave.StringFlag{Name: "login", Usage: "log in to the servers as `USER`, instead of upstream.username"},
			&urfave.StringFlag{Name: "password-file", Usage: "with the password in `FILE`", TakesFile: true},
		},
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			a, err := newACLRun(cmd, streams)
			if err != nil {
				return err
			}
			return a.run(ctx)
		},
	}
}

// aclRun is one run of policy acl.
type aclRun struct {
	streams Streams
	tool    *app.ACLTool
	users   []string
	servers []string
	offline bool
	apply   bool
	json    bool
}

func newACLRun(cmd *urfave.Command, streams Streams) (*aclRun, error) {
	a := &aclRun{
		streams: streams, users: cmd.StringSlice("user"), servers: cmd.StringSlice("addr"),
		offline: cmd.Bool("offline"), apply: cmd.Bool("apply"), json: cmd.Bool("json"),
	}
	if a.offline && a.apply {
		return nil, usageError(cmd, "-apply and -offline contradict each other")
	}
	cfg, err := loadConfig(cmd, streams)
	if err != nil {
		return nil, err
	}
	set, err := chooseUpstream(cmd, cfg)
	if err != nil {
		return nil, err
	}
	if a.tool, err = app.NewACLTool(cfg.For(set), slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	if login := cmd.String("login"); login != "" {
		a.tool.Username, a.tool.Password = login, ""
	}
	if file := cmd.String("password-file"); file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("cannot read the password: %w", err)
		}
		a.tool.Password = strings.TrimRight(string(data), "\r\n")
	}
	if len(a.servers) == 0 {
		a.servers = a.tool.Servers()
	}
	return a, nil
}

// chooseUpstream finds the set of servers that -upstream names.
func chooseUpstream(cmd *urfave.Command, cfg *config.Config) (config.Set, error) {
	sets, name := cfg.Sets(), cmd.String("upstream")
	if name == "" && len(sets) == 1 {
		return sets[0], nil
	}
	var names []string
	for _, s := range sets {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	if name == "" {
		return config.Set{}, usageError(cmd, "there are several sets of servers: choose one with -upstream: "+strings.Join(names, ", "))
	}
	return config.Set{}, usageError(cmd, fmt.Sprintf("no upstream has the name %q; there are %s", name, strings.Join(names, ", ")))
}

func (a *aclRun) run(ctx context.Context) error {
	table := command.Embedded()
	if !a.offline {
		var err error
		if table, err = a.tool.Commands(ctx, a.servers[0]); err != nil {
			return hinted(fmt.Errorf("cannot ask %s for its commands: %w", a.servers[0], err), "-addr names another server, -offline connects to none")
		}
	}
	plan, err := a.tool.Plan(table, a.users)
	if errors.Is(err, app.ErrNoUsers) {
		return hinted(err, "name the server's users that clients log in as with -user")
	}
	if err != nil {
		return err
	}
	for _, note := range plan.Notes {
		fmt.Fprintf(a.streams.Err, "scriptproxy: note: %s\n", note)
	}
	if !a.apply {
		return a.print(plan)
	}
	return a.set(ctx, plan)
}

func (a *aclRun) print(plan *acl.Plan) error {
	if a.json {
		return printJSON(a.streams.Out, map[string]any{"commands": plan.Commands(), "notes": append([]string{}, plan.Notes...)})
	}
	for _, line := range plan.Lines() {
		if _, err := fmt.Fprintln(a.streams.Out, line); err != nil {
			return err
		}
	}
	return nil
}

// set sets the ACL on each server, and says what is still not as it should be.
func (a *aclRun) set(ctx context.Context, plan *acl.Plan) error {
	failed := false
	for _, server := range a.servers {
		gaps, err := a.tool.Apply(ctx, server, plan)
		if err != nil {
			fmt.Fprintf(a.streams.Err, "scriptproxy: error: %s: the ACL was not set: %v\n", server, err)
			failed = true
			continue
		}
		fmt.Fprintf(a.streams.Out, "%s: the ACL is set for %s\n", server, plural(len(plan.Users), "user"))
		for _, g := range gaps {
			fmt.Fprintf(a.streams.Err, "scriptproxy: warning: %s: %s\n", server, g.Text)
		}
	}
	if failed {
		return errReported
	}
	fmt.Fprintln(a.streams.Err, "scriptproxy: hint: reload running proxies, so that they know at once and not within half a minute; the servers keep the ACL over a restart after ACL SAVE or, without an ACL file, CONFIG REWRITE")
	return nil
}
