package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
)

func scriptLoad(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "load",
		Usage: "add a version from a file",
		Description: "The file is linted, and loaded on every node; one that a node refuses is not\n" +
			"added. Nothing runs the version until it is activated. A function library is\n" +
			"known by its first line, #!lua name=...; NAME is the library's.",
		ArgsUsage:     "NAME FILE",
		ArgValidator:  arguments(2, 2, "NAME FILE (- is standard input)"),
		ShellComplete: completeNames(0),
		Flags: changeFlags(
			&urfave.StringFlag{Name: "version", Usage: "call the version `ID`; else v1, v2 and so on"},
			&urfave.StringFlag{Name: "class", Value: "auto", Usage: "the script is of `CLASS`: read, write, or auto to find out"},
			&urfave.StringSliceFlag{Name: "tag", Usage: "add `TAG` to the script; may be given several times"},
			&urfave.BoolFlag{Name: "pin", Usage: "let calls by the version's sha run it, whatever is active"},
		),
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			name, file := cmd.Args().Get(0), cmd.Args().Get(1)
			body, err := readBody(streams, file)
			if err != nil {
				return err
			}
			c := change{
				streams: streams, cmd: cmd, operation: "versions", name: name,
				request: api.Change{Version: cmd.String("version"), Class: cmd.String("class"), Tags: cmd.StringSlice("tag"), Pinned: cmd.Bool("pin")},
			}
			if utf8.Valid(body) {
				c.request.Body = string(body)
			} else {
				c.request.BodyBase64 = body
			}
			result, err := c.send(ctx)
			if err != nil {
				return told(err)
			}
			if script := result.Script; script != nil && !cmd.Bool("json") {
				if v := script.Version(result.Change.To); v != nil {
					for _, f := range v.Findings {
						fmt.Fprintf(streams.Err, "scriptproxy: %s: %s:%d: %s (%s)\n", f.Level, file, f.Line, f.Message, f.Rule)
					}
				}
			}
			return c.finish(ctx, result)
		},
	}
}

func readBody(streams Streams, file string) ([]byte, error) {
	if file == "-" {
		body, err := io.ReadAll(streams.In)
		if err != nil {
			return nil, fmt.Errorf("cannot read the script: %w", err)
		}
		return body, nil
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the script: %w", err)
	}
	return body, nil
}
