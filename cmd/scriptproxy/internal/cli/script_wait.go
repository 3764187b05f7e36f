package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	urfave "github.com/urfave/cli/v3"
)

func scriptWait(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "wait",
		Usage: "wait until every proxy of the fleet serves a revision",
		Description: "Without a REVISION, the one that the proxy serves now. Proxies that have not\n" +
			"been heard of for some time are warned of and not waited for. The exit status\n" +
			"is 4 when the time is over before.",
		ArgsUsage:    "[REVISION]",
		ArgValidator: arguments(0, 1, ""),
		Flags:        adminFlags(&urfave.DurationFlag{Name: "timeout", Value: 30 * time.Second, Usage: "wait for up to `TIME`"}),
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			revision := uint64(0)
			if cmd.Args().Present() {
				n, err := strconv.ParseUint(cmd.Args().First(), 10, 64)
				if err != nil {
					return usageError(cmd, fmt.Sprintf("the revision is %q, and not a whole number", cmd.Args().First()))
				}
				revision = n
			}
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			timeout := cmd.Duration("timeout")
			ctx, cancel := context.WithTimeout(ctx, timeout+lookTime)
			defer cancel()
			fleet, err := c.Wait(ctx, revision, timeout)
			if err != nil {
				return told(err)
			}
			warnAway(streams, fleet.Instances)
			if cmd.Bool("json") {
				return printJSON(streams.Out, fleet)
			}
			t := &table{header: []string{"proxy", "address", "revision", "heard of", "started"}}
			for _, in := range fleet.Instances {
				t.add(in.ID, orDash(in.Address), strconv.FormatUint(in.Revision, 10), ago(in.Seen), ago(in.Started))
			}
			return t.print(streams.Out)
		},
	}
}

// printJSONLine prints v as JSON on one line.
func printJSONLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
