package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"
	"golang.org/x/term"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/client"
	"github.com/scriptproxy/scriptproxy/policy/registry"
)

// changeTime bounds a change, the loading on every node with it.
const changeTime = 45 * time.Second

// change is one command's request to change a script.
type change struct {
	streams   Streams
	cmd       *urfave.Command
	client    *client.Client
	operation string // of the API
	name      string
	request   api.Change
	// ask is the question before the change; it gets the script as it is. nil
	// does not ask.
	ask func(*api.Script) string
}

// changed is what the command prints with -json.
type changed struct {
	*api.Result
	Fleet []registry.Instance `json:"fleet,omitempty"` // that serve the change, when it was waited for
}

// run asks, changes, and waits for the fleet.
func (c *change) run(ctx context.Context) error {
	result, err := c.send(ctx)
	if err != nil {
		return told(err)
	}
	return c.finish(ctx, result)
}

func (c *change) send(ctx context.Context) (*api.Result, error) {
	var err error
	if c.client, err = connect(c.cmd); err != nil {
		return nil, err
	}
	c.request.Who, c.request.Why = who(), c.cmd.String("why")
	revision := c.cmd.Uint64("if-revision")
	ctx, cancel := context.WithTimeout(ctx, changeTime)
	defer cancel()
	if c.ask != nil && !c.cmd.Bool("yes") {
		if !isTerminal(c.streams.In) {
			f := usageError(c.cmd, "this changes what clients run, and there is no terminal to ask on")
			f.hint = "-yes does not ask"
			return nil, f
		}
		script, err := c.client.Script(ctx, c.name)
		if err != nil {
			return nil, err
		}
		if revision == 0 {
			revision = script.Revision // what the question was about
		}
		if err := confirm(c.streams, c.ask(script)); err != nil {
			return nil, err
		}
	}
	if c.operation == "" {
		return c.client.Remove(ctx, c.name, c.request.Version, revision, c.request)
	}
	return c.client.Change(ctx, c.operation, c.name, revision, c.request)
}

// finish says what was done, and waits until the fleet serves it.
func (c *change) finish(ctx context.Context, r *api.Result) error {
	out := changed{Result: r}
	timeout := c.cmd.Duration("wait")
	var behind error
	if timeout > 0 && !r.Unchanged {
		wait, cancel := context.WithTimeout(ctx, timeout+lookTime)
		defer cancel()
		fleet, err := c.client.Wait(wait, r.Revision, timeout)
		if err != nil {
			behind = &failure{
				err:    fmt.Errorf("revision %d is saved, but it is not known that every proxy serves it: %w", r.Revision, err),
				hint:   fmt.Sprintf("\"scriptproxy script wait %d\" waits for the others", r.Revision),
				status: statusBehind,
			}
		} else {
			out.Fleet = fleet.Instances
		}
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(c.streams.Err, "scriptproxy: warning: %s\n", w)
	}
	warnAway(c.streams, out.Fleet)
	if c.cmd.Bool("json") {
		if err := printJSON(c.streams.Out, out); err != nil {
			return err
		}
		return behind
	}
	if _, err := fmt.Fprintln(c.streams.Out, describeChange(r, out.Fleet)); err != nil {
		return err
	}
	return behind
}

func warnAway(streams Streams, fleet []registry.Instance) {
	var away []string
	for _, in := range fleet {
		if in.Away {
			away = append(away, fmt.Sprintf("%s (revision %d, last heard of %s)", in.ID, in.Revision, ago(in.Seen)))
		}
	}
	if len(away) > 0 {
		fmt.Fprintf(streams.Err, "scriptproxy: warning: not heard of, and following when back: %s\n", strings.Join(away, ", "))
	}
}

// describeChange says in one line what was done.
func describeChange(r *api.Result, fleet []registry.Instance) string {
	if r.Unchanged {
		return fmt.Sprintf("nothing to do: it is so already (revision %d)", r.Revision)
	}
	c := r.Change
	text := c.Name + ": " + c.Action
	switch {
	case c.From != "" && c.To != "":
		text += fmt.Sprintf(" %s -> %s", c.From, c.To)
	case c.From+c.To != "":
		text += " " + c.From + c.To
	}
	note := c.Note
	if c.Forced {
		note = strings.TrimPrefix(note+", forced", ", ")
	}
	if note != "" {
		text += " (" + note + ")"
	}
	text += fmt.Sprintf(", revision %d", c.Revision)
	serving := 0
	for _, in := range fleet {
		if !in.Away {
			serving++
		}
	}
	switch {
	case serving == 1:
		text += ", in force on 1 proxy"
	case serving > 1:
		text += fmt.Sprintf(", in force on %d proxies", serving)
	}
	return text
}

func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// confirm asks a question on the terminal.
func confirm(streams Streams, question string) error {
	fmt.Fprintf(streams.Err, "%s [y/N] ", question)
	line, err := bufio.NewReader(streams.In).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("cannot read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return fmt.Errorf("not confirmed; nothing was changed")
}

func scriptActivate(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "activate",
		Usage: "make a version the active one",
		Description: "The version is on every node before anything changes. One that asks something\n" +
			"else of its callers than the active one (keys, arguments, reading or writing)\n" +
			"needs -force.",
		ArgsUsage:     "NAME VERSION",
		ArgValidator:  arguments(2, 2, "NAME VERSION"),
		ShellComplete: completeNames(1),
		Flags:         changeFlags(&urfave.BoolFlag{Name: "force", Usage: "also when callers must change"}),
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			name, version := cmd.Args().Get(0), cmd.Args().Get(1)
			c := change{
				streams: streams, cmd: cmd, operation: "activate", name: name,
				request: api.Change{Version: version, Force: cmd.Bool("force")},
				ask: func(s *api.Script) string {
					return fmt.Sprintf("%s: make %s active instead of %s, on every proxy?", name, version, orDash(s.Active))
				},
			}
			return c.run(ctx)
		},
	}
}

func scriptRollback(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "rollback",
		Usage: "take the latest change back, without asking",
		Description: "Ends a running canary, or else makes the previous version active again; with\n" +
			"a VERSION, makes that one active. When the command is done, no call anywhere\n" +
			"begins with the version that was rolled back from, whichever sha or name\n" +
			"clients call. With -force a node on which the version can't be loaded does\n" +
			"not stand in the way.",
		ArgsUsage:     "NAME [VERSION]",
		ArgValidator:  arguments(1, 2, "NAME"),
		ShellComplete: completeNames(1),
		Flags:         changeFlags(&urfave.BoolFlag{Name: "force", Usage: "also when a node can't load it, or callers must change"}),
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			c := change{
				streams: streams, cmd: cmd, operation: "rollback", name: cmd.Args().Get(0),
				request: api.Change{Version: cmd.Args().Get(1), Force: cmd.Bool("force")},
			}
			return c.run(ctx)
		},
	}
}

func scriptCanary(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "canary",
		Usage: "send a share of a script's calls to another version",
		Description: "The share goes by the first key of the call, or with -by client by the client,\n" +
			"so that one key never alternates. Raising the percentage only adds keys.\n" +
			"End it with \"script promote\" or \"script abort\".",
		ArgsUsage:     "NAME VERSION PERCENT",
		ArgValidator:  arguments(3, 3, "NAME VERSION PERCENT"),
		ShellComplete: completeNames(1),
		Flags: changeFlags(
			&urfave.StringFlag{Name: "by", Value: registry.StickyKey, Usage: "share the calls out by `WHAT`: key or client"},
			&urfave.BoolFlag{Name: "force", Usage: "also when callers must change"},
		),
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			name, version := cmd.Args().Get(0), cmd.Args().Get(1)
			var percent float64
			if _, err := fmt.Sscanf(strings.TrimSuffix(cmd.Args().Get(2), "%")+"\n", "%g\n", &percent); err != nil {
				return usageError(cmd, fmt.Sprintf("the share is %q; write a percentage such as 5", cmd.Args().Get(2)))
			}
			c := change{
				streams: streams, cmd: cmd, operation: "canary", name: name,
				request: api.Change{Version: version, Percent: percent, Sticky: cmd.String("by"), Force: cmd.Bool("force")},
				ask: func(s *api.Script) string {
					return fmt.Sprintf("%s: send %g %% of the calls to %s, and the others to %s, on every proxy?", name, percent, version, orDash(s.Active))
				},
			}
			return c.run(ctx)
		},
	}
}

func scriptPromote(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:          "promote",
		Usage:         "make the running canary the active version",
		ArgsUsage:     "NAME",
		ArgValidator:  arguments(1, 1, "NAME"),
		ShellComplete: completeNames(0),
		Flags:         changeFlags(),
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			name := cmd.Args().First()
			c := change{
				streams: streams, cmd: cmd, operation: "promote", name: name,
				ask: func(s *api.Script) string {
					return fmt.Sprintf("%s: make the canary (%s) active instead of %s, on every proxy?", name, canaryText(s.Canary), orDash(s.Active))
				},
			}
			return c.run(ctx)
		},
	}
}

func scriptAbort(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:          "abort",
		Usage:         "end the running canary, without asking",
		ArgsUsage:     "NAME",
		ArgValidator:  arguments(1, 1, "NAME"),
		ShellComplete: completeNames(0),
		Flags:         changeFlags(),
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			c := change{streams: streams, cmd: cmd, operation: "abort", name: cmd.Args().First()}
			return c.run(ctx)
		},
	}
}

func scriptPin(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:          "pin",
		Usage:         "let calls by a version's sha run that version, whatever is active",
		ArgsUsage:     "NAME VERSION",
		ArgValidator:  arguments(2, 2, "NAME VERSION"),
		ShellComplete: completeNames(1),
		Flags:         changeFlags(&urfave.BoolFlag{Name: "undo", Usage: "let them run the active version again"}),
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			name, version, undo := cmd.Args().Get(0), cmd.Args().Get(1), cmd.Bool("undo")
			c := change{
				streams: streams, cmd: cmd, operation: "pin", name: name,
				request: api.Change{Version: version, Pinned: !undo},
				ask: func(s *api.Script) string {
					runs := version
					if undo {
						runs = "the active version"
					}
					return fmt.Sprintf("%s: let calls by the sha of %s run %s, on every proxy?", name, version, runs)
				},
			}
			return c.run(ctx)
		},
	}
}

func scriptRemove(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "rm",
		Usage: "forget a version, or a whole script, with its bodies",
		Description: "What the configuration declares comes back with the next reload. The audit log\n" +
			"keeps what was.",
		ArgsUsage:     "NAME [VERSION]",
		ArgValidator:  arguments(1, 2, "NAME"),
		ShellComplete: completeNames(1),
		Flags:         changeFlags(&urfave.BoolFlag{Name: "force", Usage: "also a script that is in use"}),
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			name, version := cmd.Args().Get(0), cmd.Args().Get(1)
			c := change{
				streams: streams, cmd: cmd, name: name,
				request: api.Change{Version: version, Force: cmd.Bool("force")},
				ask: func(s *api.Script) string {
					if version != "" {
						return fmt.Sprintf("%s: forget version %s for good?", name, version)
					}
					return fmt.Sprintf("forget %s and its %s for good?", name, plural(len(s.Versions), "version"))
				},
			}
			return c.run(ctx)
		},
	}
}
