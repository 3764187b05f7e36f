package command

import "strings"

// Flags are a command's flags as COMMAND reports them, one bit each.
type Flags uint64

// The flags of Redis 6.2 to 8 and Valkey. Flags which a newer server reports and which are not listed here are
// dropped when a table is read.
const (
	Write Flags = 1 << iota
	ReadOnly
	DenyOOM
	Module
	Admin
	PubSub
	NoScript
	Blocking
	Loading
	Stale
	SkipMonitor
	SkipSlowlog
	Asking
	Fast
	NoAuth
	MayReplicate
	NoMandatoryKeys
	NoMulti
	MovableKeys
	AllowBusy
	NoAsyncLoading
	Protected
	Sentinel
	OnlySentinel
	Random        // up to 6.2
	SortForScript // up to 6.2
	TouchesArbitraryKeys
	AllDBs // Valkey 9
	flagsEnd
)

var flagNames = [...]string{
	"write", "readonly", "denyoom", "module", "admin", "pubsub", "noscript", "blocking", "loading", "stale",
	"skip_monitor", "skip_slowlog", "asking", "fast", "no_auth", "may_replicate", "no_mandatory_keys", "no_multi",
	"movablekeys", "allow_busy", "no_async_loading", "protected", "sentinel", "only_sentinel", "random",
	"sort_for_script", "touches_arbitrary_keys", "all_dbs",
}

var flagByName = func() map[string]Flags {
	m := make(map[string]Flags, len(flagNames)+1)
	for i, name := range flagNames {
		m[name] = 1 << i
	}
	m["skip_commandlog"] = SkipSlowlog // Valkey 8.1 and later
	return m
}()

// Has reports whether every flag of want is set.
func (f Flags) Has(want Flags) bool { return f&want == want }

// String gives the flags with COMMAND's names, joined by commas, in a fixed order.
func (f Flags) String() string {
	var names []string
	for i, name := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// parseFlag returns the bit of COMMAND's flag name, or 0 for one that this package does not know.
func parseFlag(name string) Flags { return flagByName[name] }
