//go:build linux

package proxy

import (
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// CLIENT CACHING is about the next command that the server sees on the
// connection, or the next transaction; other CLIENT commands don't count
// (networking.c, resetClient). On a session's link that need not be what the
// client sent next: the proxy may put a command of its own before it, or send
// a script call a second time, and some commands are not for that link at all.
// So the session keeps the client's word until its next command: it is said
// again right before a call that the proxy's own commands come before, and
// what never reaches the link is stood for by a PING there. A client that is
// not told of a change would have what it cached for ever.

// cachingNext are the flags of a session whose next command CLIENT CACHING is
// about. It has a link of its own then.
const cachingNext = cachingYes | cachingNo

var (
	sayYes  = []byte("*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n")
	sayNo   = []byte("*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$2\r\nNO\r\n")
	sayPing = []byte("*1\r\n$4\r\nPING\r\n")
)

// clientCaching sends CLIENT CACHING.
func (s *session) clientCaching(r *resp.Request) bool {
	p, ok := s.own(r, kindPlain)
	if p == nil || s.state&(tracking|sticky) == 0 {
		return ok
	}
	switch word := r.Arg(2); {
	case equalFold(word, "YES"):
		s.flags = s.flags&^cachingNext | cachingYes
	case equalFold(word, "NO"):
		s.flags = s.flags&^cachingNext | cachingNo
	}
	return ok
}

// sayCaching says again on a session's link what the client said; word is
// among cachingNext, or 0 when it said nothing.
func sayCaching(link *upstream.Link, word uint32) {
	request := sayYes
	switch word {
	case 0:
		return
	case cachingNo:
		request = sayNo
	}
	link.Send(request, &upstream.Call{Owner: upstream.Discard{}})
}

// cachingDone follows a request that was taken after CLIENT CACHING.
func (s *session) cachingDone(r *resp.Request) {
	seen := s.flags&cachingSeen != 0
	s.flags &^= cachingSeen
	if equalFold(r.Arg(0), "CLIENT") {
		return
	}
	s.flags &^= cachingNext
	if !seen && s.ded != nil {
		s.ded.Send(sayPing, &upstream.Call{Owner: upstream.Discard{}})
	}
}
