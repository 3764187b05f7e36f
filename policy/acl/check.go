package acl

import (
	"fmt"
	"slices"
	"strings"
)

// State is what a server says of one user.
type State struct {
	Name      string
	Exists    bool
	On        bool
	NoPass    bool
	Commands  string   // the command rules: "+@all -flushall"
	Selectors []string // the command rules of further selectors, any of which suffices
}

// ParseGetUser reads the reply to ACL GETUSER name: a list of names and values, a map, or nil for a user that
// does not exist. Passwords in it are not looked at.
func ParseGetUser(name string, reply any) (State, error) {
	s := State{Name: name}
	if reply == nil {
		return s, nil
	}
	fields, err := fieldsOf(reply)
	if err != nil {
		return s, fmt.Errorf("cannot read what the server says of user '%s': %w", name, err)
	}
	s.Exists = true
	flags, _ := fields["flags"].([]any)
	s.On, s.NoPass = slices.Contains(flags, any("on")), slices.Contains(flags, any("nopass"))
	var ok bool
	if s.Commands, ok = fields["commands"].(string); !ok {
		return s, fmt.Errorf("cannot read what the server says of user '%s': it has no command rules", name)
	}
	selectors, _ := fields["selectors"].([]any)
	for _, selector := range selectors {
		parts, err := fieldsOf(selector)
		if err != nil {
			return s, fmt.Errorf("cannot read the selectors of user '%s': %w", name, err)
		}
		rules, _ := parts["commands"].(string)
		s.Selectors = append(s.Selectors, rules)
	}
	return s, nil
}

// fieldsOf reads a reply of names and values in the forms in which clients give it.
func fieldsOf(reply any) (map[string]any, error) {
	fields := make(map[string]any)
	switch reply := reply.(type) {
	case map[string]any:
		return reply, nil
	case map[any]any:
		for k, v := range reply {
			fields[fmt.Sprint(k)] = v
		}
		return fields, nil
	case []any:
		for i := 0; i+1 < len(reply); i += 2 {
			fields[fmt.Sprint(reply[i])] = reply[i+1]
		}
		return fields, nil
	}
	return nil, fmt.Errorf("%T is no list of fields", reply)
}

// Gap is one difference between the plan and the server.
type Gap struct {
	User     string
	Commands []string // those it is about; empty when it is about the user
	// Open says that the server lets through what the plan refuses; else it refuses what the plan needs.
	Open bool
	Text string // for a reader: what is wrong and what to do
}

// Check compares the plan with what the server says of its users: those of the plan, and others that clients
// might use to get past the proxy, such as default.
func (p *Plan) Check(states []State) ([]Gap, error) {
	var gaps []Gap
	known := make(map[string]bool)
	for _, s := range states {
		known[s.Name] = true
		permitted, err := p.permitted(s)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(p.Users, func(u UserPlan) bool { return u.Name == s.Name }); i >= 0 {
			gaps = append(gaps, p.Users[i].check(s, permitted)...)
		} else if s.On && s.NoPass && slices.ContainsFunc(loading, func(name string) bool { return permitted[name] }) {
			gaps = append(gaps, Gap{User: s.Name, Open: true, Text: fmt.Sprintf(
				"the server's user '%s' needs no password and may run scripts of its own: who reaches the server directly is bound by no policy; give it a password, or switch it off with ACL SETUSER %s off", s.Name, s.Name)})
		}
	}
	for _, u := range p.Users {
		if !known[u.Name] {
			gaps = append(gaps, u.missing())
		}
	}
	return gaps, nil
}

// permitted returns what a user may run by any of its selectors.
func (p *Plan) permitted(s State) (permissions, error) {
	all := make(permissions)
	for _, rules := range append([]string{s.Commands}, s.Selectors...) {
		one, err := p.model.permitted(rules)
		if err != nil {
			return nil, fmt.Errorf("cannot read the rules of user '%s': %w", s.Name, err)
		}
		for name, granted := range one {
			all[name] = all[name] || granted
		}
	}
	return all, nil
}

func (u *UserPlan) missing() Gap {
	return Gap{User: u.Name, Text: fmt.Sprintf("the server has no user '%s'; scriptproxy policy acl prints the rules for it", u.Name)}
}

func (u *UserPlan) check(s State, permitted permissions) []Gap {
	if !s.Exists {
		return []Gap{u.missing()}
	}
	var gaps []Gap
	if !s.On {
		gaps = append(gaps, Gap{User: u.Name, Text: fmt.Sprintf("the server's user '%s' is off: nobody can use it; switch it on with ACL SETUSER %s on", u.Name, u.Name)})
	}
	byReason := make(map[string][]string)
	for name, why := range u.denied {
		if permitted[name] {
			byReason[why] = append(byReason[why], name)
		}
	}
	for why, names := range byReason {
		slices.Sort(names)
		gaps = append(gaps, Gap{User: u.Name, Commands: names, Open: true, Text: fmt.Sprintf(
			"the server lets user '%s' run %s, also inside scripts, although %s; set the ACL with: scriptproxy policy acl -apply", u.Name, several(names), why)})
	}
	var refused []string
	for _, name := range u.required {
		if !permitted[name] {
			refused = append(refused, name)
		}
	}
	if len(refused) > 0 {
		gaps = append(gaps, Gap{User: u.Name, Commands: refused, Text: fmt.Sprintf(
			"the server refuses user '%s' %s, which it needs; set the ACL with: scriptproxy policy acl -apply", u.Name, several(refused))})
	}
	slices.SortFunc(gaps, func(a, b Gap) int { return strings.Compare(a.Text, b.Text) })
	return gaps
}

// several names commands for a reader, and counts those beyond the first few.
func several(names []string) string {
	const few = 5
	shown := names[:min(few, len(names))]
	text := strings.ToUpper(strings.Join(shown, ", "))
	if more := len(names) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
