// Package cli is scriptproxy's command line: one file for each command, and here
// what they share.
//
// Results go to standard output, for people or with -json for programs. Errors,
// hints, warnings and the log go to standard error, as
//
//	scriptproxy: error: cannot read the configuration: open x.yaml: no such file or directory
//	scriptproxy: hint: ...
//
// in lowercase and without a final period. The exit status is 0 when the command
// did its work, 1 when it failed or found something wrong, and 2 when it was called
// wrongly.
package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v3"
)

// Streams are the program's standard streams.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Main runs the command that args, with the program's name first, ask for and
// returns the exit status. When ctx is cancelled the command ends in order.
func Main(ctx context.Context, args []string, streams Streams) int {
	root := newRoot(streams)
	if err := root.Run(ctx, args); err != nil {
		report(streams.Err, err)
		return exitStatus(err)
	}
	return 0
}

func newRoot(streams Streams) *urfave.Command {
	root := &urfave.Command{
		Name:        "scriptproxy",
		Usage:       "a transparent proxy for Redis that enforces policy on Lua scripts",
		Description: "Start with \"scriptproxy demo\", which needs nothing but redis-server.",
		Commands: []*urfave.Command{
			serveCommand(streams),
			checkCommand(streams),
			scriptCommand(streams),
			policyCommand(streams),
			nodesCommand(streams),
			demoCommand(streams),
			versionCommand(streams),
		},
		Reader:                streams.In,
		Writer:                streams.Out,
		ErrWriter:             streams.Err,
		EnableShellCompletion: true,
		ConfigureShellCompletionCommand: func(completion *urfave.Command) {
			completion.Hidden = false
			completion.Usage = "print a shell's completion script"
			completion.Description = "In .bashrc or .zshrc: source <(scriptproxy completion bash), or zsh. For fish, save\n" +
				"it as ~/.config/fish/completions/scriptproxy.fish. Names and versions of scripts\n" +
				"are completed by asking the proxy."
		},
		HideVersion:    true,
		ExitErrHandler: func(context.Context, *urfave.Command, error) {},
		ArgValidator:   noArguments,
	}
	finish(root, root.Commands)
	return root
}

// finish gives every command below parent what all of them have in common.
func finish(parent *urfave.Command, commands []*urfave.Command) {
	parent.OnUsageError = func(_ context.Context, cmd *urfave.Command, err error, _ bool) error {
		usage := usageError(cmd, err.Error())
		if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
			usage.err = fmt.Errorf("unknown flag -%s", name)
			if near := urfave.SuggestFlag(cmd.Flags, name, true); near != "" {
				usage.hint = fmt.Sprintf("did you mean -%s? %s", strings.TrimLeft(near, "-"), usage.hint)
			}
		}
		return usage
	}
	for _, cmd := range commands {
		if len(cmd.Commands) == 0 {
			cmd.HideHelpCommand = true
		}
		finish(cmd, cmd.Commands)
	}
}

// noArguments refuses arguments: it is the validator of every command that does not
// bring its own. For a command with subcommands an argument is an unknown one.
func noArguments(_ context.Context, cmd *urfave.Command) error {
	if !cmd.Args().Present() {
		return nil
	}
	arg := cmd.Args().First()
	if len(cmd.Commands) == 0 {
		return usageError(cmd, fmt.Sprintf("unexpected argument %q", arg))
	}
	err := usageError(cmd, fmt.Sprintf("unknown command %q", arg))
	if near := urfave.SuggestCommand(cmd.Commands, arg); near != "" {
		err.hint = fmt.Sprintf("did you mean %q? %s", near, err.hint)
	}
	return err
}

// configFlag is the flag of the commands that read a configuration.
func configFlag() *urfave.StringFlag {
	return &urfave.StringFlag{
		Name:      "config",
		Usage:     "read the configuration from `FILE`",
		Sources:   urfave.EnvVars("SCRIPTPROXY_CONFIG"),
		TakesFile: true,
	}
}

// configPath returns the value of configFlag.
func configPath(cmd *urfave.Command) (string, error) {
	path := cmd.String("config")
	if path == "" {
		err := usageError(cmd, "no configuration is named")
		err.hint = "give -config FILE or set SCRIPTPROXY_CONFIG; config.example.yaml is a start"
		return "", err
	}
	return path, nil
}

// jsonFlag is the flag of the commands whose result is data.
func jsonFlag() *urfave.BoolFlag {
	return &urfave.BoolFlag{Name: "json", Usage: "print JSON"}
}

func init() {
	// Long flags are shown with one dash, as Go programs take them; two work too.
	prefixed := urfave.FlagStringer
	urfave.FlagStringer = func(f urfave.Flag) string {
		return strings.ReplaceAll(prefixed(f), "--", "-")
	}
}
