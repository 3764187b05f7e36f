//go:build linux

package proxy

import (
	"context"
	"slices"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// Where the server's ACL enforces the policy, a client's user may run what is
// loaded but load nothing: neither EVAL nor SCRIPT LOAD. Its calls then go as
// EVALSHA always, and what they need is loaded by the proxy's own user, on a
// connection of its own, before they are sent. There is no order between two
// connections, so the session waits meanwhile. Inside MULTI a script is
// loaded when its first call is queued, whatever is believed of the node:
// when EXEC runs the call, nothing can be mended any more.

// apartTimeout bounds one load on a connection of its own.
const apartTimeout = 5 * time.Second

// loadsApart reports that the session's user may not load a script that the
// proxy may load for it.
func (s *session) loadsApart(script *Script) bool {
	set := &s.w.gen.Settings
	learned := s.w.srv.apart.Load()
	if len(set.LoadApart) == 0 && learned == nil || !s.mayLoadApart(script) {
		return false
	}
	user := s.serverUser()
	return set.LoadApart[user] || learned != nil && (*learned)[user]
}

// mayLoadApart reports whether the proxy's own user may load a script for one
// who may not. Registered scripts it has loaded anyway. With what a client
// brings, the server's ACL would be got around, if there were no policy that
// has let it in instead.
func (s *session) mayLoadApart(script *Script) bool {
	return script.Name != "" || s.w.gen.Policy.enforces()
}

// serverUser is the user of the server that the session's requests travel as.
func (s *session) serverUser() string {
	if user := s.group.Key().Identity.User; user != "" {
		return user
	}
	return "default"
}

// loadApartFor notes that the server refused a user SCRIPT LOAD or EVAL,
// where nobody could tell beforehand.
func (s *Server) loadApartFor(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	users := map[string]bool{user: true}
	if old := s.apart.Load(); old != nil {
		if (*old)[user] {
			return
		}
		for name := range *old {
			users[name] = true
		}
	}
	s.apart.Store(&users)
	s.log.Info("the server lets a user load no scripts: the proxy's own user does it", "user", user)
}

// apartLoad is one load that is under way.
type apartLoad struct {
	node   *topology.Node
	script *Script
}

// loadApart loads a script through the proxy's own user and then calls every
// then on the loop, with the error for the client or nothing.
func (w *worker) loadApart(n *topology.Node, script *Script, then func(refusal string)) {
	l := apartLoad{n, script}
	if w.apart == nil {
		w.apart = make(map[apartLoad][]func(string))
	}
	waiting, underWay := w.apart[l]
	w.apart[l] = append(waiting, then)
	if underWay {
		return
	}
	go func() {
		refusal := w.srv.loadOn(n, script)
		w.loop.Do(func() {
			waiting := w.apart[l]
			delete(w.apart, l)
			for _, then := range waiting {
				then(refusal)
			}
		})
	}()
}

// loadOn loads a script on a node. It returns the error for those who called
// it, in full, or nothing.
func (s *Server) loadOn(n *topology.Node, script *Script) (refusal string) {
	if s.load == nil {
		return "-UNAVAILABLE the proxy has no user that may load scripts: the command did not run\r\n"
	}
	ctx, cancel := context.WithTimeout(context.Background(), apartTimeout)
	defer cancel()
	epoch := n.Epoch()
	refused, err := s.load(ctx, n, script)
	switch {
	case err != nil:
		return unavailable(n, false, err)
	case isNoPerm([]byte("-" + refused)):
		return "-UNAVAILABLE the proxy's own user may not load scripts on " + n.Addr + " (" + oneLine(refused) + "): the command did not run\r\n"
	case refused != "":
		return "-" + oneLine(refused) + crlf
	}
	script.SetLoaded(n.Index, epoch)
	script.proven.Store(true)
	return ""
}

// loadFirst sees to it that a call's script is on the node before the call is
// sent. The session waits where it is not.
func (s *session) loadFirst(n *topology.Node, script *Script) routing {
	inTx := s.state&inMulti != 0
	if inTx && s.ext != nil && s.ext.queued[script] || !inTx && script.LoadedOn(n.Index, n.Epoch()) {
		return routed
	}
	if e := s.ext; e != nil && e.notLoaded == script {
		text := e.refusal
		e.notLoaded, e.refusal = nil, ""
		s.w.shard.ScriptCall(metricOf(script), metrics.RouteLocal, metrics.OutcomeError, -1, false)
		s.turnAway(nil, text)
		return answered
	}
	s.hold(holdScript)
	s.w.loadApart(n, script, func(refusal string) {
		e := s.needExtra()
		switch {
		case refusal != "":
			e.notLoaded, e.refusal = script, refusal
		case s.state&inMulti != 0:
			if e.queued == nil {
				e.queued = make(map[*Script]bool)
			}
			e.queued[script] = true
		}
		s.unhold(holdScript)
	})
	return waiting
}

// sendApart sends a call anew, as EVALSHA, once its script is loaded on the
// link's node. Nothing of the session may be sent meanwhile.
func (p *pending) sendApart(link *upstream.Link, request []byte) bool {
	c := &p.call
	p.buf = p.buf[:0]
	p.s.flags |= holdDrain
	p.w.loadApart(link.Node, c.script, func(refusal string) { p.sendLoaded(request, refusal) })
	return true
}

func (p *pending) sendLoaded(request []byte, refusal string) {
	s, c := p.s, &p.call
	if s == nil {
		p.w.putPending(p)
		return
	}
	if refusal == "" && !p.link.Alive() {
		if link, err := s.group.Shared(p.link.Node); err == nil && !p.link.Dedicated {
			p.link, s.cur = link, link
		} else {
			refusal = unavailable(p.link.Node, false, err)
		}
	}
	var r resp.Request
	if n, err := r.Parse(request, &resp.DefaultLimits); refusal == "" && (err != nil || n == 0) {
		refusal = unavailable(p.link.Node, false, err)
	}
	if refusal != "" {
		p.account(metrics.OutcomeError)
		p.answer(refusal)
		return
	}
	verb := r.Arg(0)
	ro := verb[len(verb)-1] == 'O' && !c.asRO
	p.place(p.link, ro)
	c.bySHA, c.begun, c.failed = true, false, false
	if c.script.quotesNoScript {
		c.load = p.w.existence(p.link, c.script)
	}
	sayCaching(p.link, c.caching)
	buf := p.link.Begin(len(request) + 64)
	buf = appendCall(buf, r.Len(), c.script, false, ro || c.asRO)
	p.link.End(append(buf, r.Tail(2)...), &p.Call)
}

// existence asks, ahead of a call, whether the node knows its script: for
// scripts whose own NOSCRIPT could not be told from Redis's.
func (w *worker) existence(link *upstream.Link, script *Script) *loadResult {
	l := &existing{result: &loadResult{}}
	l.call.Owner = l
	buf := link.Begin(96)
	buf = append(buf, "*3\r\n$6\r\nSCRIPT\r\n$6\r\nEXISTS\r\n$40\r\n"...)
	buf = append(buf, script.SHA...)
	link.End(append(buf, crlf...), &l.call)
	return l.result
}

type existing struct {
	call   upstream.Call
	reply  []byte
	result *loadResult
}

func (l *existing) Reply(_ *upstream.Call, piece []byte, done bool) {
	l.reply = append(l.reply, piece...)
	if done {
		l.result.missing = string(l.reply) == "*1\r\n:0\r\n"
	}
}

func (l *existing) Lost(*upstream.Call, bool, error) {}

// scriptLoad answers SCRIPT LOAD of a client whose user may not load: the
// proxy's own user does, on every node.
func (s *session) scriptLoad(script *Script) bool {
	if s.head != nil {
		return s.hold(holdDrain)
	}
	view := s.view()
	if view.Primary == nil {
		s.replyDynamic("-UNAVAILABLE no primary: " + view.Why + ": the command did not run\r\n")
		return true
	}
	p := s.w.newPending(s, kindAsync)
	p.read = true
	s.enqueue(p)
	s.flags |= holdDrain
	answer := "$40\r\n" + script.SHA + crlf
	left := 0
	for _, n := range view.All {
		if n != view.Primary && !n.Up() {
			continue
		}
		left++
		s.w.loadApart(n, script, func(refusal string) {
			if refusal != "" && n == view.Primary {
				answer = refusal
			}
			if left--; left == 0 {
				p.answer(answer)
			}
		})
	}
	return true
}

// noteUser notes a user of the server that clients' requests travel as.
func (s *Server) noteUser(name string) {
	if _, known := s.users.Load(name); !known {
		s.users.Store(name, true)
	}
}

// Users are the users of the server that clients' requests have travelled as
// while there was a policy, in the order of their names. Any goroutine may
// call it.
func (s *Server) Users() []string {
	var names []string
	s.users.Range(func(name, _ any) bool {
		names = append(names, name.(string))
		return true
	})
	slices.Sort(names)
	return names
}
