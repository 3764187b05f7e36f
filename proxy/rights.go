//go:build linux

package proxy

import (
	"bytes"

	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// A script call in a transaction brings its body, so that no SCRIPT FLUSH can
// come between; but to a user who may only EVALSHA the server would refuse it,
// and that ends the transaction. So the server is asked which it is before the
// first transaction of a user, where nothing has told before.

// The questions have a wrong number of keys, so that the server, which looks at
// the rights first, runs nothing and keeps no script.
var (
	askEval   = []byte("*3\r\n$4\r\nEVAL\r\n$0\r\n\r\n$2\r\n-1\r\n")
	askEvalRO = []byte("*3\r\n$7\r\nEVAL_RO\r\n$0\r\n\r\n$2\r\n-1\r\n")
)

// askRights asks the server, on the session's dedicated link, what is not
// known of its user. It reports whether there is an answer to wait for.
func (s *session) askRights() (wait bool) {
	for _, ro := range []bool{false, true} {
		rights := s.group.Rights(ro)
		if rights.MayEval || rights.ShasOnly || rights.Asked || ro && !s.ded.Node.HasReadOnlyCalls() {
			continue
		}
		rights.Asked = true
		p := s.w.newPending(s, kindRights)
		p.read, p.call.ro = true, ro
		request := askEval
		if ro {
			request = askEvalRO
		}
		s.send(s.ded, p, request)
		wait = true
	}
	if wait {
		sayCaching(s.ded, s.flags&cachingNext)
	}
	return wait
}

// learn takes the server's answer, which is not for the client.
func (p *pending) learn(rights *upstream.Rights) {
	switch {
	case isNoPerm(p.buf):
		rights.ShasOnly = true
	case bytes.HasPrefix(p.buf, []byte("-ERR Number of keys")):
		rights.MayEval = true
	}
	p.buf = p.buf[:0]
	p.finish()
}
