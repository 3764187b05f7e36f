//go:build linux

package proxy

import (
	"bytes"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// What becomes of the reply to a script call: it is passed on and accounted for,
// or the call is sent anew because it went to the wrong place or too early.

// scriptReply takes a piece of the reply to a script call. An error is kept
// until it is complete, since some are not for the client.
func (p *pending) scriptReply(piece []byte, done bool) {
	c := &p.call
	if !c.begun {
		c.begun, c.failed = true, piece[0] == '-'
	}
	if !c.failed {
		p.pass(piece)
		if done {
			p.noteForeign()
			p.prove()
			p.account(metrics.OutcomeOK)
			p.finish()
		}
		return
	}
	p.buf = append(p.buf, piece...)
	if !done {
		return
	}
	if !c.inTx && p.s != nil && (p.mend() || p.refusedCall()) {
		return
	}
	p.prove()
	if c.script != nil && isNoPerm(p.buf) && p.s != nil && p.s.mayLoadApart(c.script) {
		p.w.srv.loadApartFor(p.s.serverUser())
	}
	p.account(outcomeOf(p.buf))
	p.settle()
}

// prove takes note of a reply that shows that a server has taken the body
// which a client sent. Until then the sha of a body means nothing here, as it
// means nothing to a server that could not compile it, or has it in a
// transaction that EXEC did not run; EVALSHA is then for the server to answer.
func (p *pending) prove() {
	c := &p.call
	if c.withBody && !c.inTx && p.s != nil && !(c.failed && isNoPerm(p.buf)) {
		p.s.group.Rights(c.ro).MayEval = true
	}
	if c.bySHA && p.s != nil && !(c.failed && isNoPerm(p.buf)) {
		p.s.group.Rights(c.ro).MayCall = true
	}
	script := c.script
	if script == nil {
		script = c.unproven
	}
	if script == nil || c.function || c.inTx || script.proven.Load() {
		return
	}
	if !c.failed || (c.bySHA || c.unproven != nil) && !isNoScript(p.buf) || bytes.Contains(p.buf, []byte(script.SHA)) {
		script.proven.Store(true)
	}
}

// mend deals with errors that say a call went to the wrong place or too
// early. It reports whether the call is on its way again.
func (p *pending) mend() bool {
	c := &p.call
	script := c.script
	if script == nil || c.function || p.tries >= maxTries {
		return false
	}
	line := p.buf
	refused := c.refusedVerb(line)
	notLoaded := c.bySHA && isNoScript(line) && c.load != nil && isNoPerm(c.load.refused)
	switch {
	case c.apart && script.quotesNoScript && isNoScript(line) && (c.load == nil || !c.load.missing):
		return false // the script says so itself
	case refused && c.asRO:
		p.s.group.PlainOnly = true
		p.tries++
		return p.sendAgain(p.link)
	case (notLoaded || refused && c.withBody && !c.gaveBody) && p.s.mayLoadApart(script):
		p.w.srv.loadApartFor(p.s.serverUser())
		c.apart = true
		p.tries++
		return p.sendAgain(p.link)
	case c.bySHA && c.gaveBody && (refused || notLoaded):
		// The user may not say SCRIPT LOAD or EVALSHA, but perhaps EVAL.
		p.s.group.BodiesOnly = true
		p.tries++
		return p.sendAgain(p.link)
	case refused && c.withBody && !c.gaveBody:
		p.s.group.Rights(c.ro).ShasOnly = true
		p.tries++
		return p.sendAgain(p.link)
	case c.bySHA && isNoScript(line):
		if c.load != nil && c.load.refused != nil {
			c.bySHA = false
			if !isNoPerm(c.load.refused) {
				// The body does not compile: that is the news.
				p.buf = append(p.buf[:0], c.load.refused...)
			}
			return false
		}
		c.node.LostScripts(c.epoch)
		p.w.shard.Heal(p.w.srv.nodeMetric(c.node))
		p.tries++
		return p.sendAgain(p.link)
	case c.replica && (isReadOnly(line) || c.asRO && isReadOnlyScript(line)):
		// What only reads does not say so: the script writes.
		script.SetClass(ClassWrite)
		view := p.s.view()
		if view.Primary == nil {
			return false
		}
		link, err := p.s.group.Shared(view.Primary)
		if err != nil {
			return false
		}
		p.tries++
		old := p.link
		if !p.sendAgain(link) {
			return false
		}
		p.followed(old)
		return true
	}
	return false
}

func (p *pending) sendAgain(link *upstream.Link) bool {
	return p.sendRequest(link, p.link.Request(&p.Call))
}

// sendRequest sends a script call anew, from its request as it was sent
// before, with the body, so that no second NOSCRIPT can come; and with SCRIPT
// LOAD ahead, because some servers forget what EVAL brought.
func (p *pending) sendRequest(link *upstream.Link, request []byte) bool {
	c := &p.call
	s := p.s
	c.begun, c.failed = false, false
	request = bytes.Clone(request)
	link = p.boundedLink(link)
	p.rewatch(link)
	s.cur = link
	if c.script == nil || c.function {
		link.Send(request, &p.Call)
		return true
	}
	if c.apart {
		return p.sendApart(link, request)
	}
	var r resp.Request
	if n, err := r.Parse(request, &resp.DefaultLimits); err != nil || n == 0 {
		return false
	}
	verb := r.Arg(0)
	ro := verb[len(verb)-1] == 'O' && !c.asRO
	p.place(link, ro)
	c.ro = ro || c.asRO
	c.withBody = c.gaveBody || !s.group.Rights(c.ro).ShasOnly
	c.bySHA = !c.withBody
	p.buf = p.buf[:0]
	c.load = p.w.load(link, c.script, c.epoch)
	sayCaching(link, c.caching)
	buf := link.Begin(len(request) + len(c.script.Body) + 64)
	buf = appendCall(buf, r.Len(), c.script, c.withBody, c.ro)
	link.End(append(buf, r.Tail(2)...), &p.Call)
	return true
}

// place takes note of where a call is sent anew; ro tells that the client
// made it read-only.
func (p *pending) place(link *upstream.Link, ro bool) {
	c := &p.call
	c.node, c.epoch = link.Node, link.Node.Epoch()
	c.replica = c.node.Role() == topology.RoleReplica
	c.route = metrics.RoutePrimary
	c.asRO = false
	if c.replica {
		c.route = metrics.RouteReplica
		c.asRO = p.read && !ro && c.node.HasReadOnlyCalls() && !p.s.group.PlainOnly
	} else if p.read && c.script.Class() == ClassWrite {
		p.read = false
		p.s.writes++
	}
}

// refusedVerb tells whether the server refused the command that the call was
// sent as, before it looked at the script. A script that may say so itself is
// not believed.
func (c *scriptCall) refusedVerb(line []byte) bool {
	return isNoPerm(line) && bytes.Contains(line, []byte(" run the 'eval")) &&
		!c.script.quotesNoScript && !containsFold(c.script.Body, "NOPERM")
}

func isNoPerm(line []byte) bool { return bytes.HasPrefix(line, []byte("-NOPERM ")) }

func isReadOnly(line []byte) bool {
	return bytes.HasPrefix(line, []byte("-READONLY ")) || bytes.Contains(line, []byte("-READONLY You can't write against a read only"))
}

func isReadOnlyScript(line []byte) bool {
	return bytes.Contains(line, []byte("Write commands are not allowed from read-only scripts")) ||
		bytes.Contains(line, []byte("Can not execute a script with write flag using *_ro command"))
}

func outcomeOf(line []byte) metrics.Outcome {
	switch {
	case isNoScript(line):
		return metrics.OutcomeNoScript
	case bytes.HasPrefix(line, []byte("-BUSY ")):
		return metrics.OutcomeBusy
	case bytes.Contains(line, []byte("Script killed by user")):
		return metrics.OutcomeKilled
	}
	return metrics.OutcomeError
}

// account counts a call that was answered, and notes it when it was slow.
func (p *pending) account(o metrics.Outcome) {
	c := &p.call
	if c.inTx && o == metrics.OutcomeOK {
		o = metrics.OutcomeOK // queued: EXEC runs it, and its time is not known apart
	}
	w := p.w
	now := w.loop.Now()
	from := p.Sent
	if p.link != nil && p.link.LastReply() > from {
		from = p.link.LastReply()
	}
	p.watched.outcome = o
	took := time.Duration(max(0, now-from))
	if c.inTx {
		took = -1
	}
	slowAfter := w.gen.Settings.SlowAfter
	if c.script != nil {
		if own := c.script.slowAfter.Load(); own > 0 {
			slowAfter = time.Duration(own)
		}
	}
	slow := took >= 0 && slowAfter > 0 && took >= slowAfter
	w.shard.ScriptCall(metricOf(c.script), c.route, o, took, slow)
	if slow {
		p.noteSlow(took, o)
	}
	if w.gen.Settings.TraceSample > 0 && took >= 0 && w.sampled() {
		p.trace(took, o)
	}
}

func (p *pending) noteSlow(took time.Duration, o metrics.Outcome) {
	c := &p.call
	e := metrics.Entry{
		When: time.Now(), Node: c.node.Addr, Duration: took, Keys: c.keys, Outcome: o.String(),
	}
	if c.script != nil {
		e.Name, e.Version, e.SHA = c.script.Name, c.script.Version, c.script.SHA
	}
	if s := p.s; s != nil {
		e.Client, e.User = s.remoteAddr(), s.userName()
	}
	if p.w.srv.slow.KeepsArgs() && p.link != nil {
		e.Args = argsOf(p.link.Request(&p.Call))
	}
	p.w.srv.slow.Add(e)
}

// argsOf lists a call's keys and arguments for the slow log.
func argsOf(request []byte) []string {
	var r resp.Request
	if n, err := r.Parse(request, &resp.DefaultLimits); err != nil || n == 0 {
		return nil
	}
	var args []string
	for i := 2; i < r.Len(); i++ {
		args = append(args, string(r.Arg(i)))
	}
	return args
}

// accountLost counts a call whose link was lost.
func (p *pending) accountLost(sent bool) {
	o := metrics.OutcomeUnavailable
	if sent {
		o = metrics.OutcomeMayHaveRun
	}
	p.w.shard.ScriptCall(metricOf(p.call.script), p.call.route, o, -1, false)
}
