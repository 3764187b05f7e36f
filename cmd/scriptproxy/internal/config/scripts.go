package config

import "time"

// Scripts are the registered scripts and how script calls are treated.
type Scripts struct {
	// Directory in which every <name>/<version>.lua is registered without being
	// listed. A name with more than one version must be listed with the version
	// that is active: a new file never activates itself. Empty means none.
	Dir string `yaml:"dir"`
	// A call that takes longer than this on the node is slow: it is counted and
	// goes to the slow log.
	SlowAfter time.Duration `yaml:"slow_after"`
	// A script that runs longer than this is killed, where Redis allows it. 0
	// means never.
	Deadline time.Duration `yaml:"deadline"`
	// Calls of one script that may run or wait on the nodes at a time. 0 means
	// no bound.
	MaxConcurrent int `yaml:"max_concurrent"`
	// Calls of one script that may wait in the proxy when max_concurrent is
	// reached. One more is refused with -LIMIT.
	MaxQueue int `yaml:"max_queue"`
	// Refuses the calls of a script that had to be killed several times.
	Breaker Breaker `yaml:"breaker"`
	// A script call in the middle of a pipeline is sent with the script's body
	// when that is at most this long. It then can't fail because the node lost
	// the script, and what follows need not wait for its reply.
	EvalBelow Size `yaml:"eval_below"`
	// "strict" keeps the order of a client's pipeline even when a node lost a
	// script behind the proxy's back: what follows a call that is sent by its sha
	// waits for its reply. "fast" does not wait; a call of a lost script may then
	// run after later requests of its pipeline.
	Pipelining Pipelining `yaml:"pipelining"`
	// Scripts that clients load themselves which the proxy keeps, so that it can
	// load them again. The least recently used goes first. 0 keeps none.
	MaxCached int `yaml:"max_cached"`
	// Bytes of such scripts which the proxy keeps.
	MaxCachedBytes Size `yaml:"max_cached_bytes"`
	// Empties the script cache of a node that grew too large, and loads again
	// what is in use.
	Compact Compact `yaml:"compact"`
	// The registered scripts.
	List []Script `yaml:"list"`
}

// Breaker refuses the calls of a script version for a while after it had to be
// killed several times. It then lets one call through, to see.
type Breaker struct {
	// Kills within window that open it. 0 switches it off.
	Kills int `yaml:"kills"`
	// Time in which the kills are counted.
	Window time.Duration `yaml:"window"`
	// A call that ran for this long on the node counts like one that had to be
	// killed, whether its deadline is longer or it has none. 0 means never.
	SlowerThan time.Duration `yaml:"slower_than"`
	// Time for which calls are refused.
	OpenFor time.Duration `yaml:"open_for"`
	// "none" refuses the calls. "previous" activates the version that was active
	// before, and records it in the audit log.
	Fallback BreakerFallback `yaml:"fallback"`
}

// Compact bounds the script caches of the nodes. Redis can't unload a single
// script, so the cache is emptied and what is in use is loaded again, one node at
// a time, without a client seeing it. Clients that speak to the servers without
// the proxy see NOSCRIPT for what they loaded.
type Compact struct {
	// Scripts in a node's cache beyond which it is compacted by itself. 0 means
	// no bound.
	MaxScripts int `yaml:"max_scripts"`
	// Memory that scripts take on a node beyond which it is compacted by itself.
	// 0 means no bound.
	MaxMemory Size `yaml:"max_memory"`
	// Scripts that clients loaded themselves and called within this time are
	// loaded again. Registered versions always are, unless they are retired.
	Keep time.Duration `yaml:"keep"`
	// How often the caches are looked at, for the bounds and for metrics.
	CheckInterval time.Duration `yaml:"check_interval"`
}

// Script is one registered script. In a Config from Load or Parse the settings
// that were left out have the values of Scripts.
type Script struct {
	// Name that clients call it by: EVALSHA <name>. Letters, digits and
	// . _ : - /, up to 128 characters, and not 40 hexadecimal digits.
	Name string `yaml:"name"`
	// The version that runs. May be left out when there is only one.
	Active string `yaml:"active"`
	// The versions, in order of age. What scripts.dir has of this name is added
	// to them.
	Versions Versions `yaml:"versions"`
	// "read" and "write" say what the script does; "auto" finds out by reading
	// it.
	Class Class `yaml:"class"`
	// Free words for rules and lists.
	Tags []string `yaml:"tags"`
	// As scripts.slow_after, for this script.
	SlowAfter time.Duration `yaml:"slow_after"`
	// As scripts.deadline, for this script.
	Deadline time.Duration `yaml:"deadline"`
	// As scripts.max_concurrent, for this script.
	MaxConcurrent int `yaml:"max_concurrent"`
	// As scripts.max_queue, for this script.
	MaxQueue int `yaml:"max_queue"`
	// As scripts.breaker, for this script.
	Breaker Breaker `yaml:"breaker"`
	// Which of its calls go first, and which are refused first, where there is
	// too little for all: while a script holds the node, in the queue of
	// max_concurrent, and on a link that is filling up. A rule's priority counts
	// more.
	Priority Priority `yaml:"priority"`

	path string // where the file gives the script, for messages
}

// Versions are the versions of one script, in the order of the file; those that
// were found in scripts.dir follow, v2 before v10.
type Versions []Version

// Version is one version of a script. It is a file name, or a mapping that gives
// the file or the body, and more.
type Version struct {
	// ID is the version's name, the key of the mapping: as a script's name,
	// without a slash.
	ID string `yaml:"-"`
	// File with the body. Relative to scripts.dir when that is set, else to the
	// configuration file.
	File string `yaml:"file"`
	// The body itself, instead of a file. Its bytes are kept exactly, the last
	// newline included, because the sha depends on them.
	Body Body `yaml:"body"`
	// Whether calls by this version's own sha keep running this version. Else
	// they run the active one.
	Pinned bool `yaml:"pinned"`

	// SHA is the SHA-1 of Body in lowercase hexadecimal, as SCRIPT LOAD of these
	// bytes answers it.
	SHA string `yaml:"-"`

	path string // where the file gives the version, for messages
}

// Lookup returns the version with that id.
func (v Versions) Lookup(id string) (Version, bool) {
	for _, version := range v {
		if version.ID == id {
			return version, true
		}
	}
	return Version{}, false
}
