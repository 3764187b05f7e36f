package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/app"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/policy/lua"
)

func checkCommand(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "check",
		Usage: "check a configuration and the scripts in it",
		Description: "Reads the configuration and everything it names, as serve does, and every\n" +
			"script. Nothing is connected to. The exit status is 1 when serve would\n" +
			"refuse the configuration, or a script has an error.",
		Flags: []urfave.Flag{configFlag(), jsonFlag()},
		Action: func(_ context.Context, cmd *urfave.Command) error {
			path, err := configPath(cmd)
			if err != nil {
				return err
			}
			result, err := check(path)
			if err != nil {
				return err
			}
			if cmd.Bool("json") {
				err = printJSON(streams.Out, result)
			} else {
				err = result.print(streams)
			}
			if err == nil && !result.Valid {
				err = errReported
			}
			return err
		},
	}
}

// checkResult is what check found, as -json prints it.
type checkResult struct {
	Config   string          `json:"config"`
	Valid    bool            `json:"valid"`
	Problems []checkProblem  `json:"problems"`
	Warnings []checkProblem  `json:"warnings"`
	Scripts  []checkedScript `json:"scripts"`
}

// checkProblem is a mistake in the configuration, or a warning about it.
type checkProblem struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	Key  string `json:"key,omitempty"`
	Text string `json:"text"`
}

// checkedScript is one version of a script.
type checkedScript struct {
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Active   bool            `json:"active"`
	Pinned   bool            `json:"pinned"`
	SHA      string          `json:"sha"`
	File     string          `json:"file,omitempty"`
	Bytes    int             `json:"bytes"`
	Class    string          `json:"class"`  // as it is routed
	Source   string          `json:"source"` // what the class comes from: "configuration" or "analysis"
	Analysed bool            `json:"analysed"`
	Commands []string        `json:"commands"`
	Findings []scriptFinding `json:"findings"`
}

// scriptFinding is one thing that the analysis says about a place in a script.
type scriptFinding struct {
	Rule    string `json:"rule"`
	Level   string `json:"level"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Fix     string `json:"fix,omitempty"`
	Page    string `json:"page,omitempty"`
}

// check reads the configuration and its scripts. An error means that there was
// nothing to check; mistakes are in the result.
func check(path string) (*checkResult, error) {
	cfg, warnings, err := config.Load(path)
	result := &checkResult{
		Config: path, Valid: err == nil,
		Problems: []checkProblem{}, Warnings: []checkProblem{}, Scripts: []checkedScript{},
	}
	for _, w := range warnings {
		result.Warnings = append(result.Warnings, checkProblem{w.File, w.Line, w.Path, w.Text})
	}
	if err != nil {
		problems, ok := errors.AsType[config.Problems](err)
		if !ok {
			return nil, err
		}
		for _, p := range problems {
			result.Problems = append(result.Problems, checkProblem{p.File, p.Line, p.Path, p.Text})
		}
		return result, nil
	}
	if err := result.checkRules(cfg); err != nil {
		return nil, err
	}
	for i := range cfg.Scripts.List {
		script := &cfg.Scripts.List[i]
		for _, version := range script.Versions {
			checked := checkScript(script, version)
			if checked.count(lua.Error) > 0 {
				result.Valid = false
			}
			result.Scripts = append(result.Scripts, checked)
		}
	}
	return result, nil
}

// checkRules checks the rules that the configuration names. While the policy is
// off, serve does not look at what they say.
func (r *checkResult) checkRules(cfg *config.Config) error {
	if cfg.Policy.RulesFile == "" {
		return nil
	}
	_, err := app.NewBook(cfg)
	problems := policyProblems(err)
	switch {
	case err == nil:
	case problems == nil:
		return err
	case cfg.Policy.Mode == config.PolicyOff:
		r.Warnings = append(r.Warnings, problems...)
	default:
		r.Valid = false
		r.Problems = append(r.Problems, problems...)
	}
	return nil
}

// checkScript analyses one version as the proxy will.
func checkScript(script *config.Script, version config.Version) checkedScript {
	declared := lua.Auto
	switch script.Class {
	case config.ClassRead:
		declared = lua.Read
	case config.ClassWrite:
		declared = lua.Write
	}
	analysis := lua.Analyse(version.Body, lua.Options{DeclaredClass: declared, Name: script.Name, MaxBytes: len(version.Body)})
	checked := checkedScript{
		Name: script.Name, Version: version.ID, Active: version.ID == script.Active, Pinned: version.Pinned,
		SHA: version.SHA, File: version.File, Bytes: len(version.Body),
		Class: analysis.Class.String(), Source: "analysis", Analysed: analysis.Analysed,
		Commands: append([]string{}, analysis.Commands...), Findings: []scriptFinding{},
	}
	if declared != lua.Auto {
		checked.Class, checked.Source = declared.String(), "configuration"
	}
	for _, f := range analysis.Findings {
		checked.Findings = append(checked.Findings, scriptFinding{
			Rule: f.Rule, Level: f.Level.String(), Line: f.Line, Column: f.Column,
			Message: f.Message, Fix: f.Fix, Page: f.Page,
		})
	}
	return checked
}

// count returns the number of findings of that level.
func (s *checkedScript) count(level lua.Level) int {
	n := 0
	for _, f := range s.Findings {
		if f.Level == level.String() {
			n++
		}
	}
	return n
}

// summary says how many errors and warnings there are.
func (s *checkedScript) summary() string {
	var parts []string
	if n := s.count(lua.Error); n > 0 {
		parts = append(parts, plural(n, "error"))
	}
	if n := s.count(lua.Warning); n > 0 {
		parts = append(parts, plural(n, "warning"))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

// print prints the scripts as a table, then what was found in them, and what is
// wrong with the configuration to standard error.
func (r *checkResult) print(streams Streams) error {
	for _, w := range r.Warnings {
		fmt.Fprintf(streams.Err, "scriptproxy: warning: %s\n", w)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(streams.Err, "scriptproxy: error: %s\n", p)
	}
	if len(r.Problems) > 0 {
		return nil
	}
	if len(r.Scripts) > 0 {
		t := &table{header: []string{"name", "version", "active", "class", "sha", "findings"}}
		for i := range r.Scripts {
			s := &r.Scripts[i]
			t.add(s.Name, s.Version, mark(s.Active), s.Class, s.SHA, s.summary())
		}
		if err := t.print(streams.Out); err != nil {
			return err
		}
	}
	for i := range r.Scripts {
		s := &r.Scripts[i]
		for _, f := range s.Findings {
			if f.Level != lua.Note.String() {
				fmt.Fprintf(streams.Err, "scriptproxy: %s: %s@%s:%d:%d: %s (%s)\n", f.Level, s.Name, s.Version, f.Line, f.Column, f.Message, f.Rule)
			}
		}
	}
	verdict := "is valid"
	if !r.Valid {
		verdict = "has scripts with errors"
	}
	_, err := fmt.Fprintf(streams.Out, "%s %s: %s\n", r.Config, verdict, plural(len(r.Scripts), "script version"))
	return err
}

func (p checkProblem) String() string {
	return config.Problem{File: p.File, Line: p.Line, Path: p.Key, Text: p.Text}.String()
}

func mark(is bool) string {
	if is {
		return "*"
	}
	return ""
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
