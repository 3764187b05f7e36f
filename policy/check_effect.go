package policy

import (
	"math"
	"slices"
	"strings"
)

// effect checks what the rule does.
func (c *checker) effect(r *Rule, out *rule) {
	out.action, out.route, out.deadline, out.gate = r.Action, r.Route, r.Deadline, r.MaxConcurrent
	out.priority, out.version = r.Priority, r.Version
	attributes := c.attributes(r, out)
	switch r.Action {
	case Deny, Audit:
		for _, field := range attributes {
			c.rule(r, field, "it contradicts itself: the action is %s, which leaves no use for %s; make two rules of it", r.Action, field)
		}
	case Continue:
		if len(attributes) == 0 {
			c.rule(r, "action", "it does nothing: give it an action (allow, deny, audit) or an attribute (route, deadline, max_concurrent, rate, priority, version)")
		}
		fallthrough
	case Allow:
		if r.Message != "" {
			c.rule(r, "message", "message is for the actions deny and audit")
		}
	}
	if strings.ContainsFunc(r.Message, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		c.rule(r, "message", "the message has line breaks or other control characters, which an error reply cannot carry")
	}
	out.reason = "rule '" + r.Name + "'"
	if r.Message != "" {
		out.reason += ": " + r.Message
	}
}

// attributes checks the attributes and returns the names of those that are set.
func (c *checker) attributes(r *Rule, out *rule) []string {
	var set []string
	if r.Route != RouteAny {
		set = append(set, "route")
		if r.Route == RouteReplica && out.classes&(1<<ClassRead) == 0 {
			c.rule(r, "route", "it contradicts itself: route is replica, and classes leaves no reads")
		}
	}
	if r.Deadline != 0 {
		set = append(set, "deadline")
		if r.Deadline < 0 {
			c.rule(r, "deadline", "deadline is negative")
		}
	}
	if r.MaxConcurrent != 0 {
		set = append(set, "max_concurrent")
		if r.MaxConcurrent < 0 {
			c.rule(r, "max_concurrent", "max_concurrent is negative; to deny calls, use action: deny")
		}
	}
	if len(r.Rates) > 0 {
		set = append(set, "rate")
	}
	for i := range r.Rates {
		rate := &r.Rates[i]
		switch {
		case !(rate.Limit > 0) || math.IsInf(rate.Limit, 0):
			c.rule(r, "rate", "rate is not above zero; to deny calls, use action: deny")
		case rate.Limit > MaxRate:
			c.rule(r, "rate", "rate is above %d/s, the highest that can be limited", int(MaxRate))
		case rate.Burst < 0:
			c.rule(r, "rate", "burst is negative")
		case out.rates[rate.Per] != nil:
			c.rule(r, "rate", "there are two rates per %s", rate.Per)
		}
		out.rates[rate.Per] = rate
	}
	if r.Priority != nil {
		set = append(set, "priority")
	}
	if r.Version != "" {
		set = append(set, "version")
		c.version(r, out)
	}
	return set
}

// version checks that the scripts which the rule names have the version that it sets.
func (c *checker) version(r *Rule, out *rule) {
	if out.plain {
		c.rule(r, "version", "it contradicts itself: version is about scripts, and the rule about plain commands")
	}
	if out.registered == onlyUnregistered {
		c.rule(r, "version", "it contradicts itself: version is about registered scripts, and registered is false")
	}
	for _, g := range out.scripts {
		versions := c.names[string(g.glob)]
		if len(versions) == 0 || slices.ContainsFunc(versions, func(i int) bool { return c.catalog.Scripts[i].Version == r.Version }) {
			continue
		}
		have := make([]string, len(versions))
		for i, v := range versions {
			have[i] = c.catalog.Scripts[v].Version
		}
		c.rule(r, "version", "script '%s' has no version %s: there is %s", g.glob, r.Version, quoted(have))
	}
}
