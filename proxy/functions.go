//go:build linux

package proxy

import (
	"strconv"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// Function is what FCALL of a registered library's function leads to. Its
// Script stands for the library's version; the server has the code.
type Function struct {
	Entry
	// Target and CanaryTarget are the function's names on the server where
	// they differ from the one called: copies of a version that run beside
	// the active one.
	Target, CanaryTarget string
}

// WithFunctions adds functions to a table that nobody uses yet: "name" is the
// active version's, "name@version" that one's.
func (t *ScriptTable) WithFunctions(fns map[string]*Function) *ScriptTable {
	t.fns = fns
	return t
}

// Function finds a registered function, or nil.
func (t *ScriptTable) Function(name []byte) *Function { return t.fns[string(name)] }

// function finds what an FCALL runs: the library's version, where it is
// registered, and the function's name on the server, where that differs; or a
// refusal.
func (s *session) function(r *resp.Request) (script *Script, target, refusal string) {
	fn := s.w.gen.Scripts.Function(r.Arg(1))
	if fn == nil {
		return nil, "", ""
	}
	keys, err := command.NumKeys(r.Arg(2), r.Len())
	if err != nil {
		keys = 0 // the server says what is wrong
	}
	switch script = s.choose(&fn.Entry, r, keys); script {
	case nil:
		return nil, "", fn.Refusal
	case fn.Canary:
		return script, fn.CanaryTarget, ""
	}
	return script, fn.Target, ""
}

// appendFunction appends the head of an FCALL with n arguments.
func appendFunction(buf []byte, n int, name string, ro bool) []byte {
	buf = append(buf, '*')
	buf = strconv.AppendInt(buf, int64(n), 10)
	if ro {
		buf = append(buf, "\r\n$8\r\nFCALL_RO\r\n"...)
	} else {
		buf = append(buf, "\r\n$5\r\nFCALL\r\n"...)
	}
	buf = appendBulkHeader(buf, len(name))
	buf = append(buf, name...)
	return append(buf, crlf...)
}

// callFunction takes FCALL and FCALL_RO.
func (s *session) callFunction(cmd *command.Command, r *resp.Request) bool {
	read := cmd.Op == command.OpFCallRO
	script, target, refusal := s.function(r)
	if refusal != "" && s.state&inMulti == 0 {
		s.w.shard.ScriptCall(0, metrics.RouteLocal, metrics.OutcomeDenied, -1, false)
		s.reply(refusal)
		return true
	}
	if p := s.w.gen.Policy; p != nil {
		var st routing
		if script, target, st = s.judgeFunction(p, cmd, r, script, target); st != routed {
			return st == answered
		}
	}
	s.w.rank = s.w.ruling.rank(script)
	var by admission
	if script != nil && script.guarded.Load() || s.flags&(inGate|hasPlace) != 0 {
		var st routing
		if by, st = s.enter(script); st != routed {
			return st == answered
		}
	}
	link, st := s.linkFor(read && s.w.gen.Settings.ReplicaScriptReads, read)
	own := false
	if st == routed {
		own, st = s.needsOwn(link, script)
	}
	if st != routed {
		return s.notRouted(script, by, st)
	}
	if s.w.ruling.asked && !s.admit(s.w.gen.Policy, cmd) {
		by.giveBack()
		return true
	}
	if own {
		link = s.ownTo(link)
	}
	p := s.w.newPending(s, kindScript)
	p.read = read
	p.watched.gate, p.watched.trial = by.gate, by.trial
	c := &p.call
	c.own = own && link.Dedicated
	c.script, c.function, c.node = script, true, link.Node
	c.deadline = s.w.ruling.verdict.Deadline
	c.inTx = s.state&inMulti != 0
	if c.inTx {
		s.queueScript(script, c.deadline)
	}
	c.replica = link.Node.Role() == topology.RoleReplica
	if c.replica {
		c.route = metrics.RouteReplica
	}
	if script != nil {
		script.ranOn(link.Node.Index, s.w.loop.Index, s.w.loop.Now())
	}
	if target == "" {
		s.send(link, p, r.Raw())
		return true
	}
	s.occupy(link, p)
	tail := r.Tail(2)
	buf := link.Begin(len(tail) + len(target) + 64)
	link.End(append(appendFunction(buf, r.Len(), target, read), tail...), &p.Call)
	return true
}
