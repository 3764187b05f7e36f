//go:build linux

package proxy

import (
	"cmp"
	"strconv"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// How a script call travels.
//
// EVALSHA is the cheap form, but a node may have lost the script (SCRIPT
// FLUSH behind the proxy's back), and says so only when it is the call's
// turn: what the session sent behind it has then run, and sending the call
// anew would change the order. So a call that is sent as EVALSHA is not
// followed by anything of its session until it is answered, and when it is
// answered NOSCRIPT it is sent again, with its body.
//
// In a pipeline that wait would cost a round trip a call. There a call goes
// with its body (EVAL), which can't fail so, unless the body is larger than
// Settings.EvalBelow; then it waits. Inside MULTI the first call of a script
// goes with its body and the others as EVALSHA: EXEC runs them as one.
//
// A script that could answer NOSCRIPT itself always goes with its body; see
// forge.go.

// scriptCall is what a pending knows of the script call it stands for.
type scriptCall struct {
	script *Script // nil when neither sha nor name is known here
	// unproven is what the sha may mean, while script is nil; see prove.
	unproven *Script
	node     *topology.Node
	epoch    uint32
	keys     int
	replica  bool
	// asRO tells that the call was made read-only here, not by the client.
	asRO bool
	// gaveBody tells that the client sent the body.
	gaveBody bool
	// bySHA tells that the server may not know the script, withBody that the
	// body was sent, ro that the verb sent was a read-only one.
	bySHA, withBody, ro bool
	// apart tells that the proxy's own user loads the script.
	apart bool
	// caching is what CLIENT CACHING said of the call; see sayCaching.
	caching uint32
	// own tells that the session has a link of its own just for this call.
	own bool
	// deadline is a rule's, 0 where none sets one.
	deadline time.Duration
	inTx     bool
	// function tells that script is a library's version, called by FCALL.
	function bool
	flight   uint8 // see flights
	route    metrics.Route
	load     *loadResult
	// begun tells that the reply's first piece was seen, failed that it is
	// an error.
	begun, failed bool
}

// loadResult is what SCRIPT LOAD said ahead of a first call.
type loadResult struct {
	refused []byte
	missing bool // what existence found
}

// callScript takes EVAL, EVALSHA and their read-only kin.
func (s *session) callScript(cmd *command.Command, r *resp.Request, more bool) bool {
	w := s.w
	keys, err := command.NumKeys(r.Arg(2), r.Len())
	if err != nil {
		return s.forward(r, false) // the server words the error, and does not look at the script
	}
	script, entry, unknownName := s.resolve(cmd.Op, r.Arg(1))
	if unknownName {
		w.shard.ScriptCall(0, metrics.RouteLocal, metrics.OutcomeNoScript, -1, false)
		return s.forward(r, false) // likewise
	}
	var unproven *Script
	gaveBody := cmd.Op == command.OpEval || cmd.Op == command.OpEvalRO
	if entry == nil && !gaveBody && script != nil && !script.proven.Load() {
		script, unproven = nil, script
	}
	if entry != nil {
		if script = s.choose(entry, r, keys); script == nil {
			w.shard.ScriptCall(0, metrics.RouteLocal, metrics.OutcomeDenied, -1, false)
			s.reply(entry.Refusal)
			return true
		}
	}
	if p := w.gen.Policy; p != nil {
		runs, st := s.judge(p, cmd, r, cmp.Or(script, unproven), keys)
		if st != routed {
			return st == answered
		}
		if script != nil {
			script = runs
		}
	}
	w.rank = w.ruling.rank(script)
	var by admission
	if script != nil && script.guarded.Load() || s.flags&(inGate|hasPlace) != 0 {
		var st routing
		if by, st = s.enter(script); st != routed {
			return st == answered
		}
	}
	ro := cmd.Op == command.OpEvalRO || cmd.Op == command.OpEvalShaRO
	read := ro || script != nil && script.Class() == ClassRead
	link, st := s.linkFor(read && w.gen.Settings.ReplicaScriptReads, read)
	own := false
	if st == routed {
		own, st = s.needsOwn(link, script)
	}
	if st != routed {
		return s.notRouted(script, by, st)
	}
	apart := script != nil && s.loadsApart(script)
	if apart {
		switch s.loadFirst(link.Node, script) {
		case waiting:
			s.keepPlace(by)
			return false
		case answered:
			by.giveBack()
			return true
		}
	}
	if w.ruling.asked && !s.admit(w.gen.Policy, cmd) {
		by.giveBack()
		return true
	}
	if own {
		link = s.ownTo(link)
	}
	p := w.newPending(s, kindScript)
	p.read = read
	p.watched.gate, p.watched.trial = by.gate, by.trial
	c := &p.call
	c.own = own && link.Dedicated
	c.apart, c.deadline = apart, w.ruling.verdict.Deadline
	c.script, c.keys, c.node, c.epoch = script, keys, link.Node, link.Node.Epoch()
	c.unproven, c.gaveBody = unproven, gaveBody
	c.inTx = s.state&inMulti != 0
	if c.inTx {
		s.queueScript(script, c.deadline)
	}
	c.replica = link.Node.Role() == topology.RoleReplica
	c.route = metrics.RoutePrimary
	if c.replica {
		c.route = metrics.RouteReplica
		// A write gets here where the primary has just become a replica: its
		// refusal must say that, and not that the call was made read-only.
		c.asRO = read && !ro && link.Node.HasReadOnlyCalls() && !s.group.PlainOnly
	}
	if script == nil {
		// A sha that only the server may know; its answer stands.
		s.send(link, p, r.Raw())
		return true
	}
	s.sendScript(r, link, p, ro || c.asRO, more)
	return true
}

// resolve finds what runs for the first argument of a call: an entry of the
// registry, else a script that a client brought.
func (s *session) resolve(op command.Op, arg []byte) (script *Script, entry *Entry, unknownName bool) {
	w := s.w
	table := w.gen.Scripts
	if op == command.OpEvalSha || op == command.OpEvalShaRO {
		entry, isSHA := table.Find(arg)
		if entry != nil {
			return nil, entry, false
		}
		if !isSHA {
			return nil, nil, true
		}
		return s.knownSHA(arg), nil, false
	}
	script = s.scriptOfBody(arg)
	return script, table.BySHA(script.SHA), false
}

// choose picks the version that runs: the canary for its share, which goes by
// the first key or by the client, so that one of them never alternates.
func (s *session) choose(e *Entry, r *resp.Request, keys int) *Script {
	if e.Canary == nil {
		return e.Script
	}
	var id [20]byte
	sticky := strconv.AppendUint(id[:0], s.id, 10)
	if !e.ByClient && keys > 0 {
		sticky = r.Arg(3)
	}
	if e.Picks(sticky) {
		return e.Canary
	}
	return e.Script
}

// knownSHA finds a script that a client sent before.
func (s *session) knownSHA(arg []byte) *Script {
	var sha [40]byte
	lowerHex(&sha, arg)
	seen := s.seen()
	script := seen.bySHA[string(sha[:])]
	if script == nil {
		script = s.backend().known.find(string(sha[:]))
		if script == nil {
			return nil
		}
		seen.remember(script, 0)
	}
	script.touched(s.w.loop.Now())
	return script
}

// scriptOfBody finds or makes the script of a body.
func (s *session) scriptOfBody(body []byte) *Script {
	seen := s.seen()
	script, hash := seen.body(body)
	if script == nil {
		script = s.backend().known.add(body, s.w.loop.Now())
		seen.remember(script, hash)
	}
	script.touched(s.w.loop.Now())
	return script
}

// canRun tells whether EVALSHA of a script that a client brought would run.
func (s *session) canRun(arg []byte) bool {
	script := s.knownSHA(arg)
	return script != nil && script.proven.Load()
}

// seen is the loop's memory of what the session's servers were brought,
// without what was loaded before a SCRIPT FLUSH.
func (s *session) seen() *seenScripts {
	b := s.backend()
	seen := s.w.seen[b.index]
	if n := b.known.flushes.Load(); n != seen.flushes {
		seen.reset()
		seen.flushes = n
	}
	return seen
}

func metricOf(s *Script) metrics.ScriptID {
	if s == nil {
		return 0
	}
	return s.metric
}

// sendScript writes the call in the form that suits; see the top of the file.
func (s *session) sendScript(r *resp.Request, link *upstream.Link, p *pending, ro, more bool) {
	c := &p.call
	set := &s.w.gen.Settings
	script := c.script
	rights := s.group.Rights(ro)
	withBody := false
	switch {
	case c.apart, !c.gaveBody && rights.ShasOnly:
	case c.inTx:
		withBody = s.firstInMulti(script) || c.gaveBody && (s.group.BodiesOnly || !rights.MayEval || !script.proven.Load())
		if !c.gaveBody && (s.group.BodiesOnly || !rights.MayEval && script.LoadedOn(c.node.Index, c.epoch)) {
			withBody = false // a refusal ends the transaction: it must be the server's to what the client sent
		}
	case script.quotesNoScript, c.gaveBody && (s.group.BodiesOnly || !rights.MayEval):
		withBody = true // whether this user may EVAL is the server's to say, as long as it has not
	case set.LoosePipelining:
	case more || s.remote > 0:
		withBody = c.gaveBody || rights.MayCall && len(script.Body) <= set.EvalBelow
	}
	script.ranOn(c.node.Index, s.w.loop.Index, s.w.loop.Now())
	c.withBody, c.ro, c.caching = withBody, ro, s.flags&cachingNext
	if !withBody && !c.inTx {
		c.bySHA = true
		switch {
		case c.apart && script.quotesNoScript:
			c.load = s.w.existence(link, script)
		case !c.apart && !script.LoadedOn(c.node.Index, c.epoch):
			c.load = s.w.load(link, script, c.epoch)
		}
		if c.load != nil {
			sayCaching(link, c.caching)
		}
	}
	s.occupy(link, p)
	tail := r.Tail(2)
	need := len(tail) + 128
	if withBody {
		need += len(script.Body)
	}
	buf := link.Begin(need)
	buf = appendCall(buf, r.Len(), script, withBody, ro)
	link.End(append(buf, tail...), &p.Call)
	// A body that the client did not send may be refused, as long as the user
	// is not known to have EVAL: then nothing may follow it either.
	if c.bySHA && !set.LoosePipelining || withBody && !c.gaveBody && !c.inTx && !rights.MayEval {
		s.flags |= holdDrain
	}
}

const crlf = "\r\n"

// appendCall appends the head of a call with n arguments.
func appendCall(buf []byte, n int, script *Script, withBody, ro bool) []byte {
	buf = append(buf, '*')
	buf = strconv.AppendInt(buf, int64(n), 10)
	switch {
	case withBody && ro:
		buf = append(buf, "\r\n$7\r\nEVAL_RO\r\n"...)
	case withBody:
		buf = append(buf, "\r\n$4\r\nEVAL\r\n"...)
	case ro:
		buf = append(buf, "\r\n$10\r\nEVALSHA_RO\r\n$40\r\n"...)
	default:
		buf = append(buf, "\r\n$7\r\nEVALSHA\r\n$40\r\n"...)
	}
	if withBody {
		buf = appendBulkHeader(buf, len(script.Body))
		buf = append(buf, script.Body...)
	} else {
		buf = append(buf, script.SHA...)
	}
	return append(buf, crlf...)
}

// maxInMulti is how many bodies a transaction may rely on having sent:
// servers that evict scripts loaded by EVAL keep 500 (Redis 7.4, eval.c,
// LRU_LIST_LENGTH).
const maxInMulti = 400

// firstInMulti tells whether the transaction has not sent the body yet.
func (s *session) firstInMulti(script *Script) bool {
	e := s.needExtra()
	if e.queued[script] {
		return false
	}
	if e.queued == nil {
		e.queued = make(map[*Script]bool)
	}
	if len(e.queued) < maxInMulti {
		e.queued[script] = true
	}
	return true
}

// load sends SCRIPT LOAD ahead of a call on the same link.
func (w *worker) load(link *upstream.Link, script *Script, epoch uint32) *loadResult {
	l := &loading{script: script, node: link.Node, epoch: epoch, result: &loadResult{}}
	l.call.Owner = l
	buf := link.Begin(len(script.Body) + 64)
	buf = append(buf, "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n"...)
	buf = resp.AppendBulk(buf, script.Body)
	link.End(buf, &l.call)
	return l.result
}

// loading waits for the answer to SCRIPT LOAD.
type loading struct {
	call   upstream.Call
	script *Script
	node   *topology.Node
	epoch  uint32
	reply  []byte
	result *loadResult
}

func (l *loading) Reply(_ *upstream.Call, piece []byte, done bool) {
	l.reply = append(l.reply, piece...)
	if !done {
		return
	}
	if len(l.reply) > 0 && l.reply[0] == '-' {
		l.result.refused = l.reply
		return
	}
	l.script.SetLoaded(l.node.Index, l.epoch)
	l.script.proven.Store(true)
}

func (l *loading) Lost(*upstream.Call, bool, error) {}
