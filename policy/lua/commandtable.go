package lua

import (
	"strconv"
	"strings"
	"sync"
)

// commandRow is one line of commandRows.
type commandRow struct {
	write, read, noscript, denyOOM, movable, container bool

	first, last, step int
}

var commandTable = sync.OnceValue(func() map[string]commandRow {
	t := make(map[string]commandRow, 400)
	for line := range strings.Lines(strings.TrimSpace(commandRows)) {
		f := strings.Fields(line)
		r := commandRow{
			write: strings.Contains(f[1], "w"), read: strings.Contains(f[1], "r"),
			noscript: strings.Contains(f[1], "n"), denyOOM: strings.Contains(f[1], "m"),
			movable: strings.Contains(f[1], "v"), container: strings.Contains(f[1], "c"),
		}
		r.first, _ = strconv.Atoi(f[2])
		r.last, _ = strconv.Atoi(f[3])
		r.step, _ = strconv.Atoi(f[4])
		t[f[0]] = r
	}
	return t
})

// builtinCommands is the table used when the caller has none.
func builtinCommands(name, sub string) CommandInfo {
	if sub != "" {
		name += "|" + sub
	}
	r, ok := commandTable()[name]
	return CommandInfo{Known: ok && !r.container, Write: r.write}
}

// containers are the commands whose subcommands carry the flags.
var containers = map[string]bool{
	"ACL": true, "CLIENT": true, "CLUSTER": true, "COMMAND": true, "CONFIG": true, "FUNCTION": true, "LATENCY": true,
	"MEMORY": true, "MODULE": true, "OBJECT": true, "PUBSUB": true, "SCRIPT": true, "SLOWLOG": true, "XGROUP": true,
	"XINFO": true,
}

// replicating commands write nothing, but Redis refuses them in a read-only script (CMD_MAY_REPLICATE), and their
// flags in COMMAND don't tell.
var replicating = map[string]bool{"PUBLISH": true, "SPUBLISH": true, "PFCOUNT": true}
