package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/client"
)

func scriptResetBreaker(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "reset-breaker",
		Usage: "close the circuit breaker of a script, so that its calls run again",
		Description: "Each proxy has breakers of its own: this is about the one at -admin. A breaker\n" +
			"whose script has to be killed again opens again.",
		ArgsUsage:     "NAME|SHA [VERSION]",
		ArgValidator:  arguments(1, 2, "NAME"),
		ShellComplete: completeNames(1),
		Flags:         adminFlags(),
		Action: look(func(ctx context.Context, c *client.Client, cmd *urfave.Command) error {
			name, version := cmd.Args().Get(0), cmd.Args().Get(1)
			reset := api.BreakerReset{Script: name, Version: version}
			if len(name) == 40 && strings.Trim(name, "0123456789abcdef") == "" {
				reset = api.BreakerReset{SHA: name}
			}
			list, err := c.ResetBreaker(ctx, reset)
			switch {
			case err != nil:
				return err
			case cmd.Bool("json"):
				return printJSON(streams.Out, list)
			}
			_, err = fmt.Fprintf(streams.Out, "%s: its calls run again\n", strings.TrimSpace(name+" "+version))
			return err
		}),
	}
}

// breakersText tells of the breakers of a script that are not closed.
func breakersText(s *api.Script) string {
	var out []string
	for _, u := range s.Use {
		if u.Breaker != nil {
			out = append(out, u.Version+" "+breakerText(u.Breaker))
		}
	}
	return orDash(strings.Join(out, ", "))
}

func breakerText(b *api.Breaker) string {
	if b.State == api.BreakerOpen {
		return fmt.Sprintf("open, %s more", max(time.Second, time.Duration(b.OpenFor*float64(time.Second)).Round(time.Second)))
	}
	return strings.ReplaceAll(b.State, "_", " ")
}
