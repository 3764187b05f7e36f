package config

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/scriptproxy/scriptproxy/policy"
)

// shortList is the number of entries up to which a list is written on one line.
const shortList = 6

// FormatRules writes a policy as a rule file that ParseRules reads back as the
// same policy, but for its mode, which a rule file does not hold, and its line
// numbers. The comment, of any number of lines, comes first.
func FormatRules(spec policy.Spec, comment string) ([]byte, error) {
	var out bytes.Buffer
	for line := range strings.Lines(comment) {
		fmt.Fprintf(&out, "# %s\n", strings.TrimRight(line, "\n"))
	}
	top := &section{}
	top.action("default", spec.Default)
	top.action("default_commands", spec.DefaultCommands)
	rules := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range spec.Rules {
		rules.Content = append(rules.Content, formatRule(&spec.Rules[i]))
	}
	if len(rules.Content) == 0 {
		rules.Style = yaml.FlowStyle
	}
	top.add("rules", rules)
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(top.node()); err != nil {
		return nil, fmt.Errorf("cannot write the rules: %w", err)
	}
	return out.Bytes(), encoder.Close()
}

func formatRule(r *policy.Rule) *yaml.Node {
	rule := &section{}
	rule.text("name", r.Name)
	if match := formatMatch(&r.Match); len(match.content) > 0 {
		rule.add("match", match.node())
	}
	rule.action("action", r.Action)
	rule.text("message", r.Message)
	if r.Route != policy.RouteAny {
		rule.text("route", r.Route.String())
	}
	if r.Deadline != 0 {
		rule.text("deadline", r.Deadline.String())
	}
	if r.MaxConcurrent != 0 {
		rule.plain("max_concurrent", strconv.Itoa(r.MaxConcurrent))
	}
	if len(r.Rates) > 0 {
		rates := &section{flow: true}
		for _, rate := range r.Rates {
			key := "per_" + rate.Per.String()
			if rate.Burst == 0 {
				rates.text(key, rate.LimitText())
				continue
			}
			one := &section{flow: true}
			one.text("limit", rate.LimitText())
			one.plain("burst", strconv.Itoa(rate.Burst))
			rates.add(key, one.node())
		}
		rule.add("rate", rates.node())
	}
	if r.Priority != nil {
		rule.text("priority", r.Priority.String())
	}
	rule.text("version", r.Version)
	return rule.node()
}

func formatMatch(m *policy.Match) *section {
	s := &section{}
	s.list("users", m.Users)
	s.list("networks", m.Networks)
	s.list("listeners", m.Listeners)
	s.list("scripts", m.Scripts)
	s.list("functions", m.Functions)
	s.list("tags", m.Tags)
	s.list("shas", m.SHAs)
	s.optional("registered", m.Registered)
	s.list("classes", m.Classes)
	s.list("uses", m.Uses)
	s.list("findings", m.Findings)
	s.list("commands", m.Commands)
	s.optional("min_keys", m.MinKeys)
	s.optional("max_keys", m.MaxKeys)
	s.optional("min_arg_bytes", (*Size)(m.MinArgBytes))
	s.optional("max_arg_bytes", (*Size)(m.MaxArgBytes))
	s.list("hours", m.Hours)
	s.text("zone", m.Zone)
	return s
}

// section builds a mapping; what is empty is left out.
type section struct {
	content []*yaml.Node
	flow    bool
}

func (s *section) node() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Content: s.content}
	if s.flow {
		n.Style = yaml.FlowStyle
	}
	return n
}

func (s *section) add(key string, value *yaml.Node) {
	s.content = append(s.content, textNode(key), value)
}

// textNode is quoted where it would be read as anything but text.
func textNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
}

func (s *section) text(key, value string) {
	if value != "" {
		s.add(key, textNode(value))
	}
}

// plain adds a number or a truth value.
func (s *section) plain(key, value string) {
	s.add(key, &yaml.Node{Kind: yaml.ScalarNode, Value: value})
}

func (s *section) action(key string, a policy.Action) {
	if a != policy.Continue {
		s.text(key, a.String())
	}
}

func (s *section) list(key string, values []string) {
	if len(values) == 0 {
		return
	}
	n := &yaml.Node{Kind: yaml.SequenceNode}
	if len(values) <= shortList {
		n.Style = yaml.FlowStyle
	}
	for _, v := range values {
		n.Content = append(n.Content, textNode(v))
	}
	s.add(key, n)
}

// optional adds what a pointer points to, nothing for nil.
func (s *section) optional(key string, pointer any) {
	if v := reflect.ValueOf(pointer); !v.IsNil() {
		s.plain(key, fmt.Sprint(v.Elem().Interface()))
	}
}
