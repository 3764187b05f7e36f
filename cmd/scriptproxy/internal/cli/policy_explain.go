package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/app"
)

func policyExplain(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "explain",
		Usage: "say what becomes of a call, which rule decides, and why",
		Description: "With -config it asks the rules of a configuration, against the scripts that it\n" +
			"declares; else those of a running proxy, against the scripts that it has now.\n" +
			"What is not given is left open: rules that depend on it are marked.",
		Flags: adminFlags(
			&urfave.StringFlag{Name: "config", Usage: "ask the configuration in `FILE`", TakesFile: true},
			&urfave.StringFlag{Name: "user", Usage: "the call is `NAME`'s"},
			&urfave.StringFlag{Name: "addr", Usage: "it comes from the IP address `ADDRESS`, or from a unix socket: unix"},
			&urfave.StringFlag{Name: "listener", Usage: "it comes by the listener `NAME`"},
			&urfave.StringFlag{Name: "script", Usage: "it calls the script `NAME`: a name, name@version, or a sha"},
			&urfave.StringFlag{Name: "file", Usage: "it calls the script in `FILE`, - for standard input", TakesFile: true},
			&urfave.StringFlag{Name: "function", Usage: "it calls the function `NAME`"},
			&urfave.StringFlag{Name: "command", Usage: "it is the plain command `COMMAND`: GET, or \"CONFIG SET\""},
			&urfave.StringFlag{Name: "class", Usage: "it is a `CLASS`: read or write"},
			&urfave.IntFlag{Name: "keys", Value: -1, Usage: "it has `N` keys"},
			&urfave.Int64Flag{Name: "arg-bytes", Value: -1, Usage: "its arguments have `N` bytes"},
			&urfave.StringFlag{Name: "time", Usage: "it is made at `TIME`, such as 2026-01-31T22:00:00Z, instead of now"},
		),
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			q, err := policyQuery(cmd, streams)
			if err != nil {
				return err
			}
			answer, err := explainPolicy(ctx, cmd, streams, q)
			switch {
			case err != nil:
				return told(err)
			case cmd.Bool("json"):
				return printJSON(streams.Out, answer)
			}
			_, err = fmt.Fprint(streams.Out, answer.Text)
			return err
		},
	}
}

// explainPolicy asks the configuration that is named, else a running proxy.
func explainPolicy(ctx context.Context, cmd *urfave.Command, streams Streams, q api.PolicyQuery) (*api.PolicyAnswer, error) {
	if cmd.String("config") != "" {
		cfg, err := loadConfig(cmd, streams)
		if err != nil {
			return nil, err
		}
		book, err := app.NewBook(cfg)
		if err != nil {
			return nil, err
		}
		return book.Explain(q)
	}
	c, err := connect(cmd)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	return c.ExplainPolicy(ctx, q)
}

// policyQuery is the call that the flags describe.
func policyQuery(cmd *urfave.Command, streams Streams) (api.PolicyQuery, error) {
	q := api.PolicyQuery{
		User: cmd.String("user"), Addr: cmd.String("addr"), Listener: cmd.String("listener"), Command: cmd.String("command"),
		Script: cmd.String("script"), Function: cmd.String("function"), Class: strings.ToLower(cmd.String("class")),
	}
	given := 0
	for _, flag := range []string{"command", "script", "function", "file"} {
		if cmd.String(flag) != "" {
			given++
		}
	}
	if given != 1 {
		return q, usageError(cmd, "say what is called with one of -script, -file, -function and -command")
	}
	if file := cmd.String("file"); file != "" {
		body, err := readScript(file, streams.In)
		if err != nil {
			return q, err
		}
		q.Body = string(body)
	}
	if n := cmd.Int("keys"); n >= 0 {
		q.Keys = &n
	}
	if n := cmd.Int64("arg-bytes"); n >= 0 {
		q.ArgBytes = &n
	}
	if text := cmd.String("time"); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return q, usageError(cmd, fmt.Sprintf("%q is no time; write it like 2026-01-31T22:00:00Z", text))
		}
		q.Time = at
	}
	return q, nil
}

// maxScriptFile bounds a file that is to be read as a script, in bytes: no
// script is nearly as long, and what is longer is no script.
const maxScriptFile = 64 << 20

// readScript reads a script; - is standard input.
func readScript(file string, stdin io.Reader) ([]byte, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("cannot read the script: %w", err)
		}
		defer f.Close()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, maxScriptFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the script %s: %w", file, err)
	}
	if len(body) > maxScriptFile {
		return nil, fmt.Errorf("the script %s has more than %d MiB", file, maxScriptFile>>20)
	}
	return body, nil
}
