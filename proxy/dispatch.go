//go:build linux

package proxy

import (
	"cmp"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
)

// dispatch decides one request, and sends it on or answers it. It returns
// false when the request has to wait: the session is then held, and the same
// request comes again. more tells that the client has already sent what
// follows.
func (s *session) dispatch(r *resp.Request, more bool) bool {
	w := s.w
	cmd := w.gen.Commands.Lookup(r.Arg(0))
	w.class, w.rank = requestClass(cmd), watchdog.RankNormal
	if cmd == nil && isHTTP(r.Arg(0)) {
		w.shard.Error(metrics.ErrProtocol)
		s.Close(errHTTP)
		return true
	}
	if s.flags&authenticated == 0 && s.refuse(cmd, r) {
		return true
	}
	if p := w.gen.Policy; p != nil && p.asks(cmd) && s.forbidden(p, cmd, r) {
		return true // script calls are judged when it is known what they run
	}
	if cmd == nil {
		// Not known here: a module's or a newer server's command. It may
		// write, block, or change the connection for good.
		return s.keepDedicated(r, kindUnknown)
	}
	s.last = cmd
	if cmd.IsContainer() && r.Len() > 1 {
		s.last = cmp.Or(cmd.Sub(r.Arg(1)), cmd)
	}
	if s.inflight >= uint32(w.gen.Settings.Pipeline) {
		return s.hold(holdDrain)
	}
	if s.state&subscribed != 0 && s.flags&resp3 == 0 && !cmd.Op.IsSubscription() {
		// RESP2's subscriber mode, which the server ends with the last
		// confirmation. It refuses what it doesn't take there.
		if s.head != nil {
			return s.hold(holdDrain)
		}
		if !cmd.Op.ForSubscribers() {
			return s.forward(r, false)
		}
	}
	if cmd.Op != command.OpNone && !cmd.Absent && cmd.ArityOK(r.Len()) {
		switch cmd.Op {
		case command.OpPing:
			return s.ping(cmd, r)
		case command.OpEval, command.OpEvalRO, command.OpEvalSha, command.OpEvalShaRO:
			return s.callScript(cmd, r, more)
		case command.OpFCall, command.OpFCallRO:
			return s.callFunction(cmd, r)
		case command.OpScript, command.OpFunction:
			return s.scriptAdmin(cmd, r)
		case command.OpMulti, command.OpExec, command.OpDiscard, command.OpWatch, command.OpUnwatch:
			return s.transaction(cmd, r)
		case command.OpSubscribe, command.OpPSubscribe, command.OpSSubscribe,
			command.OpUnsubscribe, command.OpPUnsubscribe, command.OpSUnsubscribe:
			return s.subscribe(cmd, r)
		case command.OpMonitor, command.OpSync, command.OpDebug, command.OpShutdown, command.OpReadonly, command.OpReadwrite, command.OpAsking:
			return s.keepDedicated(r, kindKeep)
		case command.OpAuth, command.OpHello, command.OpSelect, command.OpReset, command.OpQuit, command.OpClient:
			return s.identity(cmd, r)
		}
	}
	if s.whoAmI(cmd, r) {
		return true
	}
	if cmd.BlocksWith(r.Len(), r.Arg) {
		return s.block(r)
	}
	return s.forward(r, s.readOnly(cmd, r))
}

// readOnly tells whether a request may run on a replica, and twice.
func (s *session) readOnly(cmd *command.Command, r *resp.Request) bool {
	if cmd.IsContainer() && r.Len() > 1 {
		if sub := cmd.Sub(r.Arg(1)); sub != nil {
			cmd = sub
		}
	}
	return cmd.ReplicaOK()
}

// forward sends a request as it came.
func (s *session) forward(r *resp.Request, read bool) bool {
	link, st := s.linkFor(read && s.w.gen.Settings.ReplicaReads, read)
	if st != routed {
		return st == answered
	}
	p := s.w.newPending(s, kindPlain)
	p.read = read
	s.send(link, p, r.Raw())
	return true
}
