package policy

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Tests write policies as lines, one rule each:
//
//	name action field=value,value …
//
// and calls as "field=value …". Spaces within a value are written as _.

func parseSpec(t testing.TB, text string) Spec {
	t.Helper()
	spec := Spec{Mode: ModeEnforce, File: "rules"}
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if key, value, ok := strings.Cut(fields[0], "="); ok {
			setHeader(t, &spec, key, value)
			continue
		}
		rule := Rule{Name: fields[0], Line: i + 1}
		for _, f := range fields[1:] {
			key, value, ok := strings.Cut(f, "=")
			if !ok {
				rule.Action = must(ParseAction(f))(t)
				continue
			}
			setField(t, &rule, key, strings.ReplaceAll(value, "_", " "))
		}
		spec.Rules = append(spec.Rules, rule)
	}
	return spec
}

func setHeader(t testing.TB, spec *Spec, key, value string) {
	switch key {
	case "mode":
		spec.Mode = must(ParseMode(value))(t)
	case "default":
		spec.Default = must(ParseAction(value))(t)
	case "default-commands":
		spec.DefaultCommands = must(ParseAction(value))(t)
	default:
		t.Fatalf("unknown header %s", key)
	}
}

func setField(t testing.TB, r *Rule, key, value string) {
	t.Helper()
	m := &r.Match
	lists := map[string]*[]string{
		"users": &m.Users, "networks": &m.Networks, "listeners": &m.Listeners, "scripts": &m.Scripts,
		"functions": &m.Functions, "tags": &m.Tags, "shas": &m.SHAs, "classes": &m.Classes, "uses": &m.Uses,
		"findings": &m.Findings, "commands": &m.Commands, "hours": &m.Hours,
	}
	if list := lists[key]; list != nil {
		*list = strings.Split(value, ",")
		return
	}
	switch key {
	case "registered":
		b := value == "true"
		m.Registered = &b
	case "keys":
		m.MinKeys, m.MaxKeys = bounds[int](t, value)
	case "bytes":
		m.MinArgBytes, m.MaxArgBytes = bounds[int64](t, value)
	case "zone":
		m.Zone = value
	case "message":
		r.Message = value
	case "route":
		r.Route = must(ParseRoute(value))(t)
	case "deadline":
		r.Deadline = must(time.ParseDuration(value))(t)
	case "concurrent":
		r.MaxConcurrent = must(strconv.Atoi(value))(t)
	case "rate":
		for _, one := range strings.Split(value, ",") {
			parts := strings.Split(one, ":")
			rate := Rate{Per: must(ParsePer(parts[0]))(t), Limit: must(ParseLimit(parts[1]))(t)}
			if len(parts) > 2 {
				rate.Burst = must(strconv.Atoi(parts[2]))(t)
			}
			r.Rates = append(r.Rates, rate)
		}
	case "priority":
		p := must(ParsePriority(value))(t)
		r.Priority = &p
	case "version":
		r.Version = value
	default:
		t.Fatalf("unknown field %s", key)
	}
}

// bounds reads "2-5", "2-" and "-5".
func bounds[T int | int64](t testing.TB, text string) (lo, hi *T) {
	first, last, _ := strings.Cut(text, "-")
	read := func(text string) *T {
		if text == "" {
			return nil
		}
		n := T(must(strconv.Atoi(text))(t))
		return &n
	}
	return read(first), read(last)
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// parseQuery reads a call. Scripts are looked up in the catalog; "script=?" is an unregistered one.
func parseQuery(t testing.TB, text string, catalog *Catalog) Query {
	t.Helper()
	q := Query{User: "app", Addr: netip.MustParseAddr("10.0.0.1"), Keys: 0, ArgBytes: 0, Time: time.Date(2024, 5, 15, 12, 0, 0, 0, time.UTC)}
	class := ClassWrite
	q.Class = &class
	for f := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(f, "=")
		value = strings.ReplaceAll(value, "_", " ")
		switch key {
		case "user":
			q.User = value
		case "addr":
			q.Unix = value == "unix"
			q.Addr = netip.Addr{}
			if !q.Unix && value != "" {
				q.Addr = must(netip.ParseAddr(value))(t)
			}
		case "listener":
			q.Listener = value
		case "script":
			name, version, _ := strings.Cut(value, "@")
			for _, s := range catalog.Scripts {
				if s.Name == name && s.Version == version {
					q.Script, q.Registered = s, true
				}
			}
			if !q.Registered && value != "?" {
				t.Fatalf("the catalog has no script %s", value)
			}
		case "sha":
			q.Script.SHA = value
		case "function":
			q.Script.Function = value
		case "uses":
			q.Script.Commands = strings.Split(value, ",")
		case "finding":
			q.Script.Findings = append(q.Script.Findings, Finding{value, Warning})
		case "command":
			q.Command = value
		case "class":
			class = must(ParseClass(value))(t)
		case "keys":
			q.Keys = must(strconv.Atoi(value))(t)
		case "bytes":
			q.ArgBytes = int64(must(strconv.Atoi(value))(t))
		case "time":
			q.Time = must(time.Parse(time.RFC3339, value))(t)
		default:
			t.Fatalf("unknown field %s", key)
		}
	}
	return q
}

// requestFor turns a query into what the proxy would ask.
func requestFor(s *Set, q Query) *Request {
	addr := q.Addr
	if q.Unix {
		addr = netip.Addr{}
	}
	listener := -1
	for i, name := range s.catalog.Listeners {
		if name == q.Listener {
			listener = i
		}
	}
	r := &Request{
		Session: s.Session(q.User, addr, listener), User: q.User, Addr: addr, Listener: listener,
		Script: Unregistered, Class: *q.Class, Keys: q.Keys, ArgBytes: q.ArgBytes, Now: s.Moment(q.Time),
	}
	switch {
	case q.Command != "":
		r.Command = s.Command(q.Command, "")
	case q.Registered:
		for i, c := range s.catalog.Scripts {
			if c.Name == q.Script.Name && c.Version == q.Script.Version {
				r.Script = ScriptRef(i)
			}
		}
	default:
		r.Unregistered = s.Unregistered(q.Script)
	}
	return r
}

const (
	shaTransferV1 = "1111111111111111111111111111111111111111"
	shaTransferV2 = "2222222222222222222222222222222222222222"
	shaReport     = "3333333333333333333333333333333333333333"
	shaWipe       = "4444444444444444444444444444444444444444"
	shaStranger   = "9999999999999999999999999999999999999999"
)

// testCatalog is a small shop's.
func testCatalog() Catalog {
	return Catalog{
		Scripts: []Script{
			{Name: "transfer", Version: "v1", SHA: shaTransferV1, Tags: []string{"money"}, Commands: []string{"GET", "SET"}},
			{Name: "transfer", Version: "v2", SHA: shaTransferV2, Tags: []string{"money"}, Commands: []string{"GET", "SET", "TIME"},
				Findings: []Finding{{"nondeterministic", Warning}}},
			{Name: "report/daily", Version: "v1", SHA: shaReport, Tags: []string{"reports", "slow"}, Commands: []string{"KEYS", "GET"},
				Findings: []Finding{{"slow-command", Error}, {"unbounded-read", Note}}},
			{Name: "wipe", Version: "v1", SHA: shaWipe, Commands: []string{"FLUSHALL"}, Findings: []Finding{{"slow-command", Error}}},
			{Name: "library", Version: "v1", Function: "lib.pay", Tags: []string{"money"}, Commands: []string{"INCRBY"}},
		},
		Commands: []Command{
			{Name: "GET", Categories: []string{"read", "string", "fast"}},
			{Name: "SET", Categories: []string{"write", "string"}},
			{Name: "INCRBY", Categories: []string{"write", "string"}},
			{Name: "KEYS", Categories: []string{"read", "keyspace", "dangerous"}},
			{Name: "TIME", Categories: []string{"fast"}},
			{Name: "FLUSHALL", Categories: []string{"write", "keyspace", "dangerous"}},
			{Name: "CONFIG", Categories: []string{"slow"}},
			{Name: "CONFIG|GET", Categories: []string{"admin", "dangerous"}},
			{Name: "CONFIG|SET", Categories: []string{"admin", "dangerous"}},
			{Name: "EVAL", Categories: []string{"scripting"}},
			{Name: "PING"},
		},
		Listeners: []string{"front", "ops"},
		Findings:  []Finding{{"slow-command", Error}, {"nondeterministic", Warning}, {"unbounded-read", Note}},
	}
}

func compile(t testing.TB, text string) *Set {
	t.Helper()
	return must(Compile(parseSpec(t, text), testCatalog()))(t)
}
