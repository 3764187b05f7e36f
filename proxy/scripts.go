//go:build linux

package proxy

import (
	"crypto/sha1" // Redis names scripts by their SHA-1 (eval.c, sha1hex)
	"encoding/hex"
	"hash/maphash"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
)

// ScriptClass says whether a script may write.
type ScriptClass uint32

// Script classes. What is not known to only read writes.
const (
	ClassWrite ScriptClass = iota
	ClassRead
)

// Script is one body that can run: a version of a registered script, or what
// a client sent. It is shared by all loops and by successive generations, so
// that what is known of it stays known.
type Script struct {
	// Name and Version are empty for a script that is not registered.
	Name, Version string
	SHA           string
	Body          []byte

	slowAfter atomic.Int64
	class     atomic.Uint32
	metric    metrics.ScriptID
	loaded    []atomic.Uint32 // the node epochs in which it was loaded
	// quotesNoScript and quotesBusy are true where a NOSCRIPT or a BUSY may be
	// the script's own; see canForge.
	quotesNoScript, quotesBusy bool
	// proven tells of a client's script that a server has compiled it.
	proven atomic.Bool
	used   atomic.Int64
	usage
	about
	protection
}

// NewScript describes a body. nodes is how many nodes there are.
func NewScript(name, version string, body []byte, class ScriptClass, metric metrics.ScriptID, nodes int) *Script {
	sum := sha1.Sum(body)
	s := &Script{
		Name: name, Version: version, Body: body, metric: metric,
		SHA:            hex.EncodeToString(sum[:]),
		loaded:         make([]atomic.Uint32, nodes),
		usage:          usage{on: make([]atomic.Uint32, nodes)},
		quotesNoScript: canForge(body, missingScript),
		quotesBusy:     canForge(body, busyServer),
	}
	s.class.Store(uint32(class))
	return s
}

// Class is whether the script may write, as far as is known now.
func (s *Script) Class() ScriptClass { return ScriptClass(s.class.Load()) }

// SetClass is for the analysis, and for a replica's refusal.
func (s *Script) SetClass(c ScriptClass) { s.class.Store(uint32(c)) }

// SetSlowAfter says when a call goes to the slow log; 0 takes the default.
func (s *Script) SetSlowAfter(d time.Duration) { s.slowAfter.Store(int64(d)) }

// LoadedOn reports that the node holds the script in this epoch.
func (s *Script) LoadedOn(node int, epoch uint32) bool {
	return s.loaded[node].Load() == epoch
}

// SetLoaded says that the node holds the script in this epoch.
func (s *Script) SetLoaded(node int, epoch uint32) { s.loaded[node].Store(epoch) }

// Label is the script's name for people: its registered name, or its sha.
func (s *Script) Label() string {
	if s.Name != "" {
		return s.Name
	}
	return s.SHA
}

// Entry is what a name or a sha leads to.
type Entry struct {
	// Script runs; nil for one that is retired.
	Script *Script
	// Canary runs instead for the share of calls that Picks says.
	Canary *Script
	Picks  func(sticky []byte) bool
	// ByClient makes Picks go by the client instead of by the first key.
	ByClient bool
	// Refusal answers calls of a retired version: a whole RESP error.
	Refusal string
}

// ScriptTable finds registered scripts. It is immutable.
type ScriptTable struct {
	byName map[string]*Entry // "name" is the active version, "name@version" that one
	bySHA  map[string]*Entry // lowercase sha → what runs for it
	all    []*Script
	fns    map[string]*Function
}

// NewScriptTable makes a table: names maps "name" and "name@version", shas the
// lowercase sha, to what runs; all lists each registered version once.
func NewScriptTable(names, shas map[string]*Entry, all []*Script) *ScriptTable {
	return &ScriptTable{byName: names, bySHA: shas, all: all}
}

// All lists the registered versions.
func (t *ScriptTable) All() []*Script { return t.all }

// Find resolves the first argument of EVALSHA. isSHA tells what form it had.
func (t *ScriptTable) Find(arg []byte) (e *Entry, isSHA bool) {
	if len(arg) != 40 {
		return t.byName[string(arg)], false
	}
	var sha [40]byte
	if !lowerHex(&sha, arg) {
		return t.byName[string(arg)], false
	}
	return t.bySHA[string(sha[:])], true
}

// BySHA is what a sha in lower case leads to, or nil.
func (t *ScriptTable) BySHA(sha string) *Entry { return t.bySHA[sha] }

func lowerHex(dst *[40]byte, arg []byte) bool {
	for i, c := range arg {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f':
		case c >= 'A' && c <= 'F':
			c += 'a' - 'A'
		default:
			return false
		}
		dst[i] = c
	}
	return true
}

// knownScripts are the bodies that the clients of one backend sent. All loops
// share it; each keeps what it looked up.
type knownScripts struct {
	mu       sync.Mutex
	bySHA    map[string]*Script
	bytes    int64
	flushes  atomic.Uint64
	maxCount int
	maxBytes int64
	nodes    int
	loops    int
	// analyse classifies a new body; it is called without the lock, and may
	// take its time on another goroutine.
	analyse func(*Script)
	// maxConcurrent and maxQueue bound the calls of each.
	maxConcurrent, maxQueue int
}

func newKnownScripts(maxCount int, maxBytes int64, nodes, loops int, analyse func(*Script)) *knownScripts {
	return &knownScripts{bySHA: make(map[string]*Script), maxCount: maxCount, maxBytes: maxBytes, nodes: nodes, loops: loops, analyse: analyse}
}

func (k *knownScripts) find(sha string) *Script {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bySHA[sha]
}

// add remembers a copy of a body, forgetting those unused for the longest
// when there are too many.
func (k *knownScripts) add(body []byte, now int64) *Script {
	s := NewScript("", "", append([]byte(nil), body...), ClassWrite, 0, k.nodes)
	s.used.Store(now)
	s.calls = make([]atomic.Uint64, k.loops)
	k.mu.Lock()
	if old := k.bySHA[s.SHA]; old != nil {
		k.mu.Unlock()
		return old
	}
	k.bySHA[s.SHA] = s
	k.bound(s)
	k.bytes += int64(len(body))
	if len(k.bySHA) > k.maxCount || k.bytes > k.maxBytes {
		k.evict(s)
	}
	k.mu.Unlock()
	if k.analyse != nil {
		k.analyse(s)
	}
	return s
}

// evict forgets an eighth of the scripts, those used longest ago among a
// sample, so that its cost is spread.
func (k *knownScripts) evict(keep *Script) {
	for n := max(1, len(k.bySHA)/8); n > 0 && len(k.bySHA) > 1; n-- {
		var oldest *Script
		seen := 0
		for _, s := range k.bySHA {
			if s != keep && (oldest == nil || s.used.Load() < oldest.used.Load()) {
				oldest = s
			}
			if seen++; seen == 8 {
				break
			}
		}
		if oldest == nil {
			return
		}
		delete(k.bySHA, oldest.SHA)
		k.bytes -= int64(len(oldest.Body))
	}
}

func (k *knownScripts) flush() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.bySHA)
	k.bytes = 0
	k.flushes.Add(1)
}

// seenScripts is one loop's memory of shas and bodies that it looked up.
type seenScripts struct {
	seed   maphash.Seed
	bySHA  map[string]*Script
	byBody map[uint64]*Script
	// flushes is knownScripts' when this memory began: what it holds from
	// before a flush must not outlive it on any loop.
	flushes uint64
}

// seenMax bounds a loop's memory; it is started over beyond.
const seenMax = 4096

func newSeenScripts() *seenScripts {
	return &seenScripts{seed: maphash.MakeSeed(), bySHA: make(map[string]*Script), byBody: make(map[uint64]*Script)}
}

func (m *seenScripts) remember(s *Script, hash uint64) {
	if len(m.bySHA) >= seenMax {
		m.reset()
	}
	m.bySHA[s.SHA] = s
	if hash != 0 {
		m.byBody[hash] = s
	}
}

func (m *seenScripts) reset() {
	clear(m.bySHA)
	clear(m.byBody)
}

// body finds the script of a body without hashing it by SHA-1 every time.
func (m *seenScripts) body(b []byte) (*Script, uint64) {
	h := maphash.Bytes(m.seed, b)
	if s := m.byBody[h]; s != nil && string(s.Body) == string(b) {
		return s, h
	}
	return nil, h
}

func containsFold(b []byte, upper string) bool {
	for i := 0; i+len(upper) <= len(b); i++ {
		j := 0
		for j < len(upper) && b[i+j]&^0x20 == upper[j] {
			j++
		}
		if j == len(upper) {
			return true
		}
	}
	return false
}

// appendBulk appends b as a RESP bulk string.
func appendBulkHeader(dst []byte, n int) []byte {
	dst = append(dst, '$')
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '\r', '\n')
}
