//go:build linux

package proxy

import (
	"fmt"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
)

// How a running script is found.
//
// Every script call in flight is on its loop's list, in the order of sending.
// A few times in a tenth of a second, and only while there are any, the loop
// looks at those that have been under way for a while. Of these, the first on
// each link may be what the node works on: since it was sent, since the last
// reply on the link came, and since the node last showed that it was doing
// something else. What has lasted for long by that measure is made known to
// everybody as a run; see package watchdog.
//
// It need not be the oldest request of its link: Redis takes what has arrived
// on a connection in one go and writes the replies only afterwards, so plain
// commands ahead of the script, and even a quick script, may have been carried
// out without a word. The first script is the best guess then, and what a kill
// ends shows whether it was right.

const (
	// tickEvery is how often a loop looks at its script calls. The time by
	// which a script may pass its deadline is about this.
	tickEvery = 10 * time.Millisecond
	// holdAfter is how long a script must have run for the node to count as
	// busy with it: from then on other requests wait here, where they can be
	// taken back, and no longer on the link, where they can't. Shorter ones
	// are waited out there: it is cheaper.
	holdAfter = 50 * time.Millisecond
)

// watched is what a pending knows of itself as a script call in flight.
type watched struct {
	prev, next *pending
	run        *watchdog.Run
	unbounded  *upstream.Link    // which counts the call as such
	gate       *watchdog.Gate    // entered
	trial      *watchdog.Breaker // that lets this call through to see
	exec       *queuedScripts    // of EXEC
	outcome    metrics.Outcome
	on         bool
	lost, sent bool
	parked     bool // here, and not at the node: see parkBusy
	alone      bool // no other script was in flight to the node when it was overdue
}

// protect is what a worker knows of the script calls in flight and of the
// sessions that wait for a node.
type protect struct {
	first, last *pending // script calls, in the order of sending
	ticking     bool
	running     []*watchdog.Running // by node index
	nodes       []nodeSeen          // by node index
	held        []heldSession
	// expiredAt is the iteration in which the waits of sessions flagged
	// busyOver came to their end.
	expiredAt int64
	gates     map[*session]*watchdog.Gate
	looked    map[*upstream.Link]struct{} // at, in this tick
}

// nodeSeen is what a loop has noticed of a node.
type nodeSeen struct {
	busy int64 // when it last refused a request because it runs a script
	// worked is when it last showed that it had carried something out, as
	// looked up at tick.
	worked, tick int64
}

func (w *worker) initProtect(d *watchdog.Dog, nodes []*topology.Node) {
	w.protect.nodes = make([]nodeSeen, len(nodes))
	w.protect.gates = make(map[*session]*watchdog.Gate)
	w.protect.looked = make(map[*upstream.Link]struct{})
	for _, n := range nodes {
		w.protect.running = append(w.protect.running, d.Running(n))
	}
}

// watch puts a script call on the list as it is sent, or sent again.
func (w *worker) watch(p *pending) {
	t := &p.watched
	l := &w.protect
	if t.on {
		w.unlist(p)
	}
	t.on = true
	if p.deadline(&w.gen.Settings) == 0 {
		t.unbounded = p.link
		p.link.Unbounded++
	}
	t.prev = l.last
	if l.last == nil {
		l.first = p
	} else {
		l.last.watched.next = p
	}
	l.last = p
	if !l.ticking {
		l.ticking = true
		w.loop.After(tickEvery, w.tick)
	}
}

func (w *worker) unlist(p *pending) {
	t, l := &p.watched, &w.protect
	if t.prev == nil {
		l.first = t.next
	} else {
		t.prev.watched.next = t.next
	}
	if t.next == nil {
		l.last = t.prev
	} else {
		t.next.watched.prev = t.prev
	}
	t.prev, t.next, t.on = nil, nil, false
	t.leaveUnbounded()
}

// leaveUnbounded takes a call off the count of its link.
func (t *watched) leaveUnbounded() {
	if t.unbounded != nil {
		t.unbounded.Unbounded--
		t.unbounded = nil
	}
}

// tick looks at the script calls that have been under way for a while, and at
// the sessions that wait for a node.
func (w *worker) tick() {
	l := &w.protect
	now := w.loop.Now()
	settings := &w.srv.gen.Load().Settings
	for p := l.first; p != nil && now-p.Sent >= int64(tickEvery); p = p.watched.next {
		if p.link == nil || p.watched.parked || !p.link.Ready() {
			continue
		}
		if _, ok := l.looked[p.link]; !ok {
			l.looked[p.link] = struct{}{}
			w.look(p, settings, now)
		}
	}
	clear(l.looked)
	w.sweepHeld(now)
	if l.ticking = l.first != nil || len(l.held) > 0; l.ticking {
		w.loop.After(tickEvery, w.tick)
	}
}

// look measures the first script call on a link.
func (w *worker) look(p *pending, settings *Settings, now int64) {
	t, node := &p.watched, p.link.Node
	began := max(p.Sent, p.link.LastReply(), w.worked(node, now))
	age := time.Duration(now - began)
	deadline := p.deadline(settings)
	overdue := deadline > 0 && age >= deadline
	slow := p.slow(settings, age)
	if t.run == nil {
		if age < holdAfter && !overdue && !slow {
			return
		}
		t.run = watchdog.NewRun(p.callOf(settings, deadline), began)
	}
	t.run.Began(began)
	running := w.protect.running[node.Index]
	if age >= holdAfter {
		running.Enter(t.run)
	} else {
		running.Leave(t.run)
	}
	if (overdue || slow) && !t.alone {
		t.alone = w.alone(p)
	}
	if overdue {
		w.srv.dog.Report(t.run)
	}
}

// alone tells whether p is the oldest request on its link, and the only
// script call of this loop to its node: then the time is its own.
func (w *worker) alone(p *pending) bool {
	if p.link.Head() != &p.Call {
		return false
	}
	for q := w.protect.first; q != nil; q = q.watched.next {
		if q != p && q.link != nil && !q.watched.parked && q.link.Node == p.link.Node {
			return false
		}
	}
	return true
}

// worked is when the node last showed that it had come to the end of
// something: by a reply on one of this loop's shared links, or by the end of
// a run on any loop.
func (w *worker) worked(n *topology.Node, now int64) int64 {
	seen := &w.protect.nodes[n.Index]
	if seen.tick != now {
		seen.tick = now
		seen.worked = max(w.pool.Worked(n), w.protect.running[n.Index].Heard())
	}
	return seen.worked
}

// deadline is how long a call may run; 0 for as long as it likes.
func (p *pending) deadline(settings *Settings) time.Duration {
	if e := p.watched.exec; e != nil {
		return e.deadline(settings)
	}
	if d := p.call.deadline; d > 0 {
		return d
	}
	return p.call.script.deadlineOr(settings.Deadline)
}

// slow tells whether a run of that age counts for the breaker though nothing
// had to be ended.
func (p *pending) slow(settings *Settings, age time.Duration) bool {
	script := p.call.script
	if e := p.watched.exec; e != nil {
		script = e.only()
	}
	from := script.slowRun(settings.Breaker.Slow)
	return from > 0 && age >= from
}

// callOf describes a call for the watchdog.
func (p *pending) callOf(settings *Settings, deadline time.Duration) watchdog.Call {
	c := watchdog.Call{Node: p.link.Node, Link: p.link, Deadline: deadline, Label: p.label()}
	if p.call.function {
		c.Kind = watchdog.KindFunction
	}
	script := p.call.script
	if e := p.watched.exec; e != nil {
		c.Opaque = true
		script = e.only()
	}
	c.Metric = metricOf(script)
	if script != nil {
		c.Name, c.Version = script.Name, script.Version
		c.Breaker = script.breakerOr(settings.Breaker)
	}
	return c
}

// label names a call for people.
func (p *pending) label() string {
	if e := p.watched.exec; e != nil {
		return e.label()
	}
	if sc := p.call.script; sc != nil && !p.call.function {
		return sc.label()
	}
	var r resp.Request
	if n, err := r.Parse(p.link.Request(&p.Call), &resp.DefaultLimits); err == nil && n > 0 && r.Len() > 1 {
		name := oneLine(string(r.Arg(1)))
		if p.call.function {
			return fmt.Sprintf("function '%s'", name)
		}
		return "script " + name
	}
	return "script"
}

// unwatch is for a call that has ended, however it did.
func (p *pending) unwatch() {
	w, t := p.w, &p.watched
	w.unlist(p)
	now := w.loop.Now()
	how := watchdog.EndReplied
	switch {
	case t.lost:
		how = watchdog.EndLost
	case t.outcome == metrics.OutcomeBusy:
		how = watchdog.EndBusy
	case t.outcome == metrics.OutcomeKilled:
		how = watchdog.EndKilled
		w.srv.dog.Killed(p.link.Node, p.link, metricOf(p.call.script), p.label, t.run)
	}
	struck := w.endRun(p, how, now)
	if t.gate != nil {
		t.gate.Exit()
	}
	t.exec.leave()
	if t.trial != nil {
		t.trial.Tried(now, how == watchdog.EndReplied && !struck)
	}
	*t = watched{}
}

// rewatch is for a call that is about to be sent anew, on link.
func (p *pending) rewatch(link *upstream.Link) {
	t := &p.watched
	if !t.on {
		p.link = link
		return
	}
	how := watchdog.EndReplied
	if t.lost {
		how = watchdog.EndLost
	}
	p.w.endRun(p, how, p.w.loop.Now())
	t.lost, t.sent, t.alone, t.parked, t.outcome = false, false, false, false, 0
	p.link = link
	p.w.watch(p)
}

// endRun ends the run of a call, if it has one, and tells whether its breaker
// has counted it.
func (w *worker) endRun(p *pending, how watchdog.End, now int64) (struck bool) {
	t, r := &p.watched, p.watched.run
	settings := &w.srv.gen.Load().Settings
	if how == watchdog.EndLost {
		if d := p.deadline(settings); d > 0 && t.sent {
			// The server does not stop for a client that is gone.
			began := p.Sent
			if r != nil {
				began = r.Since()
			}
			w.srv.dog.Orphan(watchdog.NewRun(p.callOf(settings, d), began))
		}
	}
	if r == nil {
		if how == watchdog.EndKilled && p.link != nil {
			r = watchdog.NewRun(p.callOf(settings, 0), now)
			w.srv.dog.Strike(r)
			return true
		}
		return false
	}
	if how == watchdog.EndReplied || how == watchdog.EndKilled {
		if how == watchdog.EndKilled || t.alone && (r.Deadline > 0 && r.Age(now) >= r.Deadline || p.slow(settings, r.Age(now))) {
			w.srv.dog.Strike(r)
		}
	}
	w.protect.running[r.Node.Index].End(r, how, now)
	t.run = nil
	return r.Struck()
}

// nodeFree has every loop look at once after the sessions that wait for a
// node. Any goroutine may call it.
func (s *Server) nodeFree(*topology.Node) {
	for _, w := range s.workers {
		if w.waiting.Load() > 0 {
			w.loop.Do(func() { w.sweepHeld(w.loop.Now()) })
		}
	}
}

// Running calls emit with the script that each node has been running for
// long, and for how many seconds; it is for the collectors.
func (s *Server) Running(emit func(node, script string, seconds float64)) { s.dog.Collect(emit) }

// NodeBusy reports that a node runs a script of this proxy's for long.
func (s *Server) NodeBusy(n *topology.Node) bool {
	return n.BusyFor(loop.Now()) > 0 || s.dog.Running(n).Oldest() != nil
}
