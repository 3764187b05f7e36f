//go:build linux

package proxy

// A call that was admitted holds a place of its rule's gate. The pending of
// its reply holds it from when the request is sent, and leaves when the reply
// has come or can't come any more. A call that MULTI queued runs with EXEC,
// so its place is held by the session until then, and by EXEC's pending from
// then on.

// settle ends the ruling on a request: taken tells that it was sent or
// answered, and not left waiting. A plain command that waits has been let in
// already; it is not counted again when it comes again.
func (s *session) settle(taken bool) {
	u := &s.w.ruling
	switch {
	case taken || !s.Open():
		s.flags &^= letIn
		if u.gate != nil {
			u.gate.Release() // no pending took it over
		}
		s.leaveHeld()
	case u.plain != nil:
		s.flags |= letIn
		if u.gate != nil {
			s.needExtra().gate = u.gate
		}
	}
	*u = ruling{}
}

// leaveHeld gives back what a request held that was left waiting.
func (s *session) leaveHeld() {
	if s.ext != nil && s.ext.gate != nil {
		s.ext.gate.Release()
		s.ext.gate = nil
	}
}

// holdGate gives the place of the call that is being dispatched to its
// pending or, inside MULTI, to the session.
func (w *worker) holdGate(p *pending) {
	g := w.ruling.gate
	w.ruling.gate = nil
	if s := p.s; s.state&inMulti != 0 {
		e := s.needExtra()
		e.gates = append(e.gates, g)
		return
	}
	p.gate = g
}

// leaveGates gives back what a call held.
func (p *pending) leaveGates() {
	if p.gate != nil {
		p.gate.Release()
		p.gate = nil
	}
	for _, g := range p.gates {
		g.Release()
	}
	p.gates = nil
}

// endTransaction ends what the session knows of its transaction, and gives
// what the calls in it hold to the pending that ends it.
func (s *session) endTransaction(p *pending) {
	s.state &^= inMulti | watching
	if s.ext != nil {
		p.gates, s.ext.gates = s.ext.gates, nil
	}
}

// leaveTransaction gives back what the calls of a transaction hold that will
// not be run.
func (s *session) leaveTransaction() {
	if s.ext == nil {
		return
	}
	for _, g := range s.ext.gates {
		g.Release()
	}
	s.ext.gates = nil
	s.ext.multi.leave()
	s.ext.multi = nil
}
