//go:build linux

package proxy

import (
	"bytes"

	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// Inside MULTI a call travels with its body, so that a node which lost the
// script can't spoil the transaction; but a user who may not EVAL would lose
// the transaction by that. So before the first such call of an identity the
// server is asked, with an EVAL that does nothing, on the shared link.

// rightsAsked waits for the answer.
type rightsAsked struct {
	call  upstream.Call
	w     *worker
	group *upstream.Group
	id    uint64 // of the session that waits
	ro    bool
	reply []byte
}

// mayEval tells whether it is known if the session's user has EVAL, or
// EVAL_RO. When it is not, the server is asked, the session is held, and the
// request comes again.
func (s *session) mayEval(node *topology.Node, ro bool) routing {
	rights := s.group.Rights(ro)
	if rights.MayEval || rights.ShasOnly || s.needExtra().askedRights {
		return routed
	}
	link, err := s.group.Shared(node)
	if err != nil {
		return routed // the dedicated link will tell
	}
	s.ext.askedRights = true // once a transaction, whatever comes of it
	a := &rightsAsked{w: s.w, group: s.group, id: s.id, ro: ro}
	a.call.Owner = a
	request := "*3\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n0\r\n"
	if ro {
		request = "*3\r\n$7\r\nEVAL_RO\r\n$8\r\nreturn 1\r\n$1\r\n0\r\n"
	}
	link.Send([]byte(request), &a.call)
	s.hold(holdLink)
	return waiting
}

func (a *rightsAsked) Reply(_ *upstream.Call, piece []byte, done bool) {
	a.reply = append(a.reply, piece...)
	if !done {
		return
	}
	rights := a.group.Rights(a.ro)
	switch {
	case isNoPerm(a.reply):
		rights.ShasOnly = true
	case bytes.HasPrefix(a.reply, []byte(":")):
		rights.MayEval = true
	}
	a.resume()
}

func (a *rightsAsked) Lost(*upstream.Call, bool, error) { a.resume() }

func (a *rightsAsked) resume() {
	if s := a.w.sessions[a.id]; s != nil {
		s.Resume()
	}
}
