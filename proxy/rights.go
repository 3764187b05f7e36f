//go:build linux

package proxy

import (
	"bytes"

	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// A script call in a transaction brings its body, so that no SCRIPT FLUSH can
// come between; but to a user who may only EVALSHA the server would refuse it,
// and that ends the transaction, just as it must be ended when a user who may
// only EVAL sends EVALSHA. So the server is asked which it is before the first
// transaction of a user, where nothing has told before.

// The questions have a wrong number of keys, so that the server, which looks at
// the rights first, runs nothing and keeps no script.
var (
	askEval    = []byte("*3\r\n$4\r\nEVAL\r\n$0\r\n\r\n$2\r\n-1\r\n")
	askEvalRO  = []byte("*3\r\n$7\r\nEVAL_RO\r\n$0\r\n\r\n$2\r\n-1\r\n")
	askEvalSHA = []byte("*3\r\n$7\r\nEVALSHA\r\n$40\r\n0000000000000000000000000000000000000000\r\n$2\r\n-1\r\n")
)

// askRights asks the server, on the session's dedicated link, what is not
// known of its user. It reports whether there is an answer to wait for.
func (s *session) askRights() (wait bool) {
	for _, ro := range []bool{false, true} {
		rights := s.group.Rights(ro)
		if rights.Asked || ro && !s.ded.Node.HasReadOnlyCalls() {
			continue
		}
		if !rights.MayEval && !rights.ShasOnly {
			request := askEval
			if ro {
				request = askEvalRO
			}
			s.ask(request, scriptCall{ro: ro, withBody: true})
			rights.Asked, wait = true, true
		}
		if !ro && !rights.MayCall && !s.group.BodiesOnly {
			s.ask(askEvalSHA, scriptCall{bySHA: true})
			rights.Asked, wait = true, true
		}
	}
	if wait {
		sayCaching(s.ded, s.flags&cachingNext)
	}
	return wait
}

// ask sends a question for which c stands.
func (s *session) ask(request []byte, c scriptCall) {
	p := s.w.newPending(s, kindRights)
	p.read, p.call = true, c
	s.send(s.ded, p, request)
}

// learn takes the server's answer, which is not for the client.
func (p *pending) learn(group *upstream.Group) {
	rights := group.Rights(p.call.ro)
	may := bytes.HasPrefix(p.buf, []byte("-ERR Number of keys"))
	switch {
	case p.call.withBody && isNoPerm(p.buf):
		rights.ShasOnly = true
	case p.call.withBody && may:
		rights.MayEval = true
	case isNoPerm(p.buf):
		group.BodiesOnly = true
	case may:
		rights.MayCall = true
	}
	p.buf = p.buf[:0]
	p.finish()
}
