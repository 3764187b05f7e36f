//go:build linux

package proxy

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
	"github.com/tidwall/redcon"
)

// ping answers PING here, so that health checks pass by whatever runs on the
// server. Inside MULTI it is queued like any other command.
func (s *session) ping(cmd *command.Command, r *resp.Request) bool {
	if s.state&inMulti != 0 || r.Len() > 2 {
		return s.forward(r, true)
	}
	w := s.w
	outcome := metrics.PingPong
	if w.gen.Settings.Ping == PingUpstream {
		var down string
		if outcome, down = s.backend().pingOutcome(w.gen.Settings.PingGrace); outcome == metrics.PingUnavailable {
			w.shard.Ping(outcome)
			s.reply(down)
			return true
		}
	}
	w.shard.Ping(outcome)
	inSubscriber := s.state&subscribed != 0 && s.flags&resp3 == 0
	switch {
	case inSubscriber:
		// In RESP2's subscriber mode the answer has the form of a message
		// (server.c, pingCommand).
		b := redcon.AppendArray(nil, 2)
		b = redcon.AppendBulkString(b, "pong")
		if r.Len() == 2 {
			b = redcon.AppendBulk(b, r.Arg(1))
		} else {
			b = redcon.AppendBulkString(b, "")
		}
		s.reply(string(b))
	case r.Len() == 2:
		if s.head == nil && s.flags&(muted|skipNext) == 0 {
			if s.out == nil {
				s.out = w.loop.GetBuffer()
			}
			s.out.B = redcon.AppendBulk(s.out.B, r.Arg(1))
			s.emitted()
		} else {
			s.reply(string(redcon.AppendBulk(nil, r.Arg(1))))
		}
	default:
		s.reply("+PONG\r\n")
	}
	return true
}

// identity takes the commands that speak of the connection itself.
func (s *session) identity(cmd *command.Command, r *resp.Request) bool {
	if s.state&inMulti != 0 && cmd.Op != command.OpQuit && cmd.Op != command.OpReset {
		return s.inTransaction(cmd, r)
	}
	switch cmd.Op {
	case command.OpQuit:
		s.quit()
		return true
	case command.OpReset:
		return s.reset()
	case command.OpSelect:
		return s.selectDB(r)
	case command.OpAuth:
		return s.auth(r)
	case command.OpHello:
		return s.hello(r)
	}
	return s.client(cmd, r)
}

func (s *session) quit() {
	if s.head == nil {
		s.reply("+OK\r\n")
		s.endAfterReplies(errQuit)
		return
	}
	s.reply("+OK\r\n")
	s.tail.last = true
	s.flags |= closing
}

// reset brings the session back to where it began (networking.c, resetCommand).
func (s *session) reset() bool {
	if s.head != nil {
		return s.hold(holdDrain)
	}
	if s.ded != nil {
		s.state |= tainted
		s.state &= tainted
		s.blocked = false
		s.dropDedicated(errReleased)
		s.cur = nil
		s.state = 0
	}
	if s.ext != nil {
		s.ext = s.ext.fresh()
	}
	s.flags &^= resp3 | authenticated
	s.setGroup(s.w.anonymous(s))
	s.letIn()
	s.reply("+RESET\r\n")
	return true
}

// maxDB bounds the databases a session may ask for; servers have 16 unless
// told otherwise, and answer for the rest.
const maxDB = 1 << 20

// selectDB asks the server on the link of the database asked for, which
// learns thereby whether it exists.
func (s *session) selectDB(r *resp.Request) bool {
	if s.head != nil {
		return s.hold(holdDrain)
	}
	db, err := strconv.Atoi(string(r.Arg(1)))
	if err != nil || db < 0 || db >= maxDB {
		return s.forward(r, false) // the server words the error
	}
	k := s.group.Key()
	if s.ded != nil {
		// The dedicated link goes along; nobody else gets it afterwards.
		k.DB = db
		p, ok := s.own(r, kindSelect)
		if p != nil {
			p.group = s.group.With(k)
			s.state |= tainted
			s.flags |= holdDrain
		}
		return ok
	}
	k.DB = db
	return s.onGroup(s.group.With(k), r.Raw(), kindSelect)
}

// onGroup sends a request on the primary's shared link of another group,
// which becomes the session's when the server agrees.
func (s *session) onGroup(g *upstream.Group, request []byte, kind pendingKind) bool {
	view := s.view()
	if view.Primary == nil {
		s.replyDynamic("-UNAVAILABLE no primary: " + view.Why + ": the command did not run\r\n")
		return true
	}
	link, err := g.Shared(view.Primary)
	if err != nil {
		if text, ok := refusalOf(err); ok {
			s.reply(text)
			return true
		}
		s.w.shard.Error(metrics.ErrUnavailable)
		s.replyDynamic(unavailable(view.Primary, false, err))
		return true
	}
	p := s.w.newPending(s, kind)
	p.group = g
	p.read = true
	s.send(link, p, request)
	s.flags |= holdDrain
	return true
}

// refusalOf is what the server said to a link that began with what a client
// asks for, such as a database which it doesn't have.
func refusalOf(err error) (text string, ok bool) {
	var refused *upstream.HandshakeError
	if !errors.As(err, &refused) {
		return "", false
	}
	return "-" + refused.Text + crlf, true
}

// setGroup moves the session to another group of links.
func (s *session) setGroup(g *upstream.Group) {
	s.group.Sessions--
	g.Sessions++
	s.group = g
	s.standing = nil // perhaps another user
}

// greeting is what HELLO asked for besides AUTH.
type greeting struct {
	proto int
	name  *string
}

// hello switches protocols, and answers for the server with the session's id.
func (s *session) hello(r *resp.Request) bool {
	if s.head != nil {
		return s.hold(holdDrain)
	}
	g := &greeting{proto: s.group.Key().Proto}
	i := 1
	if r.Len() > 1 {
		v, err := strconv.Atoi(string(r.Arg(1)))
		if err != nil && !strings.HasPrefix(s.backend().Topology.Hello().Version, "6.0.") {
			s.reply("-ERR Protocol version is not an integer or out of range\r\n")
			return true
		}
		if v != 2 && v != 3 {
			s.reply("-NOPROTO unsupported protocol version\r\n")
			return true
		}
		g.proto = v
		i = 2
	}
	var user, password string
	auth := false
	for ; i < r.Len(); i++ {
		left := r.Len() - 1 - i
		switch {
		case equalFold(r.Arg(i), "AUTH") && left >= 2:
			user, password, auth = string(r.Arg(i+1)), string(r.Arg(i+2)), true
			i += 2
		case equalFold(r.Arg(i), "SETNAME") && left >= 1:
			name := string(r.Arg(i + 1))
			if !validName(name) {
				s.reply("-ERR Client names cannot contain spaces, newlines or special characters.\r\n")
				return true
			}
			g.name = &name
			i++
		default:
			s.reply(fmt.Sprintf("-ERR Syntax error in HELLO option '%s'\r\n", oneLine(string(r.Arg(i)))))
			return true
		}
	}
	if auth && !s.w.srv.service {
		return s.authenticate(user, password, resp.AppendCommand(nil, "AUTH", user, password), g)
	}
	if auth {
		if refusal := s.login([]byte(user), []byte(password)); refusal != "" {
			s.reply(refusal)
			return true
		}
	}
	if s.flags&authenticated == 0 {
		s.reply(s.backend().helloNoAuth())
		return true
	}
	k := s.group.Key()
	k.Proto = g.proto
	if s.ded != nil {
		// The dedicated link goes along; nobody else gets it afterwards, since
		// it is not of the session's group then.
		p := s.w.newPending(s, kindSelect)
		p.group, p.greeting, p.read = s.w.pool.Group(k), g, true
		s.send(s.ded, p, resp.AppendCommand(nil, "HELLO", strconv.Itoa(g.proto)))
		s.flags |= holdDrain
		return true
	}
	s.setGroup(s.w.pool.Group(k))
	s.reply(s.greet(g))
	return true
}

// greet takes over what HELLO asked for, and returns the reply.
func (s *session) greet(g *greeting) string {
	if g.name != nil {
		s.needExtra().name = *g.name
	}
	s.flags &^= resp3
	if g.proto == 3 {
		s.flags |= resp3
	}
	if s.ded != nil {
		s.ded.SetTap(s, s.state&subscribed != 0 && g.proto == 2)
	}
	h := s.backend().Topology.Hello()
	var b []byte
	if g.proto == 3 {
		b = append(b, "%7\r\n"...)
	} else {
		b = redcon.AppendArray(b, 14)
	}
	b = redcon.AppendBulkString(b, "server")
	b = redcon.AppendBulkString(b, h.Server)
	b = redcon.AppendBulkString(b, "version")
	b = redcon.AppendBulkString(b, h.Version)
	b = redcon.AppendBulkString(b, "proto")
	b = redcon.AppendInt(b, int64(g.proto))
	b = redcon.AppendBulkString(b, "id")
	b = redcon.AppendInt(b, int64(s.id))
	b = redcon.AppendBulkString(b, "mode")
	b = redcon.AppendBulkString(b, h.Mode)
	b = redcon.AppendBulkString(b, "role")
	b = redcon.AppendBulkString(b, "master")
	b = redcon.AppendBulkString(b, "modules")
	return string(append(b, h.Modules(g.proto)...))
}

// validName is networking.c's clientSetNameOrReply: printable, no space.
func validName(name string) bool {
	for i := range len(name) {
		if name[i] < '!' || name[i] > '~' {
			return false
		}
	}
	return true
}

func equalFold(b []byte, upper string) bool {
	if len(b) != len(upper) {
		return false
	}
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}
