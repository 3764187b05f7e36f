package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/app"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/policy"
)

func policyCommand(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "policy",
		Usage: "check and explain the rules, learn them from traffic, have the server enforce them",
		Description: "Rules say who may run which scripts and commands; policy.rules_file names\n" +
			"them. A start for a running system is \"scriptproxy policy learn\".",
		ArgValidator: noArguments,
		Commands: []*urfave.Command{
			policyCheck(streams),
			policyExplain(streams),
			policyLearn(streams),
			policyACL(streams),
		},
	}
}

func policyCheck(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "check",
		Usage: "check the rules that a configuration names",
		Description: "Checks every rule by itself, against the others and against the scripts that\n" +
			"the configuration declares, as serve and reload do, and lists them. Nothing is\n" +
			"connected to. The exit status is 1 when serve would refuse the rules.",
		Flags: []urfave.Flag{configFlag(), jsonFlag()},
		Action: func(_ context.Context, cmd *urfave.Command) error {
			cfg, err := loadConfig(cmd, streams)
			if err != nil {
				return err
			}
			if cfg.Policy.RulesFile == "" {
				return hinted(errors.New("the configuration names no rules"), "set policy.rules_file; \"scriptproxy policy learn\" writes such a file")
			}
			result := &policyResult{File: cfg.Policy.RulesFile, Mode: string(cfg.Policy.Mode), Problems: []checkProblem{}, Warnings: []checkProblem{}, Rules: []ruleLine{}}
			book, err := app.NewBook(cfg)
			if err := result.problems(err); err != nil {
				return err
			}
			if result.Valid {
				result.take(book)
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

// loadConfig reads the configuration that the flags name, and prints warnings.
func loadConfig(cmd *urfave.Command, streams Streams) (*config.Config, error) {
	path, err := configPath(cmd)
	if err != nil {
		return nil, err
	}
	cfg, warnings, err := config.Load(path)
	warn(streams.Err, warnings)
	return cfg, err
}

// policyResult is what policy check found, as -json prints it.
type policyResult struct {
	File     string         `json:"file"`
	Mode     string         `json:"mode"`
	Valid    bool           `json:"valid"`
	Problems []checkProblem `json:"problems"`
	Warnings []checkProblem `json:"warnings"`
	Rules    []ruleLine     `json:"rules"`
}

// ruleLine is one rule of the table.
type ruleLine struct {
	Line    int    `json:"line"`
	Name    string `json:"name"`
	Matches string `json:"matches"` // the conditions
	Does    string `json:"does"`    // the action and the attributes
}

// problems takes the error of reading or compiling apart. It returns one that
// is no mistake in the rules.
func (r *policyResult) problems(err error) error {
	r.Valid = err == nil
	list := policyProblems(err)
	if err != nil && list == nil {
		return err
	}
	r.Problems = append(r.Problems, list...)
	return nil
}

// policyProblems are the mistakes in a rule file that an error tells of; nil
// for another error.
func policyProblems(err error) []checkProblem {
	var list []checkProblem
	if problems, ok := errors.AsType[policy.Problems](err); ok {
		for _, p := range problems {
			list = append(list, ruleProblem(p))
		}
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		for _, p := range problems {
			list = append(list, checkProblem{p.File, p.Line, p.Path, p.Text})
		}
	}
	return list
}

func ruleProblem(p policy.Problem) checkProblem {
	text := p.Text
	if p.Rule != "" {
		text = "rule '" + p.Rule + "': " + text
	}
	return checkProblem{File: p.File, Line: p.Line, Text: text}
}

func (r *policyResult) take(book *app.Book) {
	for _, w := range book.Set.Warnings() {
		r.Warnings = append(r.Warnings, ruleProblem(w))
	}
	for _, rule := range book.Set.Rules() {
		r.Rules = append(r.Rules, ruleLine{rule.Line, rule.Name, conditionsText(&rule.Match), effectText(&rule)})
	}
	spec := book.Set.Spec()
	for _, d := range []struct {
		what   string
		action policy.Action
	}{{"every other script call", spec.Default}, {"every other command", spec.DefaultCommands}} {
		does := "allow"
		if d.action == policy.Deny {
			does = "deny"
		}
		r.Rules = append(r.Rules, ruleLine{Name: "(default)", Matches: d.what, Does: does})
	}
}

func (r *policyResult) print(streams Streams) error {
	for _, w := range r.Warnings {
		fmt.Fprintf(streams.Err, "scriptproxy: warning: %s\n", w)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(streams.Err, "scriptproxy: error: %s\n", p)
	}
	if len(r.Problems) > 0 {
		return nil
	}
	t := &table{header: []string{"line", "rule", "matches", "does"}}
	for _, rule := range r.Rules {
		line := ""
		if rule.Line > 0 {
			line = strconv.Itoa(rule.Line)
		}
		t.add(line, rule.Name, rule.Matches, rule.Does)
	}
	if err := t.print(streams.Out); err != nil {
		return err
	}
	_, err := fmt.Fprintf(streams.Out, "%s is valid: %s, mode %s\n", r.File, plural(len(r.Rules)-2, "rule"), r.Mode)
	return err
}

// conditionsText lists the conditions of a rule on one line.
func conditionsText(m *policy.Match) string {
	var parts []string
	list := func(field string, values []string) {
		const few = 4
		if len(values) == 0 {
			return
		}
		text := strings.Join(values[:min(few, len(values))], ",")
		if more := len(values) - few; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, field+" "+text)
	}
	span := func(field string, least, most *int64) {
		switch {
		case least != nil && most != nil:
			parts = append(parts, fmt.Sprintf("%s %d-%d", field, *least, *most))
		case least != nil:
			parts = append(parts, fmt.Sprintf("%s >=%d", field, *least))
		case most != nil:
			parts = append(parts, fmt.Sprintf("%s <=%d", field, *most))
		}
	}
	list("users", m.Users)
	list("networks", m.Networks)
	list("listeners", m.Listeners)
	list("scripts", m.Scripts)
	list("functions", m.Functions)
	list("tags", m.Tags)
	list("shas", m.SHAs)
	if m.Registered != nil {
		parts = append(parts, "registered "+strconv.FormatBool(*m.Registered))
	}
	list("classes", m.Classes)
	list("uses", m.Uses)
	list("findings", m.Findings)
	list("commands", m.Commands)
	span("keys", wide(m.MinKeys), wide(m.MaxKeys))
	span("arg_bytes", m.MinArgBytes, m.MaxArgBytes)
	list("hours", m.Hours)
	if len(parts) == 0 {
		return "every script call"
	}
	return strings.Join(parts, "; ")
}

func wide(n *int) *int64 {
	if n == nil {
		return nil
	}
	w := int64(*n)
	return &w
}

// effectText says what a rule does on one line.
func effectText(r *policy.Rule) string {
	parts := []string{r.Action.String()}
	add := func(is bool, text string) {
		if is {
			parts = append(parts, text)
		}
	}
	add(r.Route != policy.RouteAny, "route "+r.Route.String())
	add(r.Deadline > 0, "deadline "+r.Deadline.String())
	add(r.MaxConcurrent > 0, fmt.Sprintf("at most %d at a time", r.MaxConcurrent))
	for _, rate := range r.Rates {
		add(true, "at most "+rate.String())
	}
	if r.Priority != nil {
		add(true, "priority "+r.Priority.String())
	}
	add(r.Version != "", "version "+r.Version)
	if len(parts) > 1 {
		parts = slices.DeleteFunc(parts, func(p string) bool { return p == policy.Continue.String() })
	}
	return strings.Join(parts, ", ")
}
