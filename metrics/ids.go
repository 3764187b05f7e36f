package metrics

import (
	"strings"
	"sync"
	"sync/atomic"

	dto "github.com/prometheus/client_model/go"
)

// ScriptID stands for a registered (script, version). 0 is "unregistered".
// IDs are valid for the life of the Metrics that gave them.
type ScriptID uint32

// NodeID stands for a node's address. 0 is "other".
type NodeID uint32

// RuleID stands for a policy rule. 0 is "other".
type RuleID uint32

const (
	unregistered = "unregistered" // the script label of ScriptID 0
	other        = "other"        // the label of everything past a limit

	otherScript ScriptID = 1
)

// script is one (script, version) label set.
type script struct {
	name    *scriptName
	version *dto.LabelPair
	verText string // version, escaped for the text format

	breaker atomic.Int32           // BreakerState + 1; 0 is "never reported"
	calls   [numRoutes]*callTotals // guarded by totals.mu
}

// scriptName is what the versions of one script share.
type scriptName struct {
	label *dto.LabelPair
	text  string // escaped for the text format

	kills [numKillResults]atomic.Uint64

	called bool                   // guarded by totals.mu
	slow   uint64                 // guarded by totals.mu
	hist   [numRoutes]*histTotals // guarded by totals.mu
}

type rule struct {
	label   *dto.LabelPair
	counted [numVerdicts]uint64 // guarded by totals.mu
}

type scriptKey struct{ name, version string }

// ids maps names to the small integers that are counted by. Entries are only
// added, so a slice header taken under the lock stays valid.
type ids struct {
	mu         sync.RWMutex
	maxScripts int
	byScript   map[scriptKey]ScriptID
	byName     map[string]*scriptName
	byNode     map[string]NodeID
	byRule     map[string]RuleID
	scripts    []*script
	names      []*scriptName
	nodes      []*node
	rules      []*rule

	// How many there are, for shards that grow their tables without the lock.
	numScripts, numNodes, numRules atomic.Uint32
}

func (t *ids) init(maxScripts int) {
	t.maxScripts = maxScripts
	t.byScript = make(map[scriptKey]ScriptID)
	t.byName = make(map[string]*scriptName)
	t.byNode = make(map[string]NodeID)
	t.byRule = make(map[string]RuleID)
	t.addScript(scriptKey{name: unregistered})
	t.addScript(scriptKey{name: other})
	t.addNode(other)
	t.addRule(other)
}

func (t *ids) addScript(k scriptKey) ScriptID {
	n := t.byName[k.name]
	if n == nil {
		n = &scriptName{label: pair(labelScript, k.name), text: escape(k.name)}
		t.byName[k.name] = n
		t.names = append(t.names, n)
	}
	id := ScriptID(len(t.scripts))
	t.scripts = append(t.scripts, &script{name: n, version: pair(labelVersion, k.version), verText: escape(k.version)})
	t.byScript[k] = id
	t.numScripts.Store(uint32(len(t.scripts)))
	return id
}

func (t *ids) addNode(addr string) NodeID {
	id := NodeID(len(t.nodes))
	t.nodes = append(t.nodes, newNode(addr))
	t.byNode[addr] = id
	t.numNodes.Store(uint32(len(t.nodes)))
	return id
}

func (t *ids) addRule(name string) RuleID {
	id := RuleID(len(t.rules))
	t.rules = append(t.rules, &rule{label: pair(labelRule, name)})
	t.byRule[name] = id
	t.numRules.Store(uint32(len(t.rules)))
	return id
}

// Script registers a version of a script and returns what to count it by. The
// same arguments give the same id. Once Options.MaxScripts pairs are
// registered, new ones share the label script="other". It takes a lock: call
// it when a generation is built, not per request.
func (m *Metrics) Script(name, version string) ScriptID {
	t := &m.ids
	k := scriptKey{valid(name), valid(version)}
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.byScript[k]; ok {
		return id
	}
	if len(t.scripts)-2 >= t.maxScripts { // without "unregistered" and "other"
		return otherScript
	}
	return t.addScript(k)
}

// Node registers a node's address and returns what to count it by. The same
// address gives the same id, also after NodeGone. It takes a lock.
func (m *Metrics) Node(addr string) NodeID {
	t := &m.ids
	addr = valid(addr)
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.byNode[addr]; ok {
		return id
	}
	if len(t.nodes)-1 >= maxNodes {
		return 0
	}
	return t.addNode(addr)
}

// Rule registers a policy rule and returns what to count it by. The same name
// gives the same id. It takes a lock.
func (m *Metrics) Rule(name string) RuleID {
	t := &m.ids
	name = valid(name)
	t.mu.Lock()
	defer t.mu.Unlock()
	if id, ok := t.byRule[name]; ok {
		return id
	}
	if len(t.rules)-1 >= maxRules {
		return 0
	}
	return t.addRule(name)
}

// script returns the entry of id, or that of "unregistered" for an id that
// this Metrics did not give.
func (t *ids) script(id ScriptID) *script {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if int(id) >= len(t.scripts) {
		id = 0
	}
	return t.scripts[id]
}

func (t *ids) node(id NodeID) *node {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if int(id) >= len(t.nodes) {
		id = 0
	}
	return t.nodes[id]
}

// all returns the tables as they are now. The slices must not be changed.
func (t *ids) all() (scripts []*script, names []*scriptName, nodes []*node, rules []*rule) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.scripts, t.names, t.nodes, t.rules
}

// valid makes s a legal label value.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// escape writes a label value as the text format wants it between quotes.
func escape(s string) string { return textEscaper.Replace(s) }

var textEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
