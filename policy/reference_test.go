package policy

import (
	"math/rand/v2"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"
)

// reference decides a query by reading the Spec from first to last, condition by condition, in the plainest
// way there is. It shares no code with the compiled policy. It says: the action, the deciding or reported
// rule, and which rule sets each attribute.
func reference(spec *Spec, catalog *Catalog, q *Query) (Action, int, map[string]int) {
	if spec.Mode == ModeOff {
		return Allow, NoRule, nil
	}
	action, decided := spec.Default, NoRule
	if q.Command != "" {
		action = spec.DefaultCommands
	}
	if action == Continue {
		action = Allow
	}
	reported := NoRule
	attributes := map[string]int{}
	for i := range spec.Rules {
		r := &spec.Rules[i]
		if !referenceMatches(&r.Match, catalog, q) {
			continue
		}
		note := func(name string, set bool) {
			if _, taken := attributes[name]; set && !taken {
				attributes[name] = i
			}
		}
		note("route", r.Route != RouteAny)
		note("deadline", r.Deadline != 0)
		note("max_concurrent", r.MaxConcurrent != 0)
		for _, rate := range r.Rates {
			note("rate per "+rate.Per.String(), true)
		}
		note("priority", r.Priority != nil)
		note("version", r.Version != "")
		if r.Action == Audit && reported == NoRule {
			reported = i
		}
		if r.Action == Allow || r.Action == Deny {
			action, decided = r.Action, i
			break
		}
	}
	switch {
	case action == Deny && spec.Mode == ModeAudit:
		return Audit, decided, nil
	case action == Deny:
		return Deny, decided, nil
	case reported != NoRule:
		return Audit, reported, attributes
	}
	return Allow, decided, attributes
}

// wildcard matches with the standard library; the names in these tests hold nothing special to it.
func wildcard(pattern, text string) bool {
	text, pattern = strings.ReplaceAll(text, "/", "\x01"), strings.ReplaceAll(pattern, "/", "\x01")
	ok, err := path.Match(pattern, text)
	return ok && err == nil
}

func anyOf(list []string, holds func(string) bool) bool {
	return len(list) == 0 || slices.ContainsFunc(list, holds)
}

func referenceMatches(m *Match, catalog *Catalog, q *Query) bool {
	categories := func(name string) []string {
		for _, try := range []string{name, strings.SplitN(name, "|", 2)[0]} {
			for _, c := range catalog.Commands {
				if strings.EqualFold(c.Name, try) {
					return c.Categories
				}
			}
		}
		return nil
	}
	command := func(name string) func(string) bool {
		name = strings.ToLower(name)
		return func(pattern string) bool {
			pattern = strings.ToLower(pattern)
			if category, ok := strings.CutPrefix(pattern, "@"); ok {
				return category == "all" || slices.Contains(categories(name), category)
			}
			parent, _, _ := strings.Cut(name, "|")
			if bare, ok := strings.CutSuffix(pattern, "|"); ok {
				return wildcard(bare, name)
			}
			return wildcard(pattern, name) || !strings.Contains(pattern, "|") && wildcard(pattern, parent)
		}
	}
	if (len(m.Commands) > 0) != (q.Command != "") || q.Command != "" && !anyOf(m.Commands, command(q.Command)) {
		return false
	}
	if q.Command == "" && !referenceScript(m, q, command) {
		return false
	}
	local := q.Time.In(time.UTC)
	if m.Zone != "" {
		local = q.Time.In(randomZones[m.Zone])
	}
	return anyOf(m.Users, func(p string) bool { return wildcard(p, q.User) }) &&
		anyOf(m.Networks, func(n string) bool {
			if q.Unix || n == "unix" {
				return q.Unix && n == "unix"
			}
			if !strings.Contains(n, "/") {
				return netip.MustParseAddr(n) == q.Addr.Unmap()
			}
			return netip.MustParsePrefix(n).Contains(q.Addr.Unmap())
		}) &&
		anyOf(m.Listeners, func(l string) bool { return l == q.Listener }) &&
		anyOf(m.Classes, func(c string) bool { return c == q.Class.String() }) &&
		(m.MinKeys == nil || q.Keys >= *m.MinKeys) && (m.MaxKeys == nil || q.Keys <= *m.MaxKeys) &&
		(m.MinArgBytes == nil || q.ArgBytes >= *m.MinArgBytes) && (m.MaxArgBytes == nil || q.ArgBytes <= *m.MaxArgBytes) &&
		anyOf(m.Hours, func(h string) bool { return referenceHours(h, local) })
}

func referenceScript(m *Match, q *Query, command func(string) func(string) bool) bool {
	s := &q.Script
	if m.Registered != nil && *m.Registered != q.Registered || (len(m.Scripts) > 0 || len(m.Tags) > 0) && !q.Registered {
		return false
	}
	return anyOf(m.Scripts, func(p string) bool {
		if strings.Contains(p, "@") {
			return wildcard(p, s.Name+"@"+s.Version)
		}
		return wildcard(p, s.Name)
	}) &&
		anyOf(m.Functions, func(p string) bool { return s.Function != "" && wildcard(p, s.Function) }) &&
		anyOf(m.Tags, func(t string) bool { return slices.Contains(s.Tags, t) }) &&
		anyOf(m.SHAs, func(sha string) bool { return strings.EqualFold(sha, s.SHA) }) &&
		anyOf(m.Uses, func(p string) bool {
			return slices.ContainsFunc(s.Commands, func(c string) bool { return command(c)(p) })
		}) &&
		anyOf(m.Findings, func(f string) bool {
			return slices.ContainsFunc(s.Findings, func(have Finding) bool {
				switch f {
				case "error":
					return have.Level == Error
				case "warning":
					return have.Level != Note
				case "note":
					return true
				}
				return have.ID == f
			})
		})
}

// referenceHours knows only the forms "HH:MM-HH:MM" and "Day HH:MM-HH:MM", which randomSpec writes.
func referenceHours(window string, local time.Time) bool {
	day := ""
	if fields := strings.Fields(window); len(fields) == 2 {
		day, window = fields[0], fields[1]
	}
	from, to, now := window[:5], window[6:], local.Format("15:04")
	on := func(t time.Time) bool { return day == "" || t.Format("Mon") == day }
	if from < to {
		return on(local) && from <= now && now < to
	}
	return on(local) && from <= now || on(local.AddDate(0, 0, -1)) && now < to
}

// Values that random policies and calls are made of; few, so that they meet.
var (
	randomUsers    = []string{"app", "batch", "ops", "app-1"}
	randomAddrs    = []string{"10.0.0.1", "10.1.0.1", "10.1.2.3", "192.0.2.7", "2001:db8::1", "::1", "0.0.0.0", "255.255.255.255"}
	randomNetworks = []string{"10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "192.0.2.7", "::/0", "2001:db8::/32", "0.0.0.0/0", "unix", "255.255.255.255"}
	randomCommands = []string{"get", "set", "keys", "flushall", "config", "config|get", "config|set", "ping", "json.del", "time"}
	randomTimes    = []string{"00:00", "06:30", "12:00", "18:45", "23:59"}
	randomZones    = map[string]*time.Location{"Asia/Kolkata": zone("Asia/Kolkata"), "America/New_York": zone("America/New_York")}
)

func zone(name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return z
}

func pick(r *rand.Rand, list ...string) string { return list[r.IntN(len(list))] }

func some(r *rand.Rand, chance float64, list ...string) []string {
	var chosen []string
	for r.Float64() < chance {
		chosen = append(chosen, pick(r, list...))
		chance /= 2
	}
	return chosen
}

func randomBounds[T int | int64](r *rand.Rand, top int) (lo, hi *T) {
	a, b := T(r.IntN(top)), T(r.IntN(top))
	if a > b {
		a, b = b, a
	}
	if r.IntN(6) == 0 {
		lo = &a
	}
	if r.IntN(6) == 0 {
		hi = &b
	}
	return lo, hi
}

func randomRule(r *rand.Rand, name string) Rule {
	rule := Rule{Name: name}
	m := &rule.Match
	m.Users = some(r, .4, append(randomUsers, "app*", "?ps", "*")...)
	m.Networks = some(r, .3, randomNetworks...)
	m.Listeners = some(r, .15, "front", "ops")
	m.Classes = some(r, .2, "read", "write", "admin")
	m.MinKeys, m.MaxKeys = randomBounds[int](r, 8)
	m.MinArgBytes, m.MaxArgBytes = randomBounds[int64](r, 5000)
	if r.IntN(6) == 0 {
		for range 1 + r.IntN(2) {
			window := pick(r, randomTimes...) + "-" + pick(r, randomTimes...)
			m.Hours = append(m.Hours, pick(r, "", "Mon ", "Sat ", "Sun ")+window)
		}
		m.Zone = pick(r, "", "Asia/Kolkata", "America/New_York")
	}
	if r.IntN(3) == 0 {
		m.Commands = append(some(r, .6, append(randomCommands, "*", "@dangerous", "@all", "config|*", "config|", "f*")...), pick(r, randomCommands...))
	} else {
		m.Scripts = some(r, .3, "transfer", "transfer@v1", "report/*", "*", "wip?", "*@v1", "nosuch")
		m.Functions = some(r, .1, "lib.pay", "lib*")
		m.Tags = some(r, .2, "money", "slow", "reports", "none")
		m.SHAs = some(r, .15, shaTransferV1, shaWipe, shaStranger)
		m.Uses = some(r, .2, append(randomCommands, "@dangerous", "config|*", "f*")...)
		m.Findings = some(r, .2, "error", "warning", "note", "slow-command", "unbounded-read")
		if r.IntN(4) == 0 {
			registered := r.IntN(2) == 0
			m.Registered = &registered
		}
	}
	randomEffect(r, &rule)
	return rule
}

func randomEffect(r *rand.Rand, rule *Rule) {
	if rule.Action = Action(r.IntN(4)); rule.Action >= Deny {
		return
	}
	if r.IntN(2) == 0 {
		rule.Deadline = time.Duration(1+r.IntN(100)) * time.Millisecond
	}
	if r.IntN(3) == 0 {
		rule.Route = Route(1 + r.IntN(2))
	}
	if r.IntN(3) == 0 {
		rule.MaxConcurrent = 1 + r.IntN(10)
	}
	for per := range Per(2) {
		if r.IntN(3) == 0 {
			rule.Rates = append(rule.Rates, Rate{Per: per, Limit: 1 + float64(r.IntN(1000))})
		}
	}
	if r.IntN(3) == 0 {
		p := Priority(r.IntN(3) - 1)
		rule.Priority = &p
	}
	if r.IntN(4) == 0 {
		rule.Version = "v1"
	}
}

func randomQuery(r *rand.Rand, catalog *Catalog) Query {
	class := Class(r.IntN(3))
	q := Query{User: pick(r, randomUsers...), Class: &class, Keys: r.IntN(9), ArgBytes: int64(r.IntN(5200))}
	if q.Unix = r.IntN(6) == 0; !q.Unix {
		q.Addr = netip.MustParseAddr(pick(r, randomAddrs...))
	}
	q.Listener = pick(r, "front", "ops", "nosuch")
	q.Time = time.Date(2024, 1+time.Month(r.IntN(12)), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), 0, time.UTC)
	switch r.IntN(4) {
	case 0:
		q.Command = pick(r, randomCommands...)
	case 1:
		q.Script.SHA = pick(r, shaStranger, shaWipe, "")
		q.Script.Commands = some(r, .6, randomCommands...)
		q.Script.Findings = []Finding{catalog.Findings[r.IntN(len(catalog.Findings))]}
		q.Script.Function = pick(r, "", "", "lib.pay", "lib.other")
	default:
		q.Script, q.Registered = catalog.Scripts[r.IntN(len(catalog.Scripts))], true
	}
	return q
}
