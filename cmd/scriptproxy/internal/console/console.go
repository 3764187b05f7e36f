// Package console is the operators' RESP console: what can be done with redis-cli.
//
// It is built on redcon's server, which must not see what strangers send: each
// connection is framed by proxy/resp first, within small limits, and redcon gets
// whole commands in canonical form.
package console

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/redcon"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/operate"
)

const (
	// maxConnections bounds those who are connected at a time.
	maxConnections = 100
	// authTime is how long somebody may take to say AUTH.
	authTime = 30 * time.Second
)

// Options are what the console speaks of.
type Options struct {
	Desk    *operate.Desk
	Version string // of the program
	// ReadToken and AdminToken are what AUTH takes; with neither, everybody who
	// reaches the listener may do everything.
	ReadToken, AdminToken string
	Logger                *slog.Logger
}

// Server is the console. Its methods may be called by any goroutine.
type Server struct {
	opts     Options
	commands []*command
	byName   map[string]*command
	open     atomic.Int32

	mu     sync.Mutex
	ln     net.Listener
	conns  map[net.Conn]bool
	closed bool
}

// New makes a console that doesn't listen yet.
func New(o Options) *Server {
	s := &Server{opts: o, commands: commands, byName: make(map[string]*command), conns: make(map[net.Conn]bool)}
	for _, c := range s.commands {
		s.byName[c.name] = c
	}
	return s
}

// Listen serves on an address in the background, and returns the address as it
// came out.
func (s *Server) Listen(address string) (string, error) {
	network, addr := config.SplitAddress(address)
	ln, err := net.Listen(network, addr)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	s.ln = ln
	s.mu.Unlock()
	go func() {
		if err := redcon.Serve(&framedListener{ln, s}, s.serve, s.accept, s.gone); err != nil && !errors.Is(err, net.ErrClosed) {
			s.opts.Logger.Error("the console ended", "error", err)
		}
	}()
	return ln.Addr().String(), nil
}

// Close ends the listener and its connections.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.ln != nil {
		_ = s.ln.Close() // what is closed already is closed
	}
	for c := range s.conns {
		_ = c.Close()
	}
}

// rights are what a session may do.
type rights uint8

const (
	mayNothing rights = iota
	mayRead
	mayAll
)

// session is one operator's connection. It belongs to redcon's goroutine for it.
type session struct {
	srv    *Server
	conn   *framed
	rights rights
	name   string // from CLIENT SETNAME
}

func (s *Server) accept(c redcon.Conn) bool {
	if s.open.Add(1) > maxConnections {
		s.open.Add(-1)
		return false
	}
	conn := c.NetConn().(*framed)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.open.Add(-1)
		return false
	}
	s.conns[conn.Conn] = true
	s.mu.Unlock()
	sess := &session{srv: s, conn: conn}
	if s.opts.ReadToken == "" && s.opts.AdminToken == "" {
		sess.rights = mayAll
	} else {
		_ = conn.SetReadDeadline(time.Now().Add(authTime))
	}
	conn.known.Store(sess.rights != mayNothing)
	c.SetContext(sess)
	return true
}

func (s *Server) gone(c redcon.Conn, _ error) {
	sess, ok := c.Context().(*session)
	if !ok {
		return
	}
	s.open.Add(-1)
	s.mu.Lock()
	delete(s.conns, sess.conn.Conn)
	s.mu.Unlock()
}

// serve runs one command.
func (s *Server) serve(c redcon.Conn, cmd redcon.Command) {
	sess := c.Context().(*session)
	args := make([]string, len(cmd.Args))
	for i, a := range cmd.Args {
		args[i] = string(a)
	}
	name := strings.ToUpper(args[0])
	what := s.byName[name]
	switch {
	case what == nil:
		c.WriteError(fmt.Sprintf("ERR unknown command '%s'; HELP lists the commands of this console", clean(clip(args[0]))))
	case !what.arityOK(len(args)):
		c.WriteError(fmt.Sprintf("ERR wrong number of arguments; use: %s", what.usage()))
	case what.needs > sess.rights && sess.rights == mayNothing:
		c.WriteError("NOAUTH Authentication required: AUTH with one of admin.tokens")
	case what.needs > sess.rights:
		c.WriteError("NOPERM this token may only read; AUTH with the one of admin.tokens.admin_file")
	default:
		what.run(sess, c, args[1:])
	}
}

// auth checks a token.
func (s *session) auth(token string) bool {
	equal := func(t string) bool { return t != "" && subtle.ConstantTimeCompare([]byte(token), []byte(t)) == 1 }
	switch o := &s.srv.opts; {
	case equal(o.AdminToken):
		s.rights = mayAll
	case equal(o.ReadToken):
		s.rights = max(s.rights, mayRead)
	default:
		return false
	}
	s.conn.known.Store(true)
	_ = s.conn.SetReadDeadline(time.Time{})
	return true
}

// who is this operator in the audit log.
func (s *session) who() string {
	if s.name != "" {
		return "console " + s.name
	}
	host, _, err := net.SplitHostPort(s.conn.RemoteAddr().String())
	if err != nil {
		return "console"
	}
	return "console " + host
}

// clean makes a text fit for a simple string or an error.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

// clip keeps what somebody sent from flooding a message.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
