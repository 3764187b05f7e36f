package main

import (
	"fmt"
	"strings"
)

// The data that every command works on: keySpace keys, all present, with values of valueSize bytes.
const (
	keySpace  = 10000
	valueSize = 16
)

// value is what every string key holds and SET writes.
var value = strings.Repeat("v", valueSize)

// The measured script, under its name in the registry. It reads, decides and writes, as scripts do that guard a limit, and
// is small: what is measured is the way to it, not the script.
const (
	scriptName = "deposit"
	scriptBody = `-- KEYS[1] account, ARGV[1] amount, ARGV[2] highest balance allowed
local balance = tonumber(redis.call('GET', KEYS[1]) or '0')
if balance + tonumber(ARGV[1]) > tonumber(ARGV[2]) then
  return 0
end
return redis.call('INCRBY', KEYS[1], ARGV[1])
`
)

// command is something to measure.
type command struct {
	name string
	stat string // its name in the server's commandstats
	// args are the words for redis-benchmark, which replaces __rand_int__ by 12 random digits.
	args func(sha string) []string
	// right says whether a reply is what the command must answer.
	right func(reply any) bool
	// byName marks EVALSHA with the script's name, which only scriptproxy understands.
	byName bool
}

var (
	get = command{
		name: "GET", stat: "get",
		args:  func(string) []string { return []string{"GET", "key:__rand_int__"} },
		right: func(reply any) bool { return reply == value },
	}
	set = command{
		name: "SET", stat: "set",
		args:  func(string) []string { return []string{"SET", "key:__rand_int__", value} },
		right: func(reply any) bool { return reply == "OK" },
	}
	evalsha = command{
		name: "EVALSHA", stat: "evalsha",
		args: func(sha string) []string {
			return []string{"EVALSHA", sha, "1", "account:__rand_int__", "1", "1000000000"}
		},
		right: func(reply any) bool { n, ok := reply.(int64); return ok && n > 0 },
	}
	evalshaByName = command{
		name: "EVALSHA by name", stat: "evalsha",
		args:   func(string) []string { return evalsha.args(scriptName) },
		right:  evalsha.right,
		byName: true,
	}
)

// group is one comparison: the same command, clients and pipeline through every target.
type group struct {
	command  command
	clients  int
	pipeline int
}

func (g group) title() string {
	clients := "clients"
	if g.clients == 1 {
		clients = "client"
	}
	return fmt.Sprintf("%s, %d %s, pipeline %d", g.command.name, g.clients, clients, g.pipeline)
}

// load is how a comparison's clients behave.
type load struct{ clients, pipeline int }

var loads = []load{{50, 1}, {50, 16}, {1, 1}, {1000, 1}}

// allGroups returns every comparison in the order in which they run and are reported. EVALSHA by name has none of its
// own: it is another row beside EVALSHA's.
func allGroups() []group {
	var groups []group
	for _, l := range loads {
		for _, c := range []command{get, set, evalsha} {
			groups = append(groups, group{c, l.clients, l.pipeline})
		}
	}
	return groups
}

func groupTitles() []string {
	titles := []string{}
	for _, g := range allGroups() {
		titles = append(titles, g.title())
	}
	return append(titles, "idle")
}

// chooseGroups returns the comparisons whose title contains one of only's comma-separated parts, all without any. As titles contain
// commas themselves, a part may be continued: parts are split at commas that no blank follows.
func chooseGroups(only string) (groups []group, idle bool) {
	if only == "" {
		return allGroups(), true
	}
	parts := splitParts(only)
	for _, g := range allGroups() {
		for _, part := range parts {
			if strings.Contains(g.title(), part) {
				groups = append(groups, g)
				break
			}
		}
	}
	for _, part := range parts {
		idle = idle || part == "idle"
	}
	return groups, idle
}

func splitParts(only string) []string {
	var parts []string
	for _, part := range strings.Split(strings.ReplaceAll(only, ", ", "\x00"), ",") {
		if part = strings.TrimSpace(strings.ReplaceAll(part, "\x00", ", ")); part != "" {
			parts = append(parts, part)
		}
	}
	return parts
}
