package watchdog

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

const (
	// settle is how long the loops get, after the node said BUSY, to take in
	// that it said so to everything that was waiting there. The replies are
	// on their way by then; an iteration of a loop takes a millisecond at most.
	settle = 10 * time.Millisecond
	// swallowedAfter is how long a kill that the node accepted may take to
	// end the run. Redis raises the error at the next line of the script.
	swallowedAfter = time.Second
	// askAgain is the pause after an attempt that came to nothing.
	askAgain = 100 * time.Millisecond
	// reconnectMin and reconnectMax bound the wait for a connection.
	reconnectMin = 50 * time.Millisecond
	reconnectMax = 2 * time.Second
)

// killer ends runs on one node. Everything but report, target and killedAt
// belongs to its goroutine.
type killer struct {
	dog     *Dog
	node    *topology.Node
	running *Running
	reports chan overdue
	// target is the run that a kill is meant for, until a second after it.
	target atomic.Pointer[Run]
	// hit is who was killed in the target's stead, on the same link.
	hit atomic.Pointer[hit]

	poke    chan struct{} // the settings have changed
	conn    *conn
	cases   []overdue
	wait    time.Duration // before the next attempt to connect
	checked bool          // the threshold, on this connection
	applied uint64        // the settings it was checked with
}

// overdue is one report.
type overdue struct {
	run *Run
	// orphan tells that the run's link is gone: its end can't be seen.
	orphan bool
	told   bool // that it can't be killed
}

// hit is a call that a kill ended.
type hit struct {
	metric metrics.ScriptID
	label  string
}

// over reports that nothing is left to do for a run.
func (o *overdue) over() bool { return !o.orphan && o.run.Over() }

func (k *killer) loop(ctx context.Context) {
	defer k.drop()
	k.wait = reconnectMin
	for ctx.Err() == nil {
		if k.conn == nil && (k.dog.wanted() || len(k.cases) > 0) {
			k.connect(ctx)
		}
		if k.conn != nil && !k.checkThreshold(ctx) {
			k.drop()
			continue
		}
		if k.conn != nil && k.due() && !k.endOldest(ctx) {
			k.drop()
			continue
		}
		k.sleep(ctx)
	}
}

// sleep waits for something to do.
func (k *killer) sleep(ctx context.Context) {
	pause := time.Duration(-1)
	switch {
	case k.conn == nil && (k.dog.wanted() || len(k.cases) > 0):
		pause = k.wait
	case len(k.cases) > 0:
		pause = askAgain
	}
	var timer <-chan time.Time
	if pause >= 0 {
		t := time.NewTimer(pause)
		defer t.Stop()
		timer = t.C
	}
	var gone <-chan []string
	if k.conn != nil {
		gone = k.conn.replies
	}
	select {
	case <-ctx.Done():
	case o := <-k.reports:
		k.cases = append(k.cases, o)
	case <-k.poke:
	case _, ok := <-gone:
		if !ok {
			k.drop()
		} else if k.conn.owed > 0 {
			k.conn.owed--
		}
	case <-timer:
	}
	for {
		select {
		case o := <-k.reports:
			k.cases = append(k.cases, o)
			continue
		default:
		}
		break
	}
	k.forgetOver()
}

func (k *killer) connect(ctx context.Context) {
	dial, cancel := context.WithTimeout(ctx, k.dog.opts.ConnectTimeout)
	defer cancel()
	c, err := k.dog.opts.Dial(dial, k.node)
	if err != nil {
		k.wait = min(2*k.wait, reconnectMax)
		return
	}
	k.wait = reconnectMin
	k.checked = false
	k.conn = newConn(c)
	k.dog.opts.Metrics.Links(k.dog.opts.Metrics.Node(k.node.Addr), metrics.LinkControl, 1)
}

// drop gives up a connection that was lost: with it, perhaps, the server.
func (k *killer) drop() {
	if k.conn == nil {
		return
	}
	k.conn.close()
	k.conn = nil
	k.node.Doubt(k.dog.opts.Now())
	k.dog.opts.Metrics.Links(k.dog.opts.Metrics.Node(k.node.Addr), metrics.LinkControl, -1)
}

func (k *killer) forgetOver() {
	k.cases = slices.DeleteFunc(k.cases, func(o overdue) bool {
		if o.over() {
			o.run.reported.Store(false)
			return true
		}
		return false
	})
}

// due reports that a run is past its deadline: an orphan is reported before.
func (k *killer) due() bool {
	now := k.dog.opts.Now()
	return slices.ContainsFunc(k.cases, func(o overdue) bool { return o.run.Age(now) >= o.run.Deadline })
}

// endOldest ends what runs on the node if it is one of the cases. It reports
// false when the connection is of no more use.
func (k *killer) endOldest(ctx context.Context) bool {
	busy, err := k.probe(ctx)
	if err != nil {
		return err == errGaveUp
	}
	if !busy {
		// Nothing runs there. Links whose replies are on their way end their
		// runs by themselves; orphans have ended.
		for i := range k.cases {
			k.cases[i].run.reported.Store(false)
		}
		k.cases = k.cases[:0]
		return true
	}
	pause(ctx, settle)
	if o := k.choose(); o != nil && !o.told {
		return k.kill(ctx, o)
	}
	return true
}

// probe asks whether the node runs a script that can be killed. It waits for
// the answer as long as there is a case.
func (k *killer) probe(ctx context.Context) (busy bool, err error) {
	reply, err := k.conn.ask(ctx, func() bool { k.forgetOver(); return len(k.cases) > 0 }, "PING")
	if err != nil {
		return false, err
	}
	return strings.HasPrefix(reply[0], "-BUSY "), nil
}

// choose picks the case that runs: the oldest one whose link still waits; a
// lost one only when there is no other, and nothing younger of ours runs.
func (k *killer) choose() *overdue {
	k.forgetOver()
	now := k.dog.opts.Now()
	var best *overdue
	for i := range k.cases {
		o := &k.cases[i]
		switch {
		case o.run.Age(now) < o.run.Deadline:
		case best == nil || best.orphan && !o.orphan:
			best = o
		case o.orphan == best.orphan && o.run.Since() < best.run.Since():
			best = o
		}
	}
	if best != nil && best.orphan && k.running.Oldest() != nil {
		return nil
	}
	return best
}

// kill sends the kill, and follows what comes of it.
func (k *killer) kill(ctx context.Context, o *overdue) bool {
	r, log, age := o.run, k.dog.log(k.node, o.run), o.run.Age(k.dog.opts.Now()).Round(time.Millisecond)
	k.hit.Store(nil)
	k.target.Store(r)
	defer k.target.Store(nil)
	reply, err := k.sendKill(ctx, r.Kind, func() bool { return !o.over() })
	switch {
	case ctx.Err() != nil || err == errGaveUp:
		return true
	case err != nil:
		log.Error("a script past its deadline could not be killed: the connection for kills was lost", "ran", age)
		k.count(r, metrics.KillFailed)
		return false
	case strings.HasPrefix(reply, "+OK"):
		return k.followKill(ctx, o, age)
	case strings.HasPrefix(reply, "-NOTBUSY"):
		log.Debug("a script past its deadline had ended before the kill", "ran", age)
		k.count(r, metrics.KillNotBusy)
	case strings.HasPrefix(reply, "-UNKILLABLE"):
		o.told = true
		k.dog.Strike(r)
		log.Error("a script past its deadline has written and can't be killed; waiting for it to end", "ran", age, "deadline", r.Deadline)
		k.count(r, metrics.KillUnkillable)
	default:
		if !o.told {
			log.Error("a script past its deadline could not be killed: the node refused the kill", "ran", age, "answer", reply)
			k.count(r, metrics.KillFailed)
		}
		o.told = !strings.HasPrefix(reply, "-BUSY ")
	}
	return true
}

// sendKill sends SCRIPT KILL or FUNCTION KILL, and the other one when the
// node says that it was the wrong one.
func (k *killer) sendKill(ctx context.Context, kind Kind, needed func() bool) (string, error) {
	reply := []string{""}
	for range 2 {
		verb := "SCRIPT"
		if kind == KindFunction {
			verb = "FUNCTION"
		}
		var err error
		if reply, err = k.conn.ask(ctx, needed, verb, "KILL"); err != nil {
			return "", err
		}
		if !strings.HasPrefix(reply[0], "-BUSY ") {
			break
		}
		kind = 1 - kind
	}
	return reply[0], nil
}

// followKill waits for a run to end that the node agreed to kill.
func (k *killer) followKill(ctx context.Context, o *overdue, age time.Duration) bool {
	r, log := o.run, k.dog.log(k.node, o.run)
	if o.orphan {
		k.dog.Strike(r)
		o.orphan = false // its end can't be seen; the next probe says what runs
		log.Warn("killed a script past its deadline, whose client's connection is gone", "ran", age, "deadline", r.Deadline)
		k.count(r, metrics.KillKilled)
		return true
	}
	t := time.NewTimer(swallowedAfter)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-r.done:
		if r.end == EndKilled || r.Opaque {
			k.dog.Strike(r)
			log.Warn("killed a script past its deadline", "ran", age, "deadline", r.Deadline)
			k.count(r, metrics.KillKilled)
			break
		}
		// The replies behind it are with the loop already.
		pause(ctx, settle)
		if h := k.hit.Load(); h != nil {
			log.Warn("killed a script past its deadline, which was behind another on its link", "killed", h.label, "ran", age, "deadline", r.Deadline)
			k.dog.opts.Metrics.Kill(h.metric, metrics.KillKilled)
			break
		}
		k.dog.Strike(r)
		log.Error("a script caught the error of its kill and went on to its end: it may have written since", "ran", age, "deadline", r.Deadline)
		k.count(r, metrics.KillSwallowed)
	case <-t.C:
		k.dog.Strike(r)
		log.Error("a script caught the error of its kill and goes on; killing it again", "ran", age, "deadline", r.Deadline)
		k.count(r, metrics.KillSwallowed)
	}
	return true
}

func (k *killer) count(r *Run, result metrics.KillResult) { k.dog.opts.Metrics.Kill(r.Metric, result) }

// victim hears of a call that was killed, run or not.
func (k *killer) victim(link any, metric metrics.ScriptID, label func() string, r *Run) {
	target := k.target.Load()
	if target == nil || target == r {
		return
	}
	if link == target.Link {
		k.hit.Store(&hit{metric: metric, label: label()})
		return
	}
	k.dog.opts.Metrics.Kill(metric, metrics.KillOther)
	k.dog.opts.Logger.Error("a kill ended another script than the one it was meant for", "node", k.node.Addr, "killed", label(), "meant", target.Label)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
