package redisserver

import (
	"net"
	"strings"
	"testing"
)

// Server is a server that belongs to a test: it is killed when the test ends, and whatever goes wrong with it fails
// the test. Its last log lines are printed when the test failed. Like t.Fatal, its methods are for the test's
// own goroutine; others use Process, whose methods return errors.
type Server struct {
	*Process
	t testing.TB
}

// Start starts a server and returns when it accepts connections, or fails the test.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	var cfg Config
	for _, opt := range opts {
		opt(&cfg)
	}
	return startFor(t, cfg)
}

func startFor(t testing.TB, cfg Config) *Server {
	t.Helper()
	p, err := StartProcess(cfg)
	if err != nil {
		t.Fatalf("redisserver: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the server at %s:\n%s", p.Addr(), tail(p.Log()))
		}
		if err := p.Close(); err != nil {
			t.Errorf("redisserver: %v", err)
		}
	})
	return &Server{Process: p, t: t}
}

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("redisserver: %v", err)
	}
}

// Kill is Process.Kill.
func (s *Server) Kill() { s.t.Helper(); s.must(s.Process.Kill()) }

// Stop is Process.Stop.
func (s *Server) Stop() { s.t.Helper(); s.must(s.Process.Stop()) }

// Restart is Process.Restart.
func (s *Server) Restart() { s.t.Helper(); s.must(s.Process.Restart()) }

// Pause is Process.Pause.
func (s *Server) Pause() { s.t.Helper(); s.must(s.Process.Pause()) }

// Continue is Process.Continue.
func (s *Server) Continue() { s.t.Helper(); s.must(s.Process.Continue()) }

// LogContains reports whether the server has logged text, in any of its runs.
func (s *Server) LogContains(text string) bool { return strings.Contains(s.Log(), text) }

// Do runs one command on a connection of its own and returns the reply as Client.Do does: an error reply is a
// value of type Error. A connection that fails fails the test. State that a connection keeps (SELECT, MULTI,
// HELLO) needs Client.
func (s *Server) Do(args ...any) any {
	s.t.Helper()
	c, err := s.Dial()
	s.must(err)
	defer c.Close()
	reply, err := c.Do(args...)
	if err != nil {
		s.t.Fatalf("redisserver: %v at %s: %v", args[0], s.Addr(), err)
	}
	return reply
}

// Client returns an authenticated connection that is closed when the test ends.
func (s *Server) Client() *Client {
	s.t.Helper()
	c, err := s.Dial()
	s.must(err)
	s.t.Cleanup(func() { c.Close() })
	return c
}

// Conn returns a bare connection that is closed when the test ends.
func (s *Server) Conn() net.Conn {
	s.t.Helper()
	conn, err := s.Process.Conn()
	s.must(err)
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// Info returns the fields of INFO, of one section or, without arguments, of the default ones.
func (s *Server) Info(section ...string) map[string]string {
	s.t.Helper()
	args := []any{"INFO"}
	for _, name := range section {
		args = append(args, name)
	}
	text, ok := s.Do(args...).(string)
	if !ok {
		s.t.Fatalf("redisserver: INFO at %s did not answer with text", s.Addr())
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			fields[name] = value
		}
	}
	return fields
}
