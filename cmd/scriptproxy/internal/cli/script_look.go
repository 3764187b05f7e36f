package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/client"
	"github.com/scriptproxy/scriptproxy/policy/registry"
)

func scriptLs(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "ls",
		Usage: "list the scripts",
		Description: "DECLARED is the version that the configuration makes active. Where another\n" +
			"was made active at run time, that holds until the declared one changes.\n" +
			"BREAKER is what refuses calls of a version on the proxy that is asked.",
		Flags: adminFlags(&urfave.StringSliceFlag{Name: "tag", Usage: "only scripts with `TAG`; may be given several times"}),
		Action: look(func(ctx context.Context, c *client.Client, cmd *urfave.Command) error {
			list, err := c.Scripts(ctx, cmd.StringSlice("tag"))
			if err != nil {
				return err
			}
			if cmd.Bool("json") {
				return printJSON(streams.Out, list)
			}
			t := &table{header: []string{"name", "versions", "active", "previous", "canary", "declared", "breaker", "calls", "used", "changed"}}
			for _, s := range list.Scripts {
				t.add(s.Name, strconv.Itoa(len(s.Versions)), orDash(s.Active), orDash(s.Previous), canaryText(s.Canary), declaredText(&s.Script), breakersText(&s),
					strconv.FormatUint(s.Calls(), 10), ago(s.LastUsed()), changeText(&s.Script))
			}
			if err := t.print(streams.Out); err != nil {
				return err
			}
			if list.Away {
				fmt.Fprintf(streams.Err, "scriptproxy: warning: the store (%s) cannot be reached since %s: %s\n", list.Store, ago(list.Since), list.Error)
			}
			return nil
		}),
	}
}

func scriptShow(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:          "show",
		Usage:         "show a script and its versions, or the body of a version",
		ArgsUsage:     "NAME [VERSION]",
		ArgValidator:  arguments(1, 2, "NAME"),
		ShellComplete: completeNames(1),
		Flags:         adminFlags(),
		Action: look(func(ctx context.Context, c *client.Client, cmd *urfave.Command) error {
			name, version := cmd.Args().Get(0), cmd.Args().Get(1)
			if version != "" {
				v, err := c.Version(ctx, name, version)
				switch {
				case err != nil:
					return err
				case cmd.Bool("json"):
					return printJSON(streams.Out, v)
				}
				_, err = fmt.Fprint(streams.Out, v.Body+string(v.BodyBase64))
				return err
			}
			s, err := c.Script(ctx, name)
			if err != nil {
				return err
			}
			if cmd.Bool("json") {
				return printJSON(streams.Out, s)
			}
			return showScript(streams, s)
		}),
	}
}

func showScript(streams Streams, s *api.Script) error {
	out := &strings.Builder{}
	field := func(name, value string) {
		if value != "" && value != "-" {
			fmt.Fprintf(out, "%-10s%s\n", name, value)
		}
	}
	field("name", s.Name)
	field("kind", s.Kind.String())
	field("tags", strings.Join(s.Tags, " "))
	field("active", s.Active)
	field("previous", s.Previous)
	field("canary", canaryText(s.Canary))
	field("declared", declaredText(&s.Script))
	field("breaker", breakersText(s))
	field("changed", changeText(&s.Script))
	field("why", s.Why)
	field("revision", strconv.FormatUint(s.Revision, 10))
	out.WriteByte('\n')
	t := &table{header: []string{"version", "state", "class", "keys", "args", "bytes", "calls", "used", "on nodes", "findings", "sha", "created"}}
	for i, v := range s.Versions {
		u := s.Use[i]
		loaded := 0
		for _, n := range u.Nodes {
			if n.Loaded {
				loaded++
			}
		}
		t.add(v.ID, orDash(strings.Join(api.States(&s.Script, v), " ")), v.Class.String(), atLeast(v.Contract.MinKeys, v.Contract.VariableKeys),
			atLeast(v.Contract.MinArgs, v.Contract.VariableArgs), strconv.Itoa(u.Bytes), strconv.FormatUint(u.Calls, 10), ago(u.LastUsed),
			fmt.Sprintf("%d/%d", loaded, len(u.Nodes)), findingsText(v.Findings), v.SHA, createdText(v))
	}
	if _, err := fmt.Fprint(streams.Out, out); err != nil {
		return err
	}
	return t.print(streams.Out)
}

func scriptDiff(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:          "diff",
		Usage:         "compare two versions, or the active one with the newest",
		ArgsUsage:     "NAME [VERSION [VERSION]]",
		ArgValidator:  arguments(1, 3, "NAME"),
		ShellComplete: completeNames(2),
		Flags:         adminFlags(),
		Action: look(func(ctx context.Context, c *client.Client, cmd *urfave.Command) error {
			d, err := c.Diff(ctx, cmd.Args().Get(0), cmd.Args().Get(1), cmd.Args().Get(2))
			switch {
			case err != nil:
				return err
			case cmd.Bool("json"):
				return printJSON(streams.Out, d)
			}
			_, err = fmt.Fprint(streams.Out, d.Diff)
			return err
		}),
	}
}

func scriptAudit(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:          "audit",
		Usage:         "list the latest changes, of all scripts or of one",
		ArgsUsage:     "[NAME]",
		ArgValidator:  arguments(0, 1, ""),
		ShellComplete: completeNames(0),
		Flags:         adminFlags(&urfave.IntFlag{Name: "limit", Value: 20, Usage: "list up to `N`"}),
		Action: look(func(ctx context.Context, c *client.Client, cmd *urfave.Command) error {
			audit, err := c.Audit(ctx, cmd.Args().First(), cmd.Int("limit"))
			switch {
			case err != nil:
				return err
			case cmd.Bool("json"):
				return printJSON(streams.Out, audit)
			}
			t := &table{header: []string{"revision", "at", "who", "action", "name", "from", "to", "why", "note"}}
			for _, ch := range audit.Changes {
				note := ch.Note
				if ch.Forced {
					note = strings.TrimPrefix(note+", forced", ", ")
				}
				t.add(strconv.FormatUint(ch.Revision, 10), ch.At.Local().Format(time.DateTime), ch.Who, ch.Action, orDash(ch.Name), orDash(ch.From), orDash(ch.To), orDash(ch.Why), note)
			}
			return t.print(streams.Out)
		}),
	}
}

// look is the action of a command that only looks.
func look(do func(context.Context, *client.Client, *urfave.Command) error) urfave.ActionFunc {
	return func(ctx context.Context, cmd *urfave.Command) error {
		c, err := connect(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, lookTime)
		defer cancel()
		return told(do(ctx, c, cmd))
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func canaryText(c *registry.Canary) string {
	if c == nil {
		return "-"
	}
	return fmt.Sprintf("%s %g%% by %s", c.Version, c.Percent, c.Sticky)
}

func declaredText(s *registry.Script) string {
	if s.Override {
		return s.DeclaredActive + " (overridden)"
	}
	return orDash(s.DeclaredActive)
}

func changeText(s *registry.Script) string {
	return fmt.Sprintf("%s by %s %s", s.LastAction, orDash(s.ChangedBy), ago(s.ChangedAt))
}

func createdText(v *registry.Version) string {
	return ago(v.CreatedAt) + " by " + orDash(v.CreatedBy)
}

func atLeast(n int, variable bool) string {
	if variable {
		return fmt.Sprintf("%d+", n)
	}
	return strconv.Itoa(n)
}

func findingsText(findings []registry.Finding) string {
	count := map[string]int{}
	for _, f := range findings {
		count[f.Level]++
	}
	var out []string
	for _, level := range []string{"error", "warning", "note"} {
		if n := count[level]; n > 0 {
			out = append(out, plural(n, level))
		}
	}
	return orDash(strings.Join(out, ", "))
}

// ago says how long ago something was, in one unit.
func ago(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	d := max(0, time.Since(at))
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}} {
		if d >= unit.d {
			return fmt.Sprintf("%d%s ago", d/unit.d, unit.name)
		}
	}
	return fmt.Sprintf("%ds ago", d/time.Second)
}
