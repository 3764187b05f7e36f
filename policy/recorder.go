package policy

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Call is one call as a Recorder sees it. Exactly one of Command, Script, Function and SHA says what was
// called; of several, the first in this order counts.
type Call struct {
	User     string
	Addr     netip.Addr // the zero Addr is a unix socket's
	Command  string     // a plain command, lower case: "config|set"
	Script   string     // the name of a registered script
	Function string     // the name of a function that is not registered
	SHA      string     // of a script that is not registered
	Class    Class
	Keys     int
	ArgBytes int64
}

// RecorderOptions says how exactly a Recorder records. The zero value is usable.
type RecorderOptions struct {
	// V4Bits and V6Bits are the lengths of the networks that clients' addresses are recorded as; zero is
	// 24 and 64, because clients in containers change addresses within their network. Negative records no
	// networks at all, also for unix sockets.
	V4Bits, V6Bits int
	// ExactSizes records the largest argument size as it was; else it is rounded up to a power of two.
	ExactSizes bool
	// Container reports whether a command, in lower case, has subcommands: allowing such a command without
	// one must not allow all of them. Nil is never.
	Container func(command string) bool
}

// Recorder collects what is called, and makes a policy of it that allows just that. All methods may be
// called by any number of goroutines.
type Recorder struct {
	options RecorderOptions
	seed    maphash.Seed
	slots   atomic.Pointer[[]atomic.Pointer[recorded]]
	dropped atomic.Uint64

	mu    sync.Mutex // held to add, never to look
	count int
	odd   map[string]bool // calls that no rule can name
}

// Bounds of what a Recorder keeps; they hold against clients that send ever new scripts. 100,000 entries
// cost about 30 MB.
const (
	maxRecorded         = 100_000
	maxRecordedNetworks = 4096 // of one user calling one thing
	maxOddCalls         = 100
)

type recordedKey struct {
	kind          recordedKind
	user, subject string
}

type recordedKind uint8

const (
	recordedCommand recordedKind = iota
	recordedScript
	recordedFunction
	recordedSHA
)

// recorded is what was seen of one user calling one thing. It only ever grows.
type recorded struct {
	key      recordedKey
	minKeys  atomic.Int64
	maxKeys  atomic.Int64
	maxArgs  atomic.Int64
	classes  atomic.Uint32
	networks atomic.Pointer[[]netip.Prefix] // ascending; the zero Prefix is unix
}

// NewRecorder returns an empty Recorder.
func NewRecorder(options RecorderOptions) *Recorder {
	if options.V4Bits == 0 || options.V4Bits > 32 {
		options.V4Bits = 24
	}
	if options.V6Bits == 0 || options.V6Bits > 128 {
		options.V6Bits = 64
	}
	r := &Recorder{options: options, seed: maphash.MakeSeed(), odd: make(map[string]bool)}
	slots := make([]atomic.Pointer[recorded], 1024)
	r.slots.Store(&slots)
	return r
}

// Seen reports whether a call like this has been recorded, so that Record would add nothing. It is for the
// hot path: it takes no lock and allocates nothing.
func (r *Recorder) Seen(c *Call) bool {
	e := r.find(keyOf(c))
	return e != nil && e.holds(c, r.network(c.Addr))
}

// Record takes the call in. The Call's texts are copied. It takes a lock: call it when Seen says no, and
// not on an event loop when that can be helped.
func (r *Recorder) Record(c *Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := keyOf(c)
	e := r.find(key)
	if e == nil {
		if e = r.add(key); e == nil {
			return
		}
		e.minKeys.Store(int64(c.Keys))
	}
	e.minKeys.Store(min(e.minKeys.Load(), int64(c.Keys)))
	e.maxKeys.Store(max(e.maxKeys.Load(), int64(c.Keys)))
	e.maxArgs.Store(max(e.maxArgs.Load(), c.ArgBytes))
	e.classes.Store(e.classes.Load() | 1<<c.Class)
	network := r.network(c.Addr)
	known := *e.networks.Load()
	i, found := slices.BinarySearchFunc(known, network, comparePrefixes)
	if found {
		return
	}
	if len(known) >= maxRecordedNetworks {
		r.dropped.Add(1)
		return
	}
	grown := slices.Insert(slices.Clone(known), i, network)
	e.networks.Store(&grown)
}

// Len returns how many pairs of a user and something called have been recorded.
func (r *Recorder) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

func keyOf(c *Call) recordedKey {
	switch {
	case c.Command != "":
		return recordedKey{recordedCommand, c.User, c.Command}
	case c.Script != "":
		return recordedKey{recordedScript, c.User, c.Script}
	case c.Function != "":
		return recordedKey{recordedFunction, c.User, c.Function}
	}
	return recordedKey{recordedSHA, c.User, c.SHA}
}

// network returns what an address is recorded as: the zero Prefix for unix sockets, and where no networks
// are recorded.
func (r *Recorder) network(addr netip.Addr) netip.Prefix {
	addr = plainAddr(addr)
	bits := r.options.V6Bits
	if addr.Is4() {
		bits = r.options.V4Bits
	}
	if !addr.IsValid() || bits < 0 {
		return netip.Prefix{}
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}

func (e *recorded) holds(c *Call, network netip.Prefix) bool {
	if e.classes.Load()>>c.Class&1 == 0 || c.ArgBytes > e.maxArgs.Load() ||
		int64(c.Keys) < e.minKeys.Load() || int64(c.Keys) > e.maxKeys.Load() {
		return false
	}
	_, found := slices.BinarySearchFunc(*e.networks.Load(), network, comparePrefixes)
	return found
}

func comparePrefixes(a, b netip.Prefix) int { return a.Compare(b) }

// find looks the key up in a table of open addressing, which is never more than half full.
func (r *Recorder) find(key recordedKey) *recorded {
	slots := *r.slots.Load()
	for i := r.hash(key); ; i++ {
		e := slots[i%uint64(len(slots))].Load()
		if e == nil || e.key == key {
			return e
		}
	}
}

func (r *Recorder) hash(key recordedKey) uint64 {
	return maphash.String(r.seed, key.subject)*31 + maphash.String(r.seed, key.user) + uint64(key.kind)
}

// add makes an entry, or returns nil where none may be made. The lock must be held.
func (r *Recorder) add(key recordedKey) *recorded {
	if !nameable(key) {
		if len(r.odd) < maxOddCalls {
			r.odd[fmt.Sprintf("%s %.100q of user %.100q", kindNames[key.kind], key.subject, key.user)] = true
		}
		return nil
	}
	if r.count >= maxRecorded {
		r.dropped.Add(1)
		return nil
	}
	if slots := *r.slots.Load(); (r.count+1)*2 > len(slots) {
		grown := make([]atomic.Pointer[recorded], 2*len(slots))
		for i := range slots {
			if e := slots[i].Load(); e != nil {
				r.insert(grown, e)
			}
		}
		r.slots.Store(&grown)
	}
	key.user, key.subject = strings.Clone(key.user), strings.Clone(key.subject)
	e := &recorded{key: key}
	e.networks.Store(&[]netip.Prefix{})
	r.insert(*r.slots.Load(), e)
	r.count++
	return e
}

func (r *Recorder) insert(slots []atomic.Pointer[recorded], e *recorded) {
	i := r.hash(e.key) % uint64(len(slots))
	for slots[i].Load() != nil {
		i = (i + 1) % uint64(len(slots))
	}
	slots[i].Store(e)
}

// nameable reports whether a rule can name just this user and subject: patterns have no escapes.
func nameable(key recordedKey) bool {
	return key.user != "" && key.subject != "" &&
		glob(key.user).literal() && glob(key.subject).literal() &&
		!strings.ContainsFunc(key.user+key.subject, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\uFFFD' }) &&
		!(key.kind == recordedCommand && strings.ContainsAny(key.subject, " @")) &&
		!(key.kind == recordedScript && strings.Contains(key.subject, "@")) &&
		!strings.Contains(key.subject, "'")
}
