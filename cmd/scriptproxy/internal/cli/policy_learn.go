package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/client"
)

func policyLearn(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "learn",
		Usage: "record what is called, and write rules that allow just that",
		Description: "Has a running proxy record which users call which scripts and commands, from\n" +
			"where, with how many keys and how much, and writes a rule file which allows\n" +
			"exactly that and denies everything else. Ctrl-C ends the run early and writes\n" +
			"what was learned. Look at the file, try it with policy.mode: audit, and then\n" +
			"enforce it.",
		Flags: adminFlags(
			&urfave.DurationFlag{Name: "for", Value: 10 * time.Minute, Usage: "record for `TIME`"},
			&urfave.StringFlag{Name: "out", TakesFile: true, Usage: "write the rules to `FILE`, which must not exist, instead of standard output"},
			&urfave.BoolFlag{Name: "force", Usage: "write over the file"},
			&urfave.BoolFlag{Name: "no-networks", Usage: "let the rules name no networks of clients"},
			&urfave.BoolFlag{Name: "exact-sizes", Usage: "allow arguments as large as the largest seen, not rounded up to a power of two"},
		),
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			c, err := connect(cmd)
			if err != nil {
				return err
			}
			out := cmd.String("out")
			if _, err := os.Stat(out); out != "" && err == nil && !cmd.Bool("force") {
				return hinted(fmt.Errorf("%s exists", out), "-force writes over it")
			}
			networks := !cmd.Bool("no-networks")
			learned, err := learn(ctx, streams, c, api.Learn{
				For: cmd.Duration("for").String(), Networks: &networks, ExactSizes: cmd.Bool("exact-sizes"),
			})
			if err != nil {
				return told(err)
			}
			return writeLearned(cmd, streams, out, learned)
		},
	}
}

// learn has the proxy learn until the time is over or ctx ends.
func learn(ctx context.Context, streams Streams, c *client.Client, what api.Learn) (*api.Learning, error) {
	run, err := c.Learn(ctx, what)
	if err != nil {
		return nil, err
	}
	bar := isTerminal(asReader(streams.Err))
	fmt.Fprintf(streams.Err, "scriptproxy: learning for %s; Ctrl-C ends it early\n", what.For)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	end := time.NewTimer(time.Until(run.Until))
	defer end.Stop()
	for waiting := true; waiting; {
		select {
		case <-ctx.Done():
			waiting = false
		case <-end.C:
			waiting = false
		case <-tick.C:
			if !bar {
				continue
			}
			if now, err := c.Policy(ctx); err == nil && now.Learning != nil {
				fmt.Fprintf(streams.Err, "%s%s different, %s left", clearLine(true), plural(now.Learning.Calls, "call"), time.Until(run.Until).Round(time.Second))
			}
		}
	}
	fmt.Fprint(streams.Err, clearLine(bar))
	// The run is to be ended although the command was told to end.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
	defer cancel()
	learned, err := c.StopLearning(stop)
	if e, ok := errors.AsType[*api.Error](err); ok && e.Code == api.CodeInvalid {
		return c.Learned(stop) // it has ended by itself
	}
	return learned, err
}

// writeLearned writes the rules, and says what could not be learned.
func writeLearned(cmd *urfave.Command, streams Streams, out string, learned *api.Learning) error {
	for _, note := range learned.Notes {
		fmt.Fprintf(streams.Err, "scriptproxy: warning: %s\n", note)
	}
	switch {
	case cmd.Bool("json"):
		return printJSON(streams.Out, learned)
	case out == "":
		_, err := io.WriteString(streams.Out, learned.Rules)
		return err
	}
	if err := os.WriteFile(out, []byte(learned.Rules), 0o644); err != nil {
		return fmt.Errorf("cannot write the rules: %w", err)
	}
	_, err := fmt.Fprintf(streams.Out, "wrote %s: %s different; set policy.rules_file to it, and policy.mode to audit to try it\n", out, plural(learned.Calls, "call"))
	return err
}
