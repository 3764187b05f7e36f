package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/scriptproxy/scriptproxy/policy"
)

// LoadRules reads the rule file at path. A mistake in the file is returned as
// Problems, all at once; any other error means that it could not be read. What
// the rules say is checked by policy.Compile, not here. The mode is not the rule
// file's to say: the Spec's is ModeOff.
func LoadRules(path string) (policy.Spec, error) {
	f, err := os.Open(path)
	if err != nil {
		return policy.Spec{}, fmt.Errorf("cannot read the rules: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return policy.Spec{}, fmt.Errorf("cannot read the rules: %w", err)
	}
	if len(data) > maxFile {
		return policy.Spec{}, fmt.Errorf("the rules %s have more than %s", path, Size(maxFile))
	}
	return ParseRules(path, data)
}

// ParseRules is LoadRules for a file that was read already: name stands in
// messages for it.
func ParseRules(name string, data []byte) (policy.Spec, error) {
	var file ruleFile
	d := &decoder{report: &report{file: name, lines: make(map[string]int)}, whole: reflect.TypeFor[ruleFile]()}
	if root := d.document(data); root != nil {
		d.lines[""] = root.Line
		d.value("", root, reflect.ValueOf(&file).Elem())
	}
	if err := d.problems.err(); err != nil {
		return policy.Spec{}, err
	}
	return file.spec(d.report), nil
}

// document returns the one document of a file, nil when there is none.
func (d *decoder) document(data []byte) *yaml.Node {
	documents := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := documents.Decode(&first)
	if err == nil {
		if err = documents.Decode(&second); err == nil {
			d.problems = append(d.problems, Problem{d.file, second.Line, "", "a second document; the file must be one"})
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		d.syntax(err)
	}
	if len(first.Content) == 0 {
		return nil
	}
	return first.Content[0]
}

// ruleFile is what a rule file holds.
type ruleFile struct {
	Mode            ruleMode    `yaml:"mode"`
	Default         ruleAction  `yaml:"default"`
	DefaultCommands ruleAction  `yaml:"default_commands"`
	Rules           []ruleEntry `yaml:"rules"`
}

type ruleEntry struct {
	Name          string        `yaml:"name"`
	Match         ruleMatch     `yaml:"match"`
	Action        ruleAction    `yaml:"action"`
	Message       string        `yaml:"message"`
	Route         ruleRoute     `yaml:"route"`
	Deadline      time.Duration `yaml:"deadline"`
	MaxConcurrent int           `yaml:"max_concurrent"`
	Rate          ruleRates     `yaml:"rate"`
	Priority      *rulePriority `yaml:"priority"`
	Version       string        `yaml:"version"`
}

type ruleMatch struct {
	Users       []string `yaml:"users"`
	Networks    []string `yaml:"networks"`
	Listeners   []string `yaml:"listeners"`
	Scripts     []string `yaml:"scripts"`
	Functions   []string `yaml:"functions"`
	Tags        []string `yaml:"tags"`
	SHAs        []string `yaml:"shas"`
	Registered  *bool    `yaml:"registered"`
	Classes     []string `yaml:"classes"`
	Uses        []string `yaml:"uses"`
	Findings    []string `yaml:"findings"`
	Commands    []string `yaml:"commands"`
	MinKeys     *int     `yaml:"min_keys"`
	MaxKeys     *int     `yaml:"max_keys"`
	MinArgBytes *Size    `yaml:"min_arg_bytes"`
	MaxArgBytes *Size    `yaml:"max_arg_bytes"`
	Hours       []string `yaml:"hours"`
	Zone        string   `yaml:"zone"`
}

// ruleRates are the rates of one rule.
type ruleRates struct {
	PerScript *ruleRate `yaml:"per_script"`
	PerUser   *ruleRate `yaml:"per_user"`
}

// ruleRate may be written as its limit alone.
type ruleRate struct {
	Limit ruleLimit `yaml:"limit"`
	Burst int       `yaml:"burst"`
}

func (*ruleRate) shorthand() string { return "limit" }

// The following types read the words that policy defines.
type (
	ruleMode     struct{}
	ruleAction   policy.Action
	ruleRoute    policy.Route
	rulePriority policy.Priority
	ruleLimit    float64
)

func (*ruleMode) parse(string) error {
	return errors.New("does not belong here: the mode is policy.mode in the configuration")
}

func (a *ruleAction) parse(text string) error   { return parseInto(a, text, policy.ParseAction) }
func (r *ruleRoute) parse(text string) error    { return parseInto(r, text, policy.ParseRoute) }
func (p *rulePriority) parse(text string) error { return parseInto(p, text, policy.ParsePriority) }
func (l *ruleLimit) parse(text string) error    { return parseInto(l, text, policy.ParseLimit) }

func parseInto[T ~uint8 | ~int8 | ~float64, P ~uint8 | ~int8 | ~float64](target *T, text string, parse func(string) (P, error)) error {
	parsed, err := parse(text)
	*target = T(parsed)
	return err
}

// spec gives what the file says as policy takes it, with the line of each field.
func (f *ruleFile) spec(r *report) policy.Spec {
	spec := policy.Spec{
		Default:         policy.Action(f.Default),
		DefaultCommands: policy.Action(f.DefaultCommands),
		Rules:           make([]policy.Rule, len(f.Rules)),
		File:            r.file,
	}
	for i := range f.Rules {
		spec.Rules[i] = f.Rules[i].rule()
	}
	for path, line := range r.lines {
		rest, ok := strings.CutPrefix(path, "rules[")
		index, field, ok2 := strings.Cut(rest, "]")
		i, err := strconv.Atoi(index)
		if !ok || !ok2 || err != nil {
			continue
		}
		rule := &spec.Rules[i]
		field = strings.TrimPrefix(strings.TrimPrefix(field, "."), "match.")
		if field == "" {
			rule.Line = line
			continue
		}
		if rule.Lines == nil {
			rule.Lines = make(map[string]int)
		}
		rule.Lines[field] = line
	}
	return spec
}

func (e *ruleEntry) rule() policy.Rule {
	m := &e.Match
	rule := policy.Rule{
		Name: e.Name, Action: policy.Action(e.Action), Message: e.Message, Route: policy.Route(e.Route),
		Deadline: e.Deadline, MaxConcurrent: e.MaxConcurrent, Version: e.Version,
		Priority: (*policy.Priority)(e.Priority),
		Match: policy.Match{
			Users: m.Users, Networks: m.Networks, Listeners: m.Listeners, Scripts: m.Scripts, Functions: m.Functions,
			Tags: m.Tags, SHAs: m.SHAs, Registered: m.Registered, Classes: m.Classes, Uses: m.Uses,
			Findings: m.Findings, Commands: m.Commands, MinKeys: m.MinKeys, MaxKeys: m.MaxKeys,
			MinArgBytes: (*int64)(m.MinArgBytes), MaxArgBytes: (*int64)(m.MaxArgBytes), Hours: m.Hours, Zone: m.Zone,
		},
	}
	for per, rate := range []*ruleRate{policy.PerScript: e.Rate.PerScript, policy.PerUser: e.Rate.PerUser} {
		if rate != nil {
			rule.Rates = append(rule.Rates, policy.Rate{Per: policy.Per(per), Limit: float64(rate.Limit), Burst: rate.Burst})
		}
	}
	return rule
}
