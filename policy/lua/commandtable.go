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

// numkeysAt gives, for commands that say how many keys follow, the argument that says it, counted from 1 as in
// commandRow.
var numkeysAt = map[string]int{
	"SINTERCARD": 1, "ZUNION": 1, "ZINTER": 1, "ZDIFF": 1, "ZINTERCARD": 1, "LMPOP": 1, "ZMPOP": 1,
	"ZUNIONSTORE": 2, "ZINTERSTORE": 2, "ZDIFFSTORE": 2, "BLMPOP": 2, "BZMPOP": 2,
}

// keyArgs are the positions, in the arguments after the command's name, of its keys. numbers gives the literal number
// at a position, words the literal upper-case word.
func keyArgs(name string, n int, word func(i int) string) []int {
	row, ok := commandTable()[name]
	if !ok {
		return nil
	}
	var out []int
	if row.first > 0 {
		last := row.last
		if last < 0 {
			last = n + 1 + last
		}
		for i := row.first; i <= last && i <= n && row.step > 0; i += row.step {
			out = append(out, i-1)
		}
	}
	if at, ok := numkeysAt[name]; ok {
		count, err := strconv.Atoi(word(at - 1))
		if err != nil || count < 1 {
			count = 1
		}
		for i := at; i < at+count && i < n; i++ {
			out = append(out, i)
		}
	}
	switch name {
	case "XREAD", "XREADGROUP":
		for i := range n {
			if word(i) == "STREAMS" {
				for k := i + 1; k < i+1+(n-i-1)/2; k++ {
					out = append(out, k)
				}
				break
			}
		}
	case "SORT", "GEORADIUS", "GEORADIUSBYMEMBER":
		for i := 1; i+1 < n; i++ {
			if w := word(i); w == "STORE" || w == "STOREDIST" {
				out = append(out, i+1)
			}
		}
	}
	return out
}
