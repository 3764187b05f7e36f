//go:build linux

package faults

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// part cuts the network between the proxy and the middle, until reunite: what the proxy sends is thrown away before the kernel of
// the other side acknowledges it, new connections included, and nothing comes back.
func (m *middle) part() {
	m.t.Helper()
	m.stall()
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}} // how much of a packet is let in
	m.filter(func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
	})
}

func (m *middle) reunite() {
	m.t.Helper()
	m.filter(func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	})
	m.release()
}

// filter does something to the middle's sockets on the proxy's side.
func (m *middle) filter(set func(fd int) error) {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	sockets := []syscall.Conn{m.ln.(*net.TCPListener)}
	for p := range m.pairs {
		sockets = append(sockets, p.toProxy)
	}
	for _, s := range sockets {
		raw, err := s.SyscallConn()
		if err != nil {
			m.t.Fatal(err)
		}
		var failed error
		if err := raw.Control(func(fd uintptr) { failed = set(int(fd)) }); err != nil {
			continue // closed meanwhile
		}
		if failed != nil && failed != unix.ENOENT { // one that was accepted since has no filter
			m.t.Fatalf("filter a socket: %v", failed)
		}
	}
}

// TestRequestsOverANetworkThatIsCutEnd outlasts upstream.tcp_user_timeout: the kernel's own bound is beyond every test's.
func TestRequestsOverANetworkThatIsCutEnd(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t)
	s.Do("SET", "k", "v")
	m := newMiddle(t, s)
	p := startProxy(t, m.addr, append(eagerly, set("upstream.tcp_user_timeout", "2s"), set("limits.busy_wait", "300ms"))...)
	writer, reader, slow, blocked, subscriber := p.client(), p.client(), p.client(), p.client(), p.client()
	for _, c := range []*client{writer, reader, slow} {
		if got := c.Do("GET", "k"); got != bulk("v") {
			t.Fatalf("GET: %q", got)
		}
	}
	subscriber.Do("SUBSCRIBE", "news")
	blocked.Send(request("BLPOP", "list", "0"))
	// A call that the server has run, whose reply is on its way when the network goes.
	reached, over := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(over) })
	m.onReplyTo("slowly", func(*net.TCPConn, []byte) bool {
		close(reached)
		<-over
		return false
	})
	slow.Send(request("EVAL", "return redis.call('INCR', KEYS[1])", "1", "slowly"))
	await(t, reached)
	p.Eventually("block", func() error {
		if n := s.Info("clients")["blocked_clients"]; n != "1" {
			return fmt.Errorf("%s clients are blocked", n)
		}
		return nil
	})

	m.part()
	writer.Send(request("SET", "k", "w"))
	reader.Send(request("GET", "k"))
	if got := slow.Reply(); !mayHaveRun(got) {
		t.Errorf("a script that the server had run: %q", got)
	}
	if got := writer.Reply(); !mayHaveRun(got) && !didNotRun(got) {
		t.Errorf("a write: %q", got)
	}
	if got := reader.Reply(); !strings.HasPrefix(got, "-") {
		t.Errorf("a read: %q", got)
	}
	for name, c := range map[string]*client{"who blocks": blocked, "who listens": subscriber} {
		if got, err := c.ReplyWithin(patience); err == nil && !mayHaveRun(got) {
			t.Errorf("%s: %q", name, got)
		} else if err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s is not told within %v", name, patience)
		}
	}

	m.reunite()
	p.Eventually("go on", func() error {
		if got := p.client().Do("SET", "k", "x"); got != ok {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	if got := reader.Do("GET", "k"); got != bulk("x") {
		t.Errorf("afterwards: %q", got)
	}
}
