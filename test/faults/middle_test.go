//go:build linux

package faults

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// middle stands between the proxy and a server, on an address of its own, and does to their connections what a test asks.
type middle struct {
	t      *testing.T
	addr   string
	server string

	mu    sync.Mutex
	ln    net.Listener
	pairs map[*pair]bool
	rules []rule
	// stalled holds back what either side sends while it is not nil; closing it lets everything flow.
	stalled chan struct{}
}

// rule says what becomes of the reply to the first request that holds marker: instead of passing it on, f gets the proxy's side
// of the connection and what has come of the reply. What f leaves open goes on as before when it returns true.
type rule struct {
	marker string
	f      func(toProxy *net.TCPConn, reply []byte) bool
}

type pair struct {
	m                 *middle
	toProxy, toServer *net.TCPConn
	mu                sync.Mutex
	due               *rule // of a request that was seen
}

func newMiddle(t *testing.T, s *redisserver.Server) *middle {
	t.Helper()
	m := &middle{t: t, addr: fmt.Sprintf("127.0.0.1:%d", redisserver.FreePort(t)), server: s.Addr(), pairs: map[*pair]bool{}}
	m.admit()
	t.Cleanup(func() {
		m.release()
		m.refuse()
	})
	return m
}

// admit accepts connections.
func (m *middle) admit() {
	m.t.Helper()
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // which takes no filters; see part
	ln, err := plain.Listen(context.Background(), "tcp", m.addr)
	if err != nil {
		m.t.Fatal(err)
	}
	m.mu.Lock()
	m.ln = ln
	m.mu.Unlock()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go m.join(c.(*net.TCPConn))
		}
	}()
}

// refuse closes every connection with a reset, and lets nobody connect until admit.
func (m *middle) refuse() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ln != nil {
		m.ln.Close()
		m.ln = nil
	}
	for p := range m.pairs {
		reset(p.toProxy)
		p.toServer.Close()
	}
}

// reset closes a connection so that the other side sees ECONNRESET.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// stall passes nothing on any more, until release.
func (m *middle) stall() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stalled = make(chan struct{})
}

func (m *middle) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stalled != nil {
		close(m.stalled)
		m.stalled = nil
	}
}

// onReplyTo makes a rule, for one request.
func (m *middle) onReplyTo(marker string, f func(toProxy *net.TCPConn, reply []byte) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rules = append(m.rules, rule{marker, f})
}

func (m *middle) wait() {
	m.mu.Lock()
	stalled := m.stalled
	m.mu.Unlock()
	if stalled != nil {
		<-stalled
	}
}

// match takes the rule that a piece of a request meets.
func (m *middle) match(piece []byte) *rule {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, r := range m.rules {
		if bytes.Contains(piece, []byte(r.marker)) {
			m.rules = append(m.rules[:i], m.rules[i+1:]...)
			return &r
		}
	}
	return nil
}

func (m *middle) join(toProxy *net.TCPConn) {
	c, err := net.DialTimeout("tcp", m.server, time.Second)
	if err != nil {
		reset(toProxy)
		return
	}
	p := &pair{m: m, toProxy: toProxy, toServer: c.(*net.TCPConn)}
	m.mu.Lock()
	if m.ln == nil {
		m.mu.Unlock()
		reset(toProxy)
		c.Close()
		return
	}
	m.pairs[p] = true
	m.mu.Unlock()
	go p.requests()
	p.replies()
	m.mu.Lock()
	delete(m.pairs, p)
	m.mu.Unlock()
}

func (p *pair) requests() {
	defer p.toServer.CloseWrite()
	b := make([]byte, 64<<10)
	for {
		n, err := p.toProxy.Read(b)
		if err != nil {
			return
		}
		p.m.wait()
		if r := p.m.match(b[:n]); r != nil {
			p.mu.Lock()
			p.due = r
			p.mu.Unlock()
		}
		if _, err := p.toServer.Write(b[:n]); err != nil {
			return
		}
	}
}

func (p *pair) replies() {
	defer p.toProxy.Close()
	defer p.toServer.Close()
	b := make([]byte, 64<<10)
	for {
		n, err := p.toServer.Read(b)
		if err != nil {
			return
		}
		p.m.wait()
		p.mu.Lock()
		due := p.due
		p.due = nil
		p.mu.Unlock()
		if due != nil {
			if !due.f(p.toProxy, b[:n]) {
				return
			}
			continue
		}
		if _, err := p.toProxy.Write(b[:n]); err != nil {
			return
		}
	}
}
