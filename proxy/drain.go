//go:build linux

package proxy

import (
	"context"
	"strconv"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
	"golang.org/x/sys/unix"
)

// How sessions end when the server drains.
//
// What a client has sent and the proxy has read is answered first; then its
// connection is closed. A client that never stops sending is refused after a
// while, each request with the word that it did not run. A blocked command is ended as CLIENT UNBLOCK ERROR
// does, so that the client gets either what the command has taken or
// -UNBLOCKED, and nothing that was taken is lost. Subscribers and monitors get what
// was published before (see hearOut). Open transactions are discarded.

const (
	// unblockEvery is how often blocked commands are looked for while the
	// server drains. One that has not reached its server is not ended by the
	// first try.
	unblockEvery = 50 * time.Millisecond
	// lingerFor bounds how long a client that is sending still is listened to
	// after it was told that nothing more comes.
	lingerFor = 2 * time.Second
	// takeFor bounds how long requests are taken while the server drains: half
	// of the time that there is, if that is shorter. That half is the bound for
	// what is behind a request of the same client that is not answered yet.
	takeFor = time.Second
	// hearFor bounds how long a subscriber is kept for what its server has
	// sent it, hearEvery is how often it is looked for.
	hearFor   = 500 * time.Millisecond
	hearEvery = time.Millisecond
)

const drainRefusal = "-UNAVAILABLE the proxy is shutting down: the command did not run\r\n"

// Drain stops accepting, lets every session finish what it asked, and closes
// it. It returns how many sessions were left when ctx ended.
func (s *Server) Drain(ctx context.Context) int {
	s.mu.Lock()
	s.draining.Store(true)
	for _, ln := range s.listeners {
		ln.Close()
	}
	s.mu.Unlock()
	for _, w := range s.workers {
		w.loop.Do(func() {
			for _, sess := range w.sessions {
				sess.drain()
			}
			w.unblockAll()
		})
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	take, takeBehind := takeFor, takeFor
	if end, ok := ctx.Deadline(); ok {
		takeBehind = time.Until(end) / 2
		take = min(take, takeBehind)
	}
	refuse, refuseBehind := time.After(take), time.After(takeBehind)
	for s.sessions.Load() > 0 {
		select {
		case <-ctx.Done():
			return int(s.sessions.Load())
		case <-refuse:
			for _, w := range s.workers {
				w.loop.Do(func() { w.refuseAll(holdDrain) })
			}
		case <-refuseBehind:
			for _, w := range s.workers {
				w.loop.Do(func() { w.refuseAll(0) })
			}
		case <-tick.C:
		}
	}
	return 0
}

// refuseAll ends what sessions may ask, but for those with one of some flags.
func (w *worker) refuseAll(but uint32) {
	for _, s := range w.sessions {
		if s.upload == nil && !s.blocked && s.flags&but == 0 {
			s.flags |= refusing
			s.Kick()
		}
	}
}

// refuseRest answers what the session has sent and was not taken, and takes no
// more.
func (s *session) refuseRest(data []byte) {
	limits := &s.w.gen.Settings.Request
	r := s.req
	if r == nil {
		r = s.w.request
	}
	for len(data) > 0 {
		n, err := r.Parse(data, limits)
		if n == 0 || err != nil {
			break
		}
		if r.Len() > 0 {
			s.reply(drainRefusal)
		}
		data = data[n:]
		r.Reset()
	}
	s.dropRequest(r)
	s.endAfterReplies(errDrained)
}

// drain ends a session when what it has asked is answered. What it has sent
// and was not taken yet is taken first.
func (s *session) drain() {
	s.flags |= finishing
	if unread, err := unix.IoctlGetInt(s.FD(), unix.SIOCINQ); err == nil && unread > 0 {
		return // it is about to be read
	}
	if !s.done() {
		s.Kick()
	}
}

// unblockAll ends the commands that block, now and from time to time.
func (w *worker) unblockAll() {
	for _, s := range w.sessions {
		if s.blocked && s.ded != nil && s.ded.ServerID() != 0 {
			s.unblock()
		}
	}
	w.loop.After(unblockEvery, w.unblockAll)
}

// unblock has the server end the session's blocked command. It asks as the
// session's own user; where that one may not, the connection is closed.
func (s *session) unblock() {
	link, err := s.ded.Group().Shared(s.ded.Node)
	if err != nil {
		s.Close(errDrained)
		return
	}
	u := &unblocking{s: s}
	u.call.Owner = u
	id := strconv.FormatUint(s.ded.ServerID(), 10)
	link.Send(resp.AppendCommand(nil, "CLIENT", "UNBLOCK", id, "ERROR"), &u.call)
}

// unblocking waits for the answer to CLIENT UNBLOCK. A 0 says that the command
// has not begun to block or has ended: either way it is answered soon, or
// looked at again.
type unblocking struct {
	call upstream.Call
	s    *session
	seen bool
}

func (u *unblocking) Reply(_ *upstream.Call, piece []byte, _ bool) {
	if !u.seen && piece[0] == '-' && u.s.blocked {
		u.s.Close(errDrained)
	}
	u.seen = true
}

func (u *unblocking) Lost(*upstream.Call, bool, error) {}

// leave closes a session that has all its replies. A client of a server that
// drains may be sending still, or be slow to read: closing with unread bytes
// would have the kernel throw away replies that the client has not taken, so it
// is told that no more comes, and its own end awaited.
func (s *session) leave(why error) {
	if s.w.srv.draining.Load() && s.ded != nil && s.state&(subscribed|tracking|sticky) != 0 && s.flags&heard == 0 {
		s.hearOut()
		return
	}
	if !s.w.srv.draining.Load() || s.settledWith() {
		s.Close(why)
		return
	}
	if s.flags&leaving != 0 {
		return
	}
	s.flags |= leaving | closing
	unix.Shutdown(s.FD(), unix.SHUT_WR)
	s.Conn.Resume()
	s.w.loop.After(lingerFor, func() { s.Close(why) })
}

// settledWith reports that the client has taken all that it was sent, and has
// sent nothing that was not read.
func (s *session) settledWith() bool {
	unread, err := unix.IoctlGetInt(s.FD(), unix.SIOCINQ)
	if err != nil || unread > 0 {
		return err != nil
	}
	unsent, err := unix.IoctlGetInt(s.FD(), unix.SIOCOUTQ)
	return err != nil || unsent == 0
}

// hearOut keeps a session to which its server sends unasked until it has what
// was sent before the drain began. Redis writes what it has for its clients
// before it takes requests again, so that the answer to a PING comes behind
// it: on a link of its own, since the session's may not answer (CLIENT REPLY
// OFF).
func (s *session) hearOut() {
	if s.flags&hearing != 0 {
		return
	}
	s.flags |= hearing
	t := &lastWords{s: s}
	t.call.Owner = t
	s.w.loop.After(hearFor, t.end)
	link, err := s.ded.Group().Shared(s.ded.Node)
	if err != nil {
		t.end()
		return
	}
	link.Send(resp.AppendCommand(nil, "PING"), &t.call)
}

// lastWords waits for the answer to hearOut's PING, and then until the session
// has passed on what came before it.
type lastWords struct {
	call upstream.Call
	s    *session
}

func (t *lastWords) Reply(_ *upstream.Call, _ []byte, done bool) {
	if done {
		t.await()
	}
}

func (t *lastWords) Lost(*upstream.Call, bool, error) { t.end() }

// await ends the wait when nothing is left to read, or to send.
func (t *lastWords) await() {
	s := t.s
	if !s.Open() || s.flags&heard != 0 {
		return
	}
	if s.ded != nil && s.ded.Open() {
		if unread, err := unix.IoctlGetInt(s.ded.FD(), unix.SIOCINQ); err == nil && unread > 0 || s.out != nil {
			s.w.loop.After(hearEvery, t.await)
			return
		}
	}
	t.end()
}

// end closes the session, unless it has asked for something meanwhile: then
// that is answered first.
func (t *lastWords) end() {
	if s := t.s; s.Open() && s.flags&heard == 0 {
		s.flags |= heard
		s.done()
	}
}
