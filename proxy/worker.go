//go:build linux

package proxy

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/policy"
	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
)

// worker is what one loop has of its own: sessions, links, memory, counters.
type worker struct {
	srv     *Server
	loop    *loop.Loop
	pool    *upstream.Pool
	shard   *metrics.Shard
	gen     *Generation
	seen    []*seenScripts // by backend
	flights flights
	protect protect
	waiting atomic.Int64            // sessions held for a node, for other goroutines
	foreign map[foreignScript]int64 // see Server.Foreign

	// What the policy needs on this loop; see policy_decide.go.
	ruling     ruling
	moment     *policy.Moment
	minuteEnds int64
	keys       []int                     // scratch
	unknown    map[string]*policy.Target // shas and functions
	texts      map[string]string
	told       []told
	toldBy     *Policy
	apart      map[apartLoad][]func(string)

	sessions map[uint64]*session
	request  *resp.Request   // for frames that are complete at once
	class    metrics.Class   // of the request that dispatch took last
	rank     watchdog.Rank   // likewise; see protect_rank.go
	turned   metrics.Outcome // of a script call that linkFor answered
	spare    []*resp.Request
	random   uint64 // state of sampled
	free     *pending
	turn     int               // round robin over replicas
	anon     []*upstream.Group // by backend
}

func newWorker(s *Server, l *loop.Loop, o upstream.Options, nodes []*topology.Node) *worker {
	w := &worker{
		srv: s, loop: l, shard: s.metrics.NewShard(),
		sessions: make(map[uint64]*session), request: new(resp.Request), gen: s.gen.Load(),
		random: rand.Uint64() | 1,
	}
	o.OnRefused = w.refused
	w.initProtect(s.dog, nodes)
	w.pool = upstream.NewPool(l, o)
	for i, b := range s.backends {
		g := w.pool.Group(upstream.Key{Backend: i, Identity: b.Identity, Proto: 2})
		g.Sessions = 1 // the way of every new session: kept for good
		w.anon = append(w.anon, g)
		w.seen = append(w.seen, newSeenScripts())
	}
	l.OnTurn = w.shard.Tick
	return w
}

// anonymous is the group of a session that did not say who it is.
func (w *worker) anonymous(s *session) *upstream.Group {
	return w.anon[w.srv.listenerBackend(int(s.listener))]
}

// sweepEvery is how often idle links and sessions are looked for.
const sweepEvery = time.Second

func (w *worker) sweep() {
	w.pool.Sweep()
	if idle := w.gen.Settings.IdleTimeout; idle > 0 {
		now := w.loop.Now()
		for _, s := range w.sessions {
			if s.head == nil && s.ded == nil && now-s.lastActive > int64(idle) {
				w.shard.Error(metrics.ErrIdleTimeout)
				s.Close(errIdleClient)
			}
		}
	}
	for _, s := range w.sessions {
		if s.flags&soft != 0 && s.out != nil {
			s.tooMuch(len(s.out.B) - int(s.outOff))
		}
	}
	if w.loop.Index == 0 {
		w.srv.sweepBreakers(w.loop.Now())
	}
	w.loop.After(sweepEvery, w.sweep)
}

func (w *worker) newRequest() *resp.Request {
	if n := len(w.spare); n > 0 {
		r := w.spare[n-1]
		w.spare = w.spare[:n-1]
		return r
	}
	return new(resp.Request)
}

func (w *worker) putRequest(r *resp.Request) {
	r.Reset()
	if len(w.spare) < 64 {
		w.spare = append(w.spare, r)
	}
}

func (w *worker) newPending(s *session, kind pendingKind) *pending {
	p := w.free
	if p == nil {
		p = new(pending)
		p.Owner = p
		p.w = w
	} else {
		w.free = p.next
		p.next = nil
	}
	p.s, p.kind = s, kind
	p.mute = s.flags&(muted|skipNext) != 0
	if w.ruling.gate != nil {
		w.holdGate(p)
	}
	return p
}

func (w *worker) putPending(p *pending) {
	if p.call.flight != 0 {
		w.flights.end(p.call.flight)
	}
	p.leaveGates()
	buf := p.buf
	if cap(buf) > 4096 {
		buf = nil
	}
	*p = pending{w: w, buf: buf[:0], next: w.free}
	p.Owner = p
	w.free = p
}
