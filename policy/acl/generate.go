package acl

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/scriptproxy/scriptproxy/policy"
)

// Options are the circumstances of a plan.
type Options struct {
	// Users are those that clients' calls travel as.
	Users []User
	// Loader is the user that loads scripts and functions. Empty leaves it out of the plan: then the proxy
	// must load them as a user that the plan does not touch.
	Loader string
}

// Generate makes the plan under which a server enforces what set says in enforce mode, whatever its mode is.
// catalog must be the one that set was compiled with, and hold the server's own commands: a server refuses
// rules about commands that it does not have.
func Generate(set *policy.Set, catalog policy.Catalog, options Options) (*Plan, error) {
	if len(catalog.Commands) == 0 {
		return nil, errors.New("cannot make an ACL without knowing the server's commands")
	}
	if err := options.check(); err != nil {
		return nil, err
	}
	g := &generator{set: set, catalog: catalog, model: newModel(catalog.Commands), notes: make(map[string]bool)}
	plan := &Plan{model: g.model, loader: options.Loader}
	for _, u := range options.Users {
		plan.Users = append(plan.Users, g.user(u))
	}
	if options.Loader != "" {
		required := slices.DeleteFunc(slices.Clone(loaderNeeds), func(name string) bool { return !g.model.knows(name) })
		rules := make([]string, len(required))
		for i, name := range required {
			rules[i] = "+" + name
		}
		plan.Users = append(plan.Users, UserPlan{Name: options.Loader, Rules: rules, required: required})
	}
	plan.Notes = slices.Sorted(maps.Keys(g.notes))
	return plan, nil
}

func (o *Options) check() error {
	seen := map[string]bool{}
	names := make([]string, 0, len(o.Users)+1)
	for _, u := range o.Users {
		names = append(names, u.Name)
	}
	if len(names) == 0 {
		return errors.New("cannot make an ACL for no users")
	}
	if o.Loader != "" {
		if slices.Contains(names, o.Loader) {
			return fmt.Errorf("the user '%s' cannot both load scripts and carry clients' calls: whoever may load any script is bound by none", o.Loader)
		}
		names = append(names, o.Loader)
	}
	for _, name := range names {
		switch {
		case name == "" || strings.ContainsAny(name, " \x00"):
			return fmt.Errorf("'%s' cannot be the name of a user: Redis takes no empty ones, and none with spaces", name)
		case seen[name]:
			return fmt.Errorf("the user '%s' is given twice", name)
		}
		seen[name] = true
	}
	return nil
}

type generator struct {
	set     *policy.Set
	catalog policy.Catalog
	model   *model
	notes   map[string]bool
}

func (g *generator) note(format string, args ...any) { g.notes[fmt.Sprintf(format, args...)] = true }

// user plans for one user. Where the policy denies commands by default, its permissions are listed; else only
// what is denied is taken away.
func (g *generator) user(u User) UserPlan {
	callers := u.Callers
	if len(callers) == 0 {
		callers = []string{""}
	}
	denied := make(map[string]string)
	for _, name := range g.model.names {
		if why := g.denied(u.Name, callers, name); why != "" {
			denied[name] = why
		}
	}
	for container := range g.model.subs {
		if container != standalone && !g.model.whole(container, func(name string) bool { return denied[name] != "" }) {
			delete(denied, container)
		}
	}
	used := g.usedInside(callers)
	plan := UserPlan{Name: u.Name, denied: denied}
	for _, name := range calling {
		if g.model.knows(name) {
			delete(denied, name)
			plan.required = append(plan.required, name)
		}
	}
	for name, script := range used {
		switch why := denied[name]; why {
		case "":
		case byDefault:
			delete(denied, name)
		default:
			g.note("user '%s': the script '%s' uses %s and will be refused it: %s", u.Name, script, strings.ToUpper(name), why)
		}
	}
	if g.set.Spec().DefaultCommands == policy.Deny {
		g.list(&plan, callers)
		return plan
	}
	plan.Rules = g.model.denials(denied)
	for _, name := range plan.required {
		plan.Rules = append(plan.Rules, "+"+name)
	}
	return plan
}

// list plans for a user who may run only what is listed: everything that is not denied.
func (g *generator) list(plan *UserPlan, callers []string) {
	granted := make(permissions)
	plan.required = nil
	for _, name := range g.model.names {
		if plan.denied[name] == "" {
			granted[name] = true
			plan.required = append(plan.required, name)
		}
	}
	plan.Rules = g.model.grants(granted)
	for _, caller := range callers {
		if g.set.Outcomes(caller, g.set.Script(policy.Unregistered)).Allow {
			g.note("user '%s': unregistered scripts are allowed, but what they use beyond the listed commands will be refused", plan.Name)
			return
		}
	}
}

// byDefault is why a command is denied that no rule speaks of.
const byDefault = "no rule allows it"

// denied returns why a user of the server must be refused a command, or nothing.
func (g *generator) denied(user string, callers []string, name string) string {
	if slices.Contains(loading, name) {
		return "it loads code, which only the loader may"
	}
	if slices.Contains(unloading, name) {
		return "it takes code away or stops it, which only the loader may"
	}
	plain, by := g.outcome(callers, func(caller string) policy.Outcomes {
		return g.set.Outcomes(caller, g.set.Command(name, ""))
	})
	lifts := slices.Contains(lifting, name)
	switch {
	case lifts && !g.named(callers, name):
		return "it can lift the wall"
	case lifts && plain != always:
		g.note("user '%s': rule '%s' allows %s, which can lift the wall", user, g.ruleName(g.allowedBy(callers, name)), strings.ToUpper(name))
	}
	upper := strings.ToUpper(name)
	switch {
	case slices.Contains(unchecked, name):
		if plain != never && by != policy.NoRule {
			g.note("user '%s': %s cannot be denied by an ACL (%s); the proxy alone enforces it", user, upper, g.because(by))
		}
		return ""
	case plain == always && by == policy.NoRule && slices.Contains(connection, name):
		return ""
	case plain == always:
		return g.because(by)
	}
	if plain == sometimes {
		g.note("user '%s': %s is denied only under conditions that an ACL does not know (%s); the proxy alone enforces it", user, upper, g.because(by))
	}
	inside, insideBy := g.outcome(callers, func(caller string) policy.Outcomes { return g.set.OutcomesOfUse(caller, name) })
	if inside == never {
		return ""
	}
	switch rule := g.allowedBy(callers, name); {
	case inside != always:
		g.note("user '%s': %s inside of scripts is denied only under conditions that an ACL does not know (%s); the proxy alone enforces it", user, upper, g.because(insideBy))
	case rule != policy.NoRule:
		g.note("user '%s': %s inside of scripts cannot be denied (%s), because rule '%s' allows it outside of them", user, upper, g.because(insideBy), g.ruleName(rule))
	default:
		g.note("user '%s': %s is denied outside of scripts too: a server cannot tell the two apart (%s)", user, upper, g.because(insideBy))
		return g.because(insideBy)
	}
	return ""
}

// frequency says how often calls are denied.
type frequency uint8

const (
	never frequency = iota
	sometimes
	always
)

// outcome takes the callers together: what some of them may do, the user of the server must be able to.
func (g *generator) outcome(callers []string, of func(caller string) policy.Outcomes) (frequency, int) {
	allow, by := false, policy.NoRule
	deny := false
	for _, caller := range callers {
		o := of(caller)
		allow = allow || o.Allow
		deny = deny || o.Deny
		if o.Deny && by == policy.NoRule {
			by = o.DeniedBy
		}
	}
	switch {
	case !deny:
		return never, by
	case allow:
		return sometimes, by
	}
	return always, by
}

// allowedBy returns the rule that allows one of the callers the plain command; NoRule when only the default
// does.
func (g *generator) allowedBy(callers []string, name string) int {
	for _, caller := range callers {
		if o := g.set.Outcomes(caller, g.set.Command(name, "")); o.AllowedBy != policy.NoRule {
			return o.AllowedBy
		}
	}
	return policy.NoRule
}

func (g *generator) named(callers []string, name string) bool {
	return g.allowedBy(callers, name) != policy.NoRule
}

func (g *generator) ruleName(rule int) string { return g.set.Rules()[rule].Name }

func (g *generator) because(rule int) string {
	if rule == policy.NoRule {
		return byDefault
	}
	return "rule '" + g.ruleName(rule) + "' denies it"
}

// usedInside returns the commands used by registered scripts that some caller may run, each with a script that
// does.
func (g *generator) usedInside(callers []string) map[string]string {
	used := make(map[string]string)
	for i := range g.catalog.Scripts {
		s := &g.catalog.Scripts[i]
		if !slices.ContainsFunc(callers, func(caller string) bool {
			return g.set.Outcomes(caller, g.set.Script(policy.ScriptRef(i))).Allow
		}) {
			continue
		}
		if s.Commands == nil {
			g.note("the script '%s' version %s was not analysed: it may use commands that the server will refuse it", s.Name, s.Version)
		}
		for _, c := range s.Commands {
			if name := strings.ToLower(c); used[name] == "" {
				used[name] = s.Name
			}
		}
	}
	return used
}
