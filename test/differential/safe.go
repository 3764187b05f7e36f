package differential

import (
	"slices"
	"strconv"
	"strings"
)

// neverChanged are commands whose templates are chosen with care: a mistake in them could stop the server, change its settings
// for good, or wait for long.
var neverChanged = []string{
	"SHUTDOWN", "DEBUG", "MONITOR", "SYNC", "PSYNC", "BGSAVE", "SAVE", "BGREWRITEAOF", "PFSELFTEST", "REPLCONF", "MIGRATE", "REPLICAOF", "SLAVEOF",
	"FAILOVER", "CONFIG", "CLIENT", "ACL", "WAIT", "WAITAOF", "HELLO", "MODULE", "LATENCY", "SPOP",
}

// soon is the time to live in seconds below which a key could expire while a sequence runs, so that the two sides would
// differ by chance.
const soon = 10_000

// safe tells whether a command with a mistake in it means the same on both sides.
func safe(args []string) bool {
	name := strings.ToUpper(args[0])
	if slices.Contains(neverChanged, name) {
		return false
	}
	switch name {
	case "XADD":
		return !slices.Contains(args, "*") // an id made of the time of day
	case "EXPIRE", "SETEX", "HEXPIRE":
		return !anyBetween(args, 1, soon)
	case "PEXPIRE", "PSETEX", "RESTORE", "RESTORE-ASKING", "HPEXPIRE":
		return !anyBetween(args, 1, soon*1000)
	case "SET", "GETEX", "MSETEX", "HSETEX", "HGETEX":
		for i, a := range args[:len(args)-1] {
			if strings.EqualFold(a, "EX") && anyBetween(args[i+1:i+2], 1, soon) || strings.EqualFold(a, "PX") && anyBetween(args[i+1:i+2], 1, soon*1000) {
				return false
			}
		}
	case "SORT", "SORT_RO":
		// Sets have no order of their own to sort by something else.
		return !slices.ContainsFunc(args, func(a string) bool { return strings.EqualFold(a, "BY") })
	}
	return true
}

func anyBetween(args []string, low, high int) bool {
	return slices.ContainsFunc(args, func(a string) bool {
		n, err := strconv.Atoi(a)
		return err == nil && n >= low && n < high
	})
}
