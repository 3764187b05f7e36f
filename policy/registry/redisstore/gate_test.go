package redisstore_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// gate passes bytes between clients and a server, and can swallow the answer to a request, which
// no real server can be made to do on purpose.
type gate struct {
	addr     string
	upstream string
	mark     atomic.Pointer[string]
	done     atomic.Bool
	mu       sync.Mutex
	conns    []net.Conn
	wait     sync.WaitGroup
}

func newGate(t *testing.T, upstream string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{addr: l.Addr().String(), upstream: upstream}
	g.wait.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", upstream)
			if err != nil {
				_ = client.Close()
				continue
			}
			g.pass(client, server)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		g.mu.Lock()
		for _, c := range g.conns {
			_ = c.Close()
		}
		g.mu.Unlock()
		g.wait.Wait()
	})
	return g
}

// loseAnswersTo closes the next connection that sends mark, after the server has answered.
func (g *gate) loseAnswersTo(mark string) {
	g.done.Store(false)
	g.mark.Store(&mark)
}

func (g *gate) lost() bool { return g.done.Load() }

func (g *gate) pass(client, server net.Conn) {
	g.mu.Lock()
	g.conns = append(g.conns, client, server)
	g.mu.Unlock()
	var swallow atomic.Bool
	shut := func() {
		_ = client.Close()
		_ = server.Close()
	}
	g.wait.Go(func() {
		defer shut()
		buf := make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if mark := g.mark.Load(); mark != nil && bytes.Contains(buf[:n], []byte(*mark)) && bytes.Contains(bytes.ToLower(buf[:n]), []byte("evalsha")) {
				g.mark.Store(nil)
				swallow.Store(true)
			}
			if _, werr := server.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	})
	g.wait.Go(func() {
		defer shut()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil && err != io.EOF {
				return
			}
			if swallow.Load() && n > 0 {
				g.done.Store(true)
				return
			}
			if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	})
}
