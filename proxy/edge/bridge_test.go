//go:build linux

package edge

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/certificates"
)

// bridged is a TLS client whose connection ends at a descriptor.
type bridged struct {
	client *tls.Conn
	raw    net.Conn      // under client
	loop   *net.UnixConn // what a loop would have
	bridge *Bridge
}

func bridge(t testing.TB, b *Bridge, version uint16, wrap func(net.Conn) net.Conn) bridged {
	t.Helper()
	ca := certificates.NewAuthority(t, "ca")
	client, server := tcpPair(t)
	raw := client
	if wrap != nil {
		client = wrap(client)
	}
	tc := tls.Client(client, &tls.Config{RootCAs: ca.Pool(), ServerName: "proxy", MaxVersion: version})
	must(t, tc.SetDeadline(time.Now().Add(patient)))
	greeted := make(chan error, 1)
	go func() { greeted <- tc.Handshake() }()
	fd, err := b.Accept(t.Context(), server, &tls.Config{Certificates: []tls.Certificate{ca.Issue("proxy").Certificate(t)}})
	must(t, err)
	must(t, <-greeted)
	if !isNonblocking(t, fd) {
		t.Error("the descriptor would block a loop")
	}
	t.Cleanup(func() {
		raw.Close()
		b.Close(0)
	})
	return bridged{client: tc, raw: raw, loop: plain(t, fd), bridge: b}
}

func TestBytesTravelBothWaysAtOnce(t *testing.T) {
	for name, version := range versions() {
		t.Run(name, func(t *testing.T) {
			c := bridge(t, &Bridge{}, version, nil)
			data := make([]byte, 3<<20+17)
			rand.Read(data)
			failed := make(chan error, 4)
			send := func(w io.Writer) {
				_, err := w.Write(data)
				failed <- err
			}
			receive := func(r io.Reader) {
				got := make([]byte, len(data))
				_, err := io.ReadFull(r, got)
				if err == nil && !bytes.Equal(got, data) {
					err = errors.New("other bytes arrived than were sent")
				}
				failed <- err
			}
			go send(c.client)
			go send(c.loop)
			go receive(c.client)
			go receive(c.loop)
			for range 4 {
				must(t, <-failed)
			}
		})
	}
}

// drip sends every byte in a packet of its own.
type drip struct{ net.Conn }

func (d drip) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := d.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func TestRecordsMayComeByteByByte(t *testing.T) {
	for name, version := range versions() {
		t.Run(name, func(t *testing.T) {
			c := bridge(t, &Bridge{}, version, func(nc net.Conn) net.Conn { return drip{nc} })
			for range 20 {
				_, err := c.client.Write([]byte("PING\r\n"))
				must(t, err)
				wantRead(t, c.loop, "PING\r\n")
				_, err = c.loop.Write([]byte("+PONG\r\n"))
				must(t, err)
				wantRead(t, c.client, "+PONG\r\n")
			}
		})
	}
}

func TestClientThatSaysNoMoreStillReads(t *testing.T) {
	for name, end := range map[string]func(bridged) error{
		"close_notify":    func(c bridged) error { return c.client.CloseWrite() },
		"end of the flow": func(c bridged) error { return c.raw.(*net.TCPConn).CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			c := bridge(t, &Bridge{}, 0, nil)
			_, err := c.client.Write([]byte("GET a\r\n"))
			must(t, err)
			must(t, end(c))
			wantRead(t, c.loop, "GET a\r\n")
			wantEOF(t, c.loop)
			_, err = c.loop.Write([]byte("$1\r\nb\r\n"))
			must(t, err)
			must(t, c.loop.Close())
			wantRead(t, c.client, "$1\r\nb\r\n")
			wantEOF(t, c.client)
			eventually(t, "the connection is still there", func() bool { return c.bridge.Len() == 0 })
		})
	}
}

func TestBrokenConnectionEndsBothDirections(t *testing.T) {
	c := bridge(t, &Bridge{}, 0, nil)
	setLinger0(t, c.raw)
	must(t, c.raw.Close()) // a reset
	if n, err := c.loop.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d, %v; want an end", n, err)
	}
	eventually(t, "writing still works", func() bool {
		_, err := c.loop.Write([]byte("+OK\r\n"))
		return err != nil
	})
	eventually(t, "the connection is still there", func() bool { return c.bridge.Len() == 0 })
}

func TestWhatIsNoTLSEndsBothDirections(t *testing.T) {
	c := bridge(t, &Bridge{}, 0, nil)
	_, err := c.raw.Write([]byte("*1\r\n$4\r\nPING\r\n"))
	must(t, err)
	if n, err := c.loop.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d, %v; want an end and no byte", n, err)
	}
	eventually(t, "the connection is still there", func() bool { return c.bridge.Len() == 0 })
}

func TestClosedDescriptorStillDelivers(t *testing.T) {
	c := bridge(t, &Bridge{}, 0, nil)
	// Bytes of the client that nobody reads would make a plain close a reset,
	// which takes the reply with it.
	unread := make([]byte, 4096)
	_, err := c.client.Write(unread)
	must(t, err)
	reply := bytes.Repeat([]byte("+OK\r\n"), 10000)
	_, err = c.loop.Write(reply)
	must(t, err)
	must(t, c.loop.Close())
	_, err = c.client.Write(unread)
	must(t, err)
	got, err := io.ReadAll(c.client)
	if err != nil || !bytes.Equal(got, reply) {
		t.Errorf("read %d bytes, %v; want %d and the end", len(got), err, len(reply))
	}
	c.client.Close()
	eventually(t, "the connection is still there", func() bool { return c.bridge.Len() == 0 })
}

// fill writes until the peer takes no more.
func fillUp(t testing.TB, w net.Conn) {
	t.Helper()
	chunk := make([]byte, 64<<10)
	for {
		must(t, w.SetWriteDeadline(time.Now().Add(200*time.Millisecond)))
		if _, err := w.Write(chunk); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestBytesThatNobodyTakesAreNotHeldForEver(t *testing.T) {
	b := &Bridge{patience: patience{stallCheck: time.Millisecond, linger: 20 * time.Millisecond, lingerRead: time.Millisecond}}
	c := bridge(t, b, 0, nil)
	fillUp(t, c.loop)
	time.Sleep(50 * time.Millisecond)
	if b.Len() != 1 {
		t.Fatal("a slow client was dropped although the other side still waits for it")
	}
	must(t, c.loop.Close())
	eventually(t, "the connection of a client that does not read is still there", func() bool { return b.Len() == 0 })
}

func TestWritesWaitForTheReader(t *testing.T) {
	c := bridge(t, &Bridge{}, 0, nil)
	fillUp(t, c.client)
	fillUp(t, c.loop)
	// Both directions are full; reading one must set it going again.
	go io.Copy(io.Discard, c.client)
	must(t, c.loop.SetWriteDeadline(time.Now().Add(patient)))
	_, err := c.loop.Write(make([]byte, 1<<20))
	must(t, err)
}

func TestCloseEndsWhatIsStuckAndRefusesMore(t *testing.T) {
	b := &Bridge{}
	c := bridge(t, b, 0, nil)
	fillUp(t, c.loop)
	b.Close(10 * time.Millisecond)
	if b.Len() != 0 {
		t.Errorf("%d connections are left", b.Len())
	}
	_, server := tcpPair(t)
	if b.add(&span{wire: &wire{Conn: server}}) {
		t.Error("a closed bridge took a connection")
	}
}

func TestCloseLetsTheLastBytesOut(t *testing.T) {
	b := &Bridge{}
	c := bridge(t, b, 0, nil)
	_, err := c.loop.Write([]byte("+OK\r\n"))
	must(t, err)
	must(t, c.loop.Close())
	go b.Close(patient)
	wantRead(t, c.client, "+OK\r\n")
	wantEOF(t, c.client)
	c.client.Close()
	eventually(t, "the connection is still there", func() bool { return b.Len() == 0 })
}

func TestHandshakeThatStallsIsGivenUp(t *testing.T) {
	ca := certificates.NewAuthority(t, "ca")
	client, server := tcpPair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := new(Bridge).Accept(ctx, server, &tls.Config{Certificates: []tls.Certificate{ca.Issue("proxy").Certificate(t)}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline", err)
	}
	must(t, client.SetReadDeadline(time.Now().Add(patient)))
	if _, err := io.ReadAll(client); err != nil {
		t.Errorf("the connection was not closed: %v", err)
	}
}

func TestConnectionsLeaveNoDescriptors(t *testing.T) {
	b := &Bridge{}
	before := descriptors(t)
	for i := range 20 {
		c := bridge(t, b, 0, nil)
		if i%2 == 0 {
			c.client.Close()
			wantEOF(t, c.loop)
			c.loop.Close()
		} else {
			c.loop.Close()
			wantEOF(t, c.client)
			c.client.Close()
		}
	}
	eventually(t, "connections are still there", func() bool { return b.Len() == 0 })
	eventually(t, "descriptors are still open", func() bool { return descriptors(t) <= before })
}

func TestIdleConnectionHoldsNoBuffer(t *testing.T) {
	c := bridge(t, &Bridge{}, 0, nil)
	raw, err := c.loop.SyscallConn()
	must(t, err)
	a := newArrival(raw, readNow)
	got := make(chan string, 1)
	go func() {
		b, err := a.next()
		got <- string(b)
		if err != nil {
			t.Error(err)
		}
	}()
	_, err = c.client.Write([]byte("x"))
	must(t, err)
	if b := <-got; b != "x" {
		t.Fatalf("read %q", b)
	}
	if a.buf == nil {
		t.Error("what arrived has no buffer")
	}
	a.done()
	if taken := a.take(fdOf(t, c.loop)); taken || a.buf != nil {
		t.Error("a buffer is held although nothing is there")
	}
}

func fdOf(t testing.TB, c *net.UnixConn) uintptr {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	var fd uintptr
	must(t, raw.Control(func(s uintptr) { fd = s }))
	return fd
}
