package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	urfave "github.com/urfave/cli/v3"
)

var update = flag.Bool("update", false, "write docs/cli.md")

const referencePath = "../../../../docs/cli.md"

const referenceHead = `# Command line reference

<!-- Generated from the commands of cmd/scriptproxy/internal/cli by
go test ./cmd/scriptproxy/internal/cli -run Reference -update -->

` + "`scriptproxy COMMAND -help`" + ` says the same on the terminal.

- A flag has one dash or two, and its value follows after a blank or ` + "`=`" + `: ` + "`-config x.yaml`, `--config=x.yaml`" + `.
  Flags may stand before or behind a command's arguments. A duration is written as 500ms, 10s or 1h30m.
- Results go to standard output, as a table or text for people, or with ` + "`-json`" + ` as one JSON document. Errors, hints,
  warnings and the log go to standard error: ` + "`scriptproxy: error: …`, then `scriptproxy: hint: …`" + `.
- Commands that change what clients run ask first, but for ` + "`rollback` and `abort`; `-yes`" + ` does not ask. Where there is no
  terminal to ask on, they change nothing and fail.
`

// exitStatuses says what each status means, for the reference.
var exitStatuses = map[int]string{
	0:              "the command did its work",
	statusFailed:   "it failed, and nothing was changed unless it says otherwise; or it found something wrong, for the commands that check something",
	statusUsage:    "it was called wrongly: an unknown command or flag, arguments missing, no terminal to ask on",
	statusConflict: "`script …` commands that change: somebody else changed the script first; nothing was changed",
	statusBehind:   "`script …` commands that change or wait: it is changed, but not every proxy of the fleet serves it in time",
}

// variables says what each environment variable does, for the reference.
var variables = map[string]string{
	"SCRIPTPROXY_CONFIG":  "the configuration's file, where `-config` is not given",
	adminVariable:         "the address of the admin listener, where `-admin` is not given",
	"SCRIPTPROXY_TOKEN":   "the token for the admin listener, where `-token-file` is not given; a flag for the token itself would show it to every user of the machine",
	"SCRIPTPROXY_CA_FILE": "the authorities for https, where `-ca-file` is not given",
	"USER":                "who made a change, for the audit log, where the system does not know the user",
	"NOTIFY_SOCKET":       "set by systemd for `Type=notify`: `serve` says there when it serves, reloads and ends",
	"WATCHDOG_PID":        "set by systemd: which process `WATCHDOG_USEC` is meant for",
	"WATCHDOG_USEC":       "set by systemd for `WatchdogSec`: `serve` says at half that time that its event loops move",
	"GOMAXPROCS":          "how many CPUs Go may use; `loops: 0` in the configuration makes as many event loops",
	"GOMEMLIMIT":          "a soft limit on the memory of the Go runtime, such as 512MiB",
}

func TestReferenceInDocsIsGeneratedFromTheCommands(t *testing.T) {
	var text strings.Builder
	text.WriteString(referenceHead)
	text.WriteString("\n## Exit statuses\n\n| status | when |\n|---|---|\n")
	for _, status := range slices.Sorted(maps.Keys(exitStatuses)) {
		fmt.Fprintf(&text, "| %d | %s |\n", status, exitStatuses[status])
	}
	text.WriteString("\nA `demo -once COMMAND` ends with the status of COMMAND. A signal ends `serve` and `demo` in order, with 0.\n")
	text.WriteString("\n## Environment variables\n\n| variable | |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		fmt.Fprintf(&text, "| `%s` | %s |\n", name, variables[name])
	}
	text.WriteString("\nBesides, `!env NAME` in the [configuration](configuration.md) takes a value from the variable NAME.\n")
	root := wholeRoot(t)
	writeOverview(&text, root.Commands)
	fmt.Fprintf(&text, "\n## %s\n", adminHeading)
	writeFlagTable(&text, adminFlags())
	fmt.Fprintf(&text, "\n## %s\n\nThese beside the ones above:\n", changeHeading)
	writeFlagTable(&text, without(changeFlags(), adminFlags()))
	writeCommands(&text, root.Commands)

	if *update {
		if err := os.WriteFile(referencePath, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, []byte(text.String())) {
		t.Error("docs/cli.md is not what the commands say: run go test ./cmd/scriptproxy/internal/cli -run Reference -update")
	}
}

// wholeRoot is the program's command with those that the library adds when it
// runs.
func wholeRoot(t *testing.T) *urfave.Command {
	t.Helper()
	root := newRoot(Streams{In: strings.NewReader(""), Out: io.Discard, Err: io.Discard})
	if err := root.Run(context.Background(), []string{"scriptproxy", "version"}); err != nil {
		t.Fatal(err)
	}
	return root
}

// shown are the commands that the reference has: not those that are hidden, nor
// help, which -help is as well.
func shown(commands []*urfave.Command) []*urfave.Command {
	return slices.DeleteFunc(slices.Clone(commands), func(c *urfave.Command) bool { return c.Hidden || c.Name == "help" })
}

func writeOverview(w *strings.Builder, commands []*urfave.Command) {
	w.WriteString("\n## Commands\n\n| command | |\n|---|---|\n")
	var rows func([]*urfave.Command)
	rows = func(commands []*urfave.Command) {
		for _, c := range shown(commands) {
			fmt.Fprintf(w, "| [`%s`](#%s) | %s |\n", c.FullName(), strings.ReplaceAll(c.FullName(), " ", "-"), cell(c.Usage))
			rows(c.Commands)
		}
	}
	rows(commands)
}

func writeCommands(w *strings.Builder, commands []*urfave.Command) {
	for _, c := range shown(commands) {
		fmt.Fprintf(w, "\n## %s\n\n%s.\n", c.FullName(), upperFirst(c.Usage))
		inner := shown(c.Commands)
		if len(inner) == 0 {
			usage := c.FullName()
			if slices.ContainsFunc(c.VisibleFlags(), func(f urfave.Flag) bool { return !isHelp(f) }) {
				usage += " [FLAGS]"
			}
			if c.ArgsUsage != "" {
				usage += " " + c.ArgsUsage
			}
			fmt.Fprintf(w, "\n```text\n%s\n```\n", usage)
		}
		if c.Description != "" {
			fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.Description))
		}
		writeFlags(w, c)
		writeCommands(w, c.Commands)
	}
}

// Flags that many commands have are explained in one place.
const (
	adminHeading  = "Flags of commands that speak to a proxy"
	changeHeading = "Flags of commands that change a script"
)

func writeFlags(w *strings.Builder, c *urfave.Command) {
	flags := slices.DeleteFunc(c.VisibleFlags(), isHelp)
	own := without(flags, changeFlags())
	change := len(flags)-len(own) == len(changeFlags())
	speaks := false
	if !change {
		own = without(flags, adminFlags())
		speaks = len(flags)-len(own) == len(adminFlags())
	}
	if !change && !speaks {
		own = flags
	}
	writeFlagTable(w, own)
	switch {
	case change:
		fmt.Fprintf(w, "\nAnd the flags of commands [that speak to a proxy](#%s) and [that change a script](#%s).\n", anchor(adminHeading), anchor(changeHeading))
	case speaks:
		fmt.Fprintf(w, "\nAnd the flags of commands [that speak to a proxy](#%s).\n", anchor(adminHeading))
	}
}

func isHelp(f urfave.Flag) bool { return f.Names()[0] == "help" }

// without returns the flags that are not among others, by name and usage.
func without(flags, others []urfave.Flag) []urfave.Flag {
	return slices.DeleteFunc(slices.Clone(flags), func(f urfave.Flag) bool {
		return slices.ContainsFunc(others, func(o urfave.Flag) bool {
			return o.Names()[0] == f.Names()[0] && o.(urfave.DocGenerationFlag).GetUsage() == f.(urfave.DocGenerationFlag).GetUsage()
		})
	})
}

func anchor(heading string) string { return strings.ReplaceAll(strings.ToLower(heading), " ", "-") }

func writeFlagTable(w *strings.Builder, flags []urfave.Flag) {
	if len(flags) == 0 {
		return
	}
	w.WriteString("\n| flag | default | |\n|---|---|---|\n")
	for _, f := range flags {
		doc := f.(urfave.DocGenerationFlag)
		value, usage := placeholder(doc)
		name := "-" + f.Names()[0]
		if value != "" {
			name += " " + value
		}
		note := upperFirst(usage)
		if env := doc.GetEnvVars(); len(env) > 0 {
			note += ". Variable: `" + strings.Join(env, "`, `") + "`"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s. |\n", name, defaultOf(doc), cell(note))
	}
}

// placeholder takes the word in backquotes out of a flag's usage, as the help
// does.
func placeholder(f urfave.DocGenerationFlag) (value, usage string) {
	usage = f.GetUsage()
	if before, rest, ok := strings.Cut(usage, "`"); ok {
		name, after, _ := strings.Cut(rest, "`")
		return name, before + name + after
	}
	if f.TakesValue() {
		return "VALUE", usage
	}
	return "", usage
}

func defaultOf(f urfave.DocGenerationFlag) string {
	value := strings.Trim(f.GetValue(), `"`)
	switch {
	case value == "" || value == "[]":
		return ""
	case !f.TakesValue() && value == "false", value == "0", value == "0s", value == "-1":
		return "" // not given
	case strings.HasSuffix(value, "m0s"):
		value = strings.TrimSuffix(value, "0s")
	}
	return "`" + value + "`"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func TestEveryCommandAndFlagIsExplained(t *testing.T) {
	var check func([]*urfave.Command)
	check = func(commands []*urfave.Command) {
		for _, c := range shown(commands) {
			if c.Usage == "" {
				t.Errorf("%s says nothing about itself", c.FullName())
			}
			for _, f := range c.VisibleFlags() {
				if f.(urfave.DocGenerationFlag).GetUsage() == "" {
					t.Errorf("%s: the flag -%s says nothing about itself", c.FullName(), f.Names()[0])
				}
			}
			check(c.Commands)
		}
	}
	check(wholeRoot(t).Commands)
}

// TestReferenceNamesEveryVariableThatIsRead looks for them in the source, so that a
// new one can't be forgotten.
func TestReferenceNamesEveryVariableThatIsRead(t *testing.T) {
	read := map[string]bool{}
	var flags func([]*urfave.Command)
	flags = func(commands []*urfave.Command) {
		for _, c := range commands {
			for _, f := range c.Flags {
				if doc, ok := f.(urfave.DocGenerationFlag); ok {
					for _, name := range doc.GetEnvVars() {
						read[name] = true
					}
				}
			}
			flags(c.Commands)
		}
	}
	flags(wholeRoot(t).Commands)
	for _, dir := range []string{".", "../app", "../sdnotify"} {
		for _, name := range variablesIn(t, dir) {
			read[name] = true
		}
	}
	if len(read) < 6 {
		t.Fatalf("only %d variables were found: %v", len(read), read)
	}
	for name := range read {
		if variables[name] == "" {
			t.Errorf("the variable %s is read, and the reference does not have it", name)
		}
	}
	for name := range variables {
		if !read[name] && !slices.Contains([]string{"GOMAXPROCS", "GOMEMLIMIT"}, name) { // Go's own
			t.Errorf("the reference has the variable %s, which nothing reads", name)
		}
	}
}

// variablesIn returns the names that are passed to functions called Getenv or
// getenv in a directory's files, tests excluded.
func variablesIn(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s has no Go files (%v)", dir, err)
	}
	var names []string
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				return true
			}
			called := ""
			switch f := call.Fun.(type) {
			case *ast.Ident:
				called = f.Name
			case *ast.SelectorExpr:
				called = f.Sel.Name
			}
			literal, ok := call.Args[0].(*ast.BasicLit)
			if !strings.EqualFold(called, "getenv") || !ok {
				return true
			}
			if name, err := strconv.Unquote(literal.Value); err == nil {
				names = append(names, name)
			}
			return true
		})
	}
	return names
}
