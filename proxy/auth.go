//go:build linux

package proxy

import (
	"bytes"
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

// Who a client is.
//
// In passthrough mode the server says: every AUTH is sent to it, on a link
// that carries nothing else, and what the client asks afterwards travels on
// links of that user. In service mode the proxy says, from Settings.Users, and
// the server knows only Options.Identity and the users' own identities.
//
// A session that is not authenticated, where it must be, may send what Redis
// lets it send, within Redis's limits for it (resp.UnauthenticatedLimits).

// Redis's texts (acl.c, authCommand; server.c, processCommand; networking.c,
// helloCommand).
const (
	textNoAuth      = "-NOAUTH Authentication required.\r\n"
	textWrongPass   = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	textNoPassword  = "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n"
	textHelloNoAuth = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\r\n"
)

// textBusyConnection refuses a change of the server's user while the server
// keeps something for the session on a connection of the old one.
const textBusyConnection = "-ERR this user has another user on the server, and the connection keeps state there; end the state, or send RESET, before AUTH\r\n"

// textAuthInMulti refuses in service mode what the server would check against
// its own users, of whom clients of the proxy are none.
const textAuthInMulti = "-ERR AUTH is not available inside MULTI: the proxy checks its clients itself\r\n"

var (
	errUserRefused = errors.New("the server no longer accepts the user")
	errUserRemoved = errors.New("the user was removed from the configuration")
)

// authRequired tells whether a new session must say AUTH first.
func (s *session) authRequired() bool {
	if srv := s.w.srv; srv.service {
		return !srv.gen.Load().Settings.Users.none()
	}
	return s.backend().Topology.AuthRequired()
}

// letIn lets a new session in, where no AUTH is needed.
func (s *session) letIn() {
	if !s.authRequired() {
		s.flags |= authenticated
	}
}

// refuse answers a request of a session that is not authenticated. It reports
// false for what such a session may ask: the commands with the no-auth flag.
// As Redis does, it looks at the command's name and its number of arguments
// first. Nothing is passed on: a link without a user may be one that the
// server let in before it had a password.
func (s *session) refuse(cmd *command.Command, r *resp.Request) bool {
	if !s.authRequired() {
		s.flags |= authenticated
		return false
	}
	if !s.w.srv.service && !s.backend().Topology.AuthKnown() {
		return s.refuseUnheard(cmd)
	}
	if cmd == nil || cmd.Absent {
		s.reply(unknownCommand(r))
		return true
	}
	if cmd.IsContainer() && r.Len() > 1 {
		sub := cmd.Sub(r.Arg(1))
		if sub == nil || sub.Absent {
			s.reply(fmt.Sprintf("-ERR unknown subcommand '%s'. Try %s HELP.\r\n", oneLine(string(clip(r.Arg(1), 128))), cmd.Name))
			return true
		}
		cmd = sub
	}
	refusal := ""
	switch {
	case !cmd.ArityOK(r.Len()):
		refusal = "wrong number of arguments for '" + strings.ToLower(cmd.Name) + "' command\r\n"
	case cmd.Flags&command.NoAuth != 0:
		return false
	case cmd.Op == command.OpExec:
		refusal = textNoAuth[1:]
	default:
		s.reply(textNoAuth)
		return true
	}
	if cmd.Op == command.OpExec {
		s.reply("-EXECABORT Transaction discarded because of: " + refusal)
	} else {
		s.reply("-ERR " + refusal)
	}
	return true
}

// refuseUnheard is for the time before a primary was heard, when nobody
// knows yet whether clients must say AUTH.
func (s *session) refuseUnheard(cmd *command.Command) bool {
	if cmd != nil && (cmd.Flags&command.NoAuth != 0 || cmd.Op == command.OpPing) {
		return false
	}
	s.w.shard.Error(metrics.ErrUnavailable)
	v := s.view()
	if v.Primary == nil {
		s.replyDynamic("-UNAVAILABLE no primary: " + v.Why + ": the command did not run\r\n")
		return true
	}
	s.replyDynamic(unavailable(v.Primary, false, errors.New(v.Primary.LastError())))
	return true
}

// helloNoAuth is textHelloNoAuth as the server behind has it: before 7.2 it
// left the protocol out.
func (b *backend) helloNoAuth() string {
	version := b.Topology.Hello().Version
	for _, old := range []string{"6.", "7.0."} {
		if strings.HasPrefix(version, old) {
			return strings.Replace(textHelloNoAuth, "HELLO <proto> AUTH", "HELLO AUTH", 1)
		}
	}
	return textHelloNoAuth
}

// unknownCommand is server.c's commandCheckExistence.
func unknownCommand(r *resp.Request) string {
	var args strings.Builder
	for i := 1; i < r.Len() && args.Len() < 128; i++ {
		fmt.Fprintf(&args, "'%s' ", clip(r.Arg(i), 128-args.Len()))
	}
	return "-ERR unknown command '" + oneLine(string(clip(r.Arg(0), 128))) + "', with args beginning with: " + oneLine(args.String()) + crlf
}

// clip cuts a text as Redis does, which takes it for a C string.
func clip(b []byte, most int) []byte {
	b = b[:min(len(b), most)]
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return b
}

// auth is AUTH.
func (s *session) auth(r *resp.Request) bool {
	if s.head != nil {
		return s.hold(holdDrain)
	}
	if r.Len() > 3 {
		s.reply("-ERR syntax error\r\n")
		return true
	}
	var user []byte
	password := r.Arg(r.Len() - 1)
	if r.Len() == 3 {
		user = r.Arg(1)
	}
	if !s.w.srv.service {
		return s.authenticate(string(user), string(password), r.Raw(), nil)
	}
	switch refusal := s.login(user, password); refusal {
	case "":
		s.reply("+OK\r\n")
	default:
		s.reply(refusal)
	}
	return true
}

// login checks a user in service mode, and makes the session that user's. No
// name is AUTH with a password alone, the user "default". It returns the
// refusal, and then the session stays who it was.
//
// The user's name is what ACL WHOAMI, CLIENT LIST and the slow log show. What
// the server itself tells, such as ACL WHOAMI inside MULTI or ACL LOG, names
// the server's user.
func (s *session) login(name, password []byte) (refusal string) {
	users := s.w.gen.Settings.Users
	alone := name == nil
	if alone {
		name = []byte("default")
	}
	if users.none() {
		// Like a server whose default user needs no password.
		switch {
		case alone:
			return textNoPassword
		case string(name) == "default":
			return ""
		}
		return textWrongPass
	}
	user := users.check(name, password)
	if user == nil {
		s.w.shard.Error(metrics.ErrAuth)
		return textWrongPass
	}
	k := s.group.Key()
	if user.Upstream != nil {
		k.Backend = *user.Upstream
	} else {
		k.Backend = s.w.srv.listenerBackend(int(s.listener))
	}
	k.Identity = s.w.srv.backends[k.Backend].Identity
	if !user.Identity.Anonymous() {
		k.Identity = user.Identity
	}
	if was := s.group.Key(); s.ded != nil && (k.Identity != was.Identity || k.Backend != was.Backend) {
		return textBusyConnection
	}
	s.setGroup(s.w.pool.Group(k))
	s.needExtra().user = user.Name
	s.flags |= authenticated
	return ""
}

// authenticate has the server check a user, on a link that carries nothing
// else, or on the session's own if it has one: the server then changes the
// user of what it keeps there, as it does without a proxy.
func (s *session) authenticate(user, password string, request []byte, then *greeting) bool {
	k := s.group.Key()
	k.Identity = upstream.NewIdentity(user, password)
	if then != nil {
		k.Proto = then.proto
	}
	link := s.ded
	if link == nil {
		view := s.view()
		if view.Primary == nil {
			s.replyDynamic("-UNAVAILABLE no primary: " + view.Why + ": the command did not run\r\n")
			return true
		}
		var err error
		checks := s.w.pool.Group(upstream.Key{Backend: k.Backend, Purpose: upstream.PurposeAuth, Proto: 2})
		if link, err = checks.Shared(view.Primary); err != nil {
			s.w.shard.Error(metrics.ErrUnavailable)
			s.replyDynamic(unavailable(view.Primary, false, err))
			return true
		}
	} else {
		s.state |= tainted
		if then != nil {
			// The link changes its protocol with its user.
			request = resp.AppendCommand(nil, "HELLO", strconv.Itoa(then.proto), "AUTH", user, password)
		}
	}
	p := s.w.newPending(s, kindAuth)
	p.group = s.w.pool.Group(k)
	p.read = true
	p.greeting = then
	s.send(link, p, request)
	s.flags |= holdDrain
	return true
}

// asksForUser tells AUTH, and HELLO with AUTH.
func asksForUser(cmd *command.Command, r *resp.Request) bool {
	if cmd.Op != command.OpHello {
		return cmd.Op == command.OpAuth
	}
	for i := 2; i < r.Len(); i++ {
		if equalFold(r.Arg(i), "AUTH") {
			return true
		}
	}
	return false
}

// admitted makes a session its user's, when the server has agreed. The user's
// link is made at once: the server ends it when it deletes the user, and by
// that the proxy learns of it.
func (s *session) admitted(g *upstream.Group) {
	g = g.With(g.Key()) // it may have been swept meanwhile
	g.Forgive()
	s.setGroup(g)
	s.flags |= authenticated
	if primary := s.view().Primary; primary != nil {
		g.Shared(primary)
	}
}

// refused ends the sessions of a user whom the server let in before and does
// not any more: the user was deleted or switched off, or has another password
// and the link that knew the old one was lost. Their requests have been
// answered with the reason.
func (w *worker) refused(g *upstream.Group, text string) {
	if w.srv.service || !strings.HasPrefix(text, "WRONGPASS ") {
		return
	}
	for _, s := range w.sessions {
		if s.group == g && s.ded == nil {
			s.endAfterReplies(errUserRefused)
		}
	}
}

// dropRemoved ends the sessions of users that a new configuration lacks, as
// ACL DELUSER does.
func (w *worker) dropRemoved(users *Users) {
	for _, s := range w.sessions {
		if s.ext != nil && s.ext.user != "" && !users.has(s.ext.user) {
			s.Close(errUserRemoved)
		}
	}
}

// whoAmI answers ACL WHOAMI in service mode, with the proxy's name for the
// user. In a transaction the server answers, with its own.
func (s *session) whoAmI(cmd *command.Command, r *resp.Request) bool {
	if !s.w.srv.service || cmd.Name != "ACL" || r.Len() != 2 || !equalFold(r.Arg(1), "WHOAMI") || s.state&inMulti != 0 {
		return false
	}
	s.reply(string(redcon.AppendBulkString(nil, s.userName())))
	return true
}

// userName is the user that the client is, as far as the proxy knows.
func (s *session) userName() string {
	if s.w.srv.service {
		if s.ext != nil && s.ext.user != "" {
			return s.ext.user
		}
		return "default"
	}
	if user := s.group.Key().Identity.User; user != "" {
		return user
	}
	return "default"
}
