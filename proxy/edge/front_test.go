//go:build linux

package edge

import (
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/test/certificates"
	"golang.org/x/sys/unix"
)

// adopted is what a front gave away.
type adopted struct {
	conn        net.Conn
	isUnix      bool
	addr, laddr string
	keepAlive   int
}

// stage is a front with its listener.
type stage struct {
	t       testing.TB
	front   *Front
	ln      *loop.Listener
	adopted chan adopted
	refused atomic.Int64
	full    atomic.Bool
}

func newStage(t testing.TB, address string, o Options) *stage {
	t.Helper()
	s := &stage{t: t, adopted: make(chan adopted, 100)}
	var err error
	s.ln, err = loop.Listen(address, 0)
	must(t, err)
	o.Bridge = &Bridge{}
	o.Logger = quiet
	o.Refused = func() { s.refused.Add(1) }
	o.Full = s.full.Load
	o.KeepAlive = func() time.Duration { return 40 * time.Second }
	o.Adopt = func(fd int, isUnix bool, addr, laddr string) {
		keepAlive, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		if err != nil {
			t.Error(err)
		}
		nc, err := netConn(fd)
		if err != nil {
			t.Error(err)
			return
		}
		nc.SetDeadline(time.Now().Add(patient))
		s.adopted <- adopted{nc, isUnix, addr, laddr, keepAlive}
	}
	s.front = NewFront(o)
	ended := make(chan struct{})
	t.Cleanup(func() {
		s.ln.Close()
		<-ended
		close(s.adopted)
		for a := range s.adopted {
			a.conn.Close()
		}
		o.Bridge.Close(0)
	})
	go func() {
		defer close(ended)
		s.front.Serve(s.ln)
	}()
	return s
}

func (s *stage) dial() net.Conn {
	s.t.Helper()
	nc, err := net.DialTimeout(s.ln.Addr().Network(), s.ln.Addr().String(), patient)
	must(s.t, err)
	must(s.t, nc.SetDeadline(time.Now().Add(patient)))
	s.t.Cleanup(func() { nc.Close() })
	return nc
}

func (s *stage) take() adopted {
	s.t.Helper()
	select {
	case a := <-s.adopted:
		s.t.Cleanup(func() { a.conn.Close() })
		return a
	case <-time.After(patient):
		s.t.Fatalf("no connection was given away in %v", patient)
	}
	panic("unreachable")
}

func (s *stage) none(why string) {
	s.t.Helper()
	select {
	case <-s.adopted:
		s.t.Errorf("a connection was given away: %s", why)
	default:
	}
}

func TestHeaderBeforePlainCommands(t *testing.T) {
	s := newStage(t, "127.0.0.1:0", Options{ProxyProtocol: true})
	nc := s.dial()
	_, err := io.WriteString(nc, header(0x21, 0x11, addrs4+tlvs)+"PING\r\n")
	must(t, err)
	got := s.take()
	if got.addr != "192.0.2.1:54321" || got.laddr != "198.51.100.2:6379" || got.isUnix {
		t.Errorf("given away as %+v", got)
	}
	wantRead(t, got.conn, "PING\r\n")
	_, err = io.WriteString(got.conn, "+PONG\r\n")
	must(t, err)
	wantRead(t, nc, "+PONG\r\n")
}

func TestLocalConnectionKeepsItsAddress(t *testing.T) {
	s := newStage(t, "127.0.0.1:0", Options{ProxyProtocol: true})
	nc := s.dial()
	_, err := io.WriteString(nc, header(0x20, 0, "")+"PING\r\n")
	must(t, err)
	got := s.take()
	if got.addr != "" || got.laddr != "" {
		t.Errorf("given away as %+v, want the descriptor's own addresses", got)
	}
	if peer := got.conn.RemoteAddr().String(); peer != nc.LocalAddr().String() {
		t.Errorf("the descriptor's peer is %s, want %s", peer, nc.LocalAddr())
	}
	wantRead(t, got.conn, "PING\r\n")
}

func TestHeaderOnAUnixSocket(t *testing.T) {
	s := newStage(t, "unix:"+filepath.Join(t.TempDir(), "p.sock"), Options{ProxyProtocol: true})
	_, err := io.WriteString(s.dial(), header(0x21, 0x21, addrs6))
	must(t, err)
	if got := s.take(); !got.isUnix || got.addr != "[2001:db8::1]:54321" {
		t.Errorf("given away as %+v", got)
	}
}

func TestConnectionWithoutHeaderIsClosedAndCounted(t *testing.T) {
	s := newStage(t, "127.0.0.1:0", Options{ProxyProtocol: true, Timeout: 50 * time.Millisecond})
	for name, send := range map[string]string{
		"a command": "*1\r\n$4\r\nPING\r\n", "version 1": "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
		"nothing": "", "half a header": header(0x21, 0x11, addrs4)[:20],
	} {
		before := s.refused.Load()
		nc := s.dial()
		_, err := io.WriteString(nc, send)
		must(t, err)
		if got, _ := io.ReadAll(nc); len(got) > 0 {
			t.Errorf("%s: was answered %q", name, got)
		}
		eventually(t, name+" was not counted", func() bool { return s.refused.Load() == before+1 })
	}
	s.none("none had a header")
}

func TestConnectionThatWasResetIsPassedOver(t *testing.T) {
	client, server := tcpPair(t)
	fd, err := loop.Take(server)
	must(t, err)
	setLinger0(t, client)
	must(t, client.Close())
	s := newStage(t, "127.0.0.1:0", Options{ProxyProtocol: true})
	s.front.greet(fd, false)
	if n := s.refused.Load(); n != 1 {
		t.Errorf("%d connections were counted, want 1", n)
	}
	s.none("it was reset")
}

// secure makes an authority and TLS for a listener.
func secure(t testing.TB, change func(*ServerFiles, *certificates.Authority)) (*ServerTLS, *certificates.Authority) {
	t.Helper()
	ca := certificates.NewAuthority(t, "ca")
	certFile, keyFile := ca.Issue("proxy").Write(t, t.TempDir(), "server")
	f := ServerFiles{Pairs: []Pair{{certFile, keyFile}}, MinVersion: tls.VersionTLS12}
	if change != nil {
		change(&f, ca)
	}
	s, err := NewServerTLS(f, quiet)
	must(t, err)
	return s, ca
}

func trusting(ca *certificates.Authority) *tls.Config {
	return &tls.Config{RootCAs: ca.Pool(), ServerName: "proxy"}
}

func TestTLSConnectionKnowsItsAddresses(t *testing.T) {
	st, ca := secure(t, nil)
	s := newStage(t, "127.0.0.1:0", Options{TLS: st})
	nc := s.dial()
	tc := tls.Client(nc, trusting(ca))
	_, err := io.WriteString(tc, "PING\r\n")
	must(t, err)
	got := s.take()
	if got.addr != nc.LocalAddr().String() || got.laddr != nc.RemoteAddr().String() || !got.isUnix {
		t.Errorf("given away as %+v", got)
	}
	wantRead(t, got.conn, "PING\r\n")
}

func TestHeaderComesBeforeTheHandshake(t *testing.T) {
	st, ca := secure(t, nil)
	s := newStage(t, "127.0.0.1:0", Options{TLS: st, ProxyProtocol: true})
	nc := s.dial()
	_, err := io.WriteString(nc, header(0x21, 0x21, addrs6))
	must(t, err)
	tc := tls.Client(nc, trusting(ca))
	_, err = io.WriteString(tc, "PING\r\n")
	must(t, err)
	got := s.take()
	if got.addr != "[2001:db8::1]:54321" || got.laddr != "[2001:db8::2]:6379" {
		t.Errorf("given away as %+v", got)
	}
	wantRead(t, got.conn, "PING\r\n")
}

func TestClientCertificateIsRequiredWhereAuthoritiesAreGiven(t *testing.T) {
	st, ca := secure(t, func(f *ServerFiles, ca *certificates.Authority) {
		f.ClientCAFile = filepath.Join(t.TempDir(), "ca.pem")
		certificates.WriteFile(t, f.ClientCAFile, ca.PEM())
	})
	s := newStage(t, "127.0.0.1:0", Options{TLS: st})
	stranger := certificates.NewAuthority(t, "stranger").Issue("client").Certificate(t)
	for name, certs := range map[string][]tls.Certificate{"no certificate": nil, "another authority's": {stranger}} {
		before := s.refused.Load()
		c := trusting(ca)
		// Not Certificates: crypto/tls would not send one that the server doesn't want.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if certs == nil {
				return &tls.Certificate{}, nil
			}
			return &certs[0], nil
		}
		tc := tls.Client(s.dial(), c)
		if _, err := tc.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("%s: %v, want TLS's error", name, err)
		}
		eventually(t, name+" was not counted", func() bool { return s.refused.Load() == before+1 })
	}
	s.none("nobody had the right certificate")
	c := trusting(ca)
	c.Certificates = []tls.Certificate{ca.Issue("client").Certificate(t)}
	_, err := io.WriteString(tls.Client(s.dial(), c), "x")
	must(t, err)
	wantRead(t, s.take().conn, "x")
}

func TestOlderVersionThanAllowedIsRefused(t *testing.T) {
	st, ca := secure(t, func(f *ServerFiles, _ *certificates.Authority) { f.MinVersion = tls.VersionTLS13 })
	s := newStage(t, "127.0.0.1:0", Options{TLS: st})
	c := trusting(ca)
	c.MaxVersion = tls.VersionTLS12
	if err := tls.Client(s.dial(), c).Handshake(); err == nil {
		t.Error("TLS 1.2 was spoken although 1.3 is the least")
	}
	must(t, tls.Client(s.dial(), trusting(ca)).Handshake())
	s.take()
}

func TestStalledHandshakeEndsAndHoldsNobodyUp(t *testing.T) {
	st, ca := secure(t, nil)
	s := newStage(t, "127.0.0.1:0", Options{TLS: st, Timeout: 300 * time.Millisecond})
	silent, half := s.dial(), s.dial()
	_, err := io.WriteString(half, "\x16\x03\x01\x02\x00\x01")
	must(t, err)
	must(t, tls.Client(s.dial(), trusting(ca)).Handshake())
	s.take()
	if n := s.refused.Load(); n != 0 {
		t.Fatalf("%d connections were given up before the other was served", n)
	}
	for _, nc := range []net.Conn{silent, half} {
		if got, _ := io.ReadAll(nc); len(got) > 0 {
			t.Errorf("a stalled client was sent %q", got)
		}
	}
	eventually(t, "the stalled ones were not counted", func() bool { return s.refused.Load() == 2 })
}

func TestGreetingsAtATimeAreBounded(t *testing.T) {
	st, ca := secure(t, nil)
	s := newStage(t, "127.0.0.1:0", Options{TLS: st, Timeout: 300 * time.Millisecond})
	if cap(s.front.slots) != maxGreeting {
		t.Fatalf("%d greetings at a time, want %d", cap(s.front.slots), maxGreeting)
	}
	for range maxGreeting - 1 { // Serve holds one while it waits for a connection
		s.front.slots <- struct{}{}
	}
	silent := s.dial()
	eventually(t, "the silent client was not accepted", func() bool { return len(s.front.slots) == maxGreeting })
	tc := tls.Client(s.dial(), trusting(ca))
	must(t, tc.Handshake())
	s.take()
	// The handshake had to wait for the silent client's end.
	if n := s.refused.Load(); n != 1 {
		t.Errorf("%d connections had been given up, want the silent one", n)
	}
	silent.Close()
	for range maxGreeting - 1 {
		<-s.front.slots
	}
}

func TestFullProxySparesTheHandshake(t *testing.T) {
	st, _ := secure(t, nil)
	s := newStage(t, "127.0.0.1:0", Options{TLS: st})
	s.full.Store(true)
	if got, _ := io.ReadAll(s.dial()); len(got) > 0 {
		t.Errorf("was sent %q", got)
	}
	eventually(t, "the connection was not counted", func() bool { return s.refused.Load() == 1 })
}

func TestNewCertificatesAreForNewConnections(t *testing.T) {
	first, firstCA := secure(t, nil)
	second, secondCA := secure(t, nil)
	s := newStage(t, "127.0.0.1:0", Options{TLS: first})
	old := tls.Client(s.dial(), trusting(firstCA))
	must(t, old.Handshake())
	kept := s.take()
	s.front.Secure(second, time.Minute)
	must(t, tls.Client(s.dial(), trusting(secondCA)).Handshake())
	s.take()
	_, err := io.WriteString(old, "PING\r\n")
	must(t, err)
	wantRead(t, kept.conn, "PING\r\n")
}

func TestStoppedFrontGreetsNobody(t *testing.T) {
	st, _ := secure(t, nil)
	s := newStage(t, "127.0.0.1:0", Options{TLS: st, Timeout: time.Hour})
	atIt := s.dial()
	eventually(t, "the client was not accepted", func() bool { return len(s.front.slots) == 2 })
	s.front.Stop()
	for _, nc := range []net.Conn{atIt, s.dial()} {
		if got, _ := io.ReadAll(nc); len(got) > 0 {
			t.Errorf("was sent %q", got)
		}
	}
	s.none("the front was stopped")
}

func TestKeepAliveIsRediss(t *testing.T) {
	st, ca := secure(t, nil)
	s := newStage(t, "127.0.0.1:0", Options{TLS: st})
	must(t, tls.Client(s.dial(), trusting(ca)).Handshake())
	s.take()
	var tcp *net.TCPConn
	s.front.opts.Bridge.mu.Lock()
	for sp := range s.front.opts.Bridge.spans {
		tcp = sp.wire.Conn.(*net.TCPConn)
	}
	s.front.opts.Bridge.mu.Unlock()
	raw, err := tcp.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		for option, want := range map[int]int{unix.TCP_KEEPIDLE: 40, unix.TCP_KEEPINTVL: 13, unix.TCP_KEEPCNT: 3, unix.TCP_NODELAY: 1} {
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, option); got != want || err != nil {
				t.Errorf("option %d is %d, %v; want %d", option, got, err, want)
			}
		}
		if on, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE); on != 1 || err != nil {
			t.Errorf("keepalive is %d, %v", on, err)
		}
	}))
}

func TestKeepAliveIsOffUnlessAskedFor(t *testing.T) {
	s := newStage(t, "127.0.0.1:0", Options{ProxyProtocol: true})
	_, err := io.WriteString(s.dial(), header(0x20, 0, ""))
	must(t, err)
	if got := s.take(); got.keepAlive != 0 {
		t.Error("keepalive is on; whoever takes the connection decides about it")
	}
}
