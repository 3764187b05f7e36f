//go:build linux

package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeServer answers what a test tells it to. It is for faults which a real
// server can't be made to show.
type fakeServer struct {
	t     *testing.T
	ln    net.Listener
	conns chan *bufio.ReadWriter
	raw   chan net.Conn
}

func newFake(t *testing.T) *fakeServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeServer{t: t, ln: ln, conns: make(chan *bufio.ReadWriter, 16), raw: make(chan net.Conn, 16)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(20 * time.Second))
			f.conns <- bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c))
			f.raw <- c
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
		for len(f.raw) > 0 {
			(<-f.raw).Close()
		}
	})
	return f
}

func (f *fakeServer) accept() (*bufio.ReadWriter, net.Conn) {
	f.t.Helper()
	select {
	case rw := <-f.conns:
		c := <-f.raw
		f.t.Cleanup(func() { c.Close() })
		return rw, c
	case <-time.After(10 * time.Second):
		f.t.Fatal("nobody connected")
		return nil, nil
	}
}

// expect reads one request and fails when it is another than the words.
func expect(t *testing.T, rw *bufio.ReadWriter, words ...string) {
	t.Helper()
	var n int
	if _, err := fmt.Fscanf(rw, "*%d\r\n", &n); err != nil {
		t.Fatalf("waiting for %v: %v", words, err)
	}
	var got []string
	for range n {
		var size int
		if _, err := fmt.Fscanf(rw, "$%d\r\n", &size); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, size+2)
		if _, err := readFull(rw, b); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b[:size]))
	}
	if strings.Join(got, " ") != strings.Join(words, " ") {
		t.Fatalf("got %v, want %v", got, words)
	}
}

func readFull(rw *bufio.ReadWriter, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k, err := rw.Read(b[n:])
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func say(t *testing.T, rw *bufio.ReadWriter, text string) {
	t.Helper()
	rw.WriteString(text)
	if err := rw.Flush(); err != nil {
		t.Fatal(err)
	}
}

// caller notes what becomes of its call.
type caller struct {
	Call
	reply string
	lost  error
	sent  bool
	ended chan struct{}
}

func newCaller() *caller {
	c := &caller{ended: make(chan struct{})}
	c.Owner = c
	return c
}

func (c *caller) Reply(_ *Call, piece []byte, done bool) {
	c.reply += string(piece)
	if done {
		close(c.ended)
	}
}

func (c *caller) Lost(_ *Call, sent bool, err error) {
	c.lost, c.sent = err, sent
	close(c.ended)
}

func (c *caller) wait(t *testing.T) *caller {
	t.Helper()
	select {
	case <-c.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the call did not end")
	}
	return c
}

type bench struct {
	t    *testing.T
	loop *loop.Loop
	pool *Pool
	node *topology.Node
}

func newBench(t *testing.T, addr string, change ...func(*Options)) *bench {
	t.Helper()
	l, err := loop.New(0)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Dial: func(ctx context.Context, addr string) (int, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", addr)
			if err != nil {
				return -1, err
			}
			return loop.Take(c)
		},
		ConnectTimeout: 5 * time.Second, MaxPending: 100, MaxUnsent: 1 << 20,
		BackoffMin: time.Hour, BackoffMax: time.Hour, DedicatedMax: 2, DedicatedIdle: time.Minute,
	}
	for _, f := range change {
		f(&o)
	}
	b := &bench{t: t, loop: l, pool: NewPool(l, o), node: topology.NewNode(addr, 0, 1)}
	l.Start()
	t.Cleanup(l.Stop)
	return b
}

// on runs f on the loop and waits.
func (b *bench) on(f func()) {
	b.t.Helper()
	done := make(chan struct{})
	b.loop.Do(func() { defer close(done); f() })
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		b.t.Fatal("the loop hangs")
	}
}

func (b *bench) send(k Key, request string, c *caller) (link *Link) {
	b.t.Helper()
	b.on(func() {
		var err error
		if link, err = b.pool.Group(k).Shared(b.node); err != nil {
			b.t.Error(err)
			return
		}
		link.Send([]byte(request), &c.Call)
	})
	return link
}

const ping = "*1\r\n$4\r\nPING\r\n"

var plain = Key{Proto: 2}

func TestRequestsWaitForTheHandshake(t *testing.T) {
	f := newFake(t)
	b := newBench(t, f.ln.Addr().String())
	c := newCaller()
	b.send(Key{Identity: NewIdentity("alice", "secret"), DB: 3, Proto: 2}, ping, c)
	rw, conn := f.accept()
	expect(t, rw, "AUTH", "alice", "secret")
	expect(t, rw, "SELECT", "3")
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := rw.Peek(1); err == nil {
		t.Fatal("a request left before the handshake was answered")
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	say(t, rw, "+OK\r\n+OK\r\n")
	expect(t, rw, "PING")
	say(t, rw, "+PONG\r\n")
	if c.wait(t); c.reply != "+PONG\r\n" {
		t.Fatalf("reply %q", c.reply)
	}
}

func TestRefusedHandshakeFailsRequestsThatNeverLeft(t *testing.T) {
	f := newFake(t)
	b := newBench(t, f.ln.Addr().String())
	c := newCaller()
	b.send(Key{Identity: NewIdentity("", "wrong"), Proto: 2}, ping, c)
	rw, _ := f.accept()
	expect(t, rw, "AUTH", "wrong")
	say(t, rw, "-WRONGPASS no\r\n")
	c.wait(t)
	if he := (*HandshakeError)(nil); c.sent || !errors.As(c.lost, &he) || he.Text != "WRONGPASS no" {
		t.Fatalf("sent %v, %v", c.sent, c.lost)
	}
}

func TestRESP3LinksSayHello(t *testing.T) {
	f := newFake(t)
	b := newBench(t, f.ln.Addr().String())
	b.send(Key{Identity: NewIdentity("", "pw"), Proto: 3}, ping, newCaller())
	rw, _ := f.accept()
	expect(t, rw, "HELLO", "3", "AUTH", "default", "pw")
	say(t, rw, "%1\r\n+proto\r\n:3\r\n")
	expect(t, rw, "PING")
}

func TestLostLinkTellsWhatMayHaveRun(t *testing.T) {
	f := newFake(t)
	b := newBench(t, f.ln.Addr().String(), func(o *Options) { o.MaxUnsent = 1 << 30; o.MaxPending = 1 << 20 })
	answered, sent, unsent := newCaller(), newCaller(), newCaller()
	link := b.send(plain, ping, answered)
	rw, conn := f.accept()
	expect(t, rw, "PING")
	say(t, rw, "+PONG\r\n")
	answered.wait(t)
	b.send(plain, ping, sent)
	expect(t, rw, "PING")
	// More than the sockets hold, so that the last one stays here.
	big := "*2\r\n$4\r\nECHO\r\n$33554432\r\n" + strings.Repeat("x", 33554432) + "\r\n"
	b.send(plain, big, newCaller())
	b.send(plain, ping, unsent)
	b.on(func() {
		if link.Unsent() == 0 {
			t.Error("everything left; the test shows nothing")
		}
	})
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	sent.wait(t)
	unsent.wait(t)
	if answered.lost != nil || sent.lost == nil || !sent.sent || unsent.lost == nil || unsent.sent {
		t.Fatalf("answered: %v; sent: %v %v; unsent: %v %v", answered.lost, sent.sent, sent.lost, unsent.sent, unsent.lost)
	}
}

func TestPartOfAReplyIsNotAReply(t *testing.T) {
	f := newFake(t)
	b := newBench(t, f.ln.Addr().String())
	c := newCaller()
	b.send(plain, ping, c)
	rw, conn := f.accept()
	expect(t, rw, "PING")
	say(t, rw, "$10\r\nhalf")
	conn.Close()
	if c.wait(t); c.lost == nil || !c.sent {
		t.Fatalf("lost %v, sent %v, reply %q", c.lost, c.sent, c.reply)
	}
}

func TestGarbageEndsTheLink(t *testing.T) {
	for _, garbage := range []string{"HTTP/1.1 400 Bad Request\r\n", "$x\r\n", "*99999999999999999999\r\n"} {
		f := newFake(t)
		b := newBench(t, f.ln.Addr().String())
		c := newCaller()
		link := b.send(plain, ping, c)
		rw, _ := f.accept()
		expect(t, rw, "PING")
		say(t, rw, garbage)
		if c.wait(t); c.lost == nil {
			t.Fatalf("%q was taken for %q", garbage, c.reply)
		}
		b.on(func() {
			if link.Alive() {
				t.Errorf("%q left the link in use", garbage)
			}
		})
	}
}

func TestReplyToNoRequestEndsTheLink(t *testing.T) {
	f := newFake(t)
	b := newBench(t, f.ln.Addr().String())
	c := newCaller()
	link := b.send(plain, ping, c)
	rw, conn := f.accept()
	expect(t, rw, "PING")
	say(t, rw, "+PONG\r\n+EXTRA\r\n")
	c.wait(t)
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("the link goes on")
	}
	b.on(func() {
		if link.Alive() {
			t.Error("the link is still in use")
		}
	})
}

func TestFailedConnectIsNotTriedAgainAtOnce(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	b := newBench(t, addr)
	c := newCaller()
	b.send(plain, ping, c)
	if c.wait(t); c.sent || c.lost == nil {
		t.Fatalf("sent %v, %v", c.sent, c.lost)
	}
	b.on(func() {
		if _, err := b.pool.Group(plain).Shared(b.node); err == nil {
			t.Error("connects again while the wait lasts")
		}
	})
}

func TestFullLinkWakesWhoWaits(t *testing.T) {
	f := newFake(t)
	b := newBench(t, f.ln.Addr().String(), func(o *Options) { o.MaxPending = 2 })
	first, second := newCaller(), newCaller()
	link := b.send(plain, ping, first)
	b.send(plain, ping, second)
	w := &waiter{woken: make(chan struct{})}
	b.on(func() {
		if !link.Full() {
			t.Error("two of two are pending, and the link is not full")
		}
		link.Wait(w)
	})
	rw, _ := f.accept()
	expect(t, rw, "PING")
	say(t, rw, "+PONG\r\n")
	select {
	case <-w.woken:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was woken")
	}
}

func TestWhoWaitsAheadIsWokenFirst(t *testing.T) {
	f := newFake(t)
	b := newBench(t, f.ln.Addr().String(), func(o *Options) { o.MaxPending = 4 })
	var order []int
	link := b.send(plain, ping, newCaller())
	b.on(func() {
		if link.Crowded() {
			t.Error("one of four is pending, and the link is half full")
		}
	})
	for range 3 {
		b.send(plain, ping, newCaller())
	}
	woken := make(chan struct{})
	b.on(func() {
		if !link.Crowded() || !link.Full() {
			t.Error("four of four are pending, and the link is not full")
		}
		note := func(i int) noting { return func() { order = append(order, i) } }
		link.Wait(note(3))
		link.WaitAhead(note(1))
		link.Wait(noting(func() { close(woken) }))
		link.WaitAhead(note(2))
	})
	rw, _ := f.accept()
	for range 4 {
		expect(t, rw, "PING")
		say(t, rw, "+PONG\r\n")
	}
	select {
	case <-woken:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was woken")
	}
	b.on(func() {
		if !slices.Equal(order, []int{1, 2, 3}) {
			t.Errorf("woken in the order %v", order)
		}
	})
}

type noting func()

func (f noting) Resume() { f() }

type waiter struct{ woken chan struct{} }

func (w *waiter) Resume() { close(w.woken) }

func TestDedicatedLinksAreBoundedAndComeBack(t *testing.T) {
	f := newFake(t)
	b := newBench(t, f.ln.Addr().String())
	var one, two *Link
	w := &waiter{woken: make(chan struct{})}
	b.on(func() {
		g := b.pool.Group(plain)
		one, _ = g.Dedicate(b.node)
		two, _ = g.Dedicate(b.node)
		if _, err := g.Dedicate(b.node); err != ErrDedicatedLimit {
			t.Errorf("a third of two: %v", err)
		}
		b.pool.WaitDedicated(w)
		g.Release(one)
	})
	<-w.woken
	b.on(func() {
		again, err := b.pool.Group(plain).Dedicate(b.node)
		if err != nil || again != one || again == two {
			t.Errorf("got another link than the one given back: %v", err)
		}
	})
}

func TestSomeUnusedDedicatedLinksStayWhileTheGroupHasSessions(t *testing.T) {
	f := newFake(t)
	b := newBench(t, f.ln.Addr().String(), func(o *Options) { o.DedicatedKeep, o.DedicatedIdle = 1, time.Nanosecond })
	var one, two *Link
	b.on(func() {
		g := b.pool.Group(plain)
		g.Sessions = 1
		one, _ = g.Dedicate(b.node)
		two, _ = g.Dedicate(b.node)
		g.Release(one)
		g.Release(two)
	})
	time.Sleep(time.Millisecond) // the loop's clock moves on
	b.on(func() {
		g := b.pool.Group(plain)
		b.pool.Sweep()
		if one.Alive() || !two.Alive() {
			t.Errorf("of two unused links the first is open: %v, the last: %v; want the last to stay", one.Alive(), two.Alive())
		}
		g.Sessions = 0
		b.pool.Sweep()
		if two.Alive() {
			t.Error("a link stays for a group without sessions")
		}
	})
}

func TestDetachedLinkFinishesWhatItHasAndMovesWhatItMay(t *testing.T) {
	f := newFake(t)
	b := newBench(t, f.ln.Addr().String())
	slow, movable, stuck := newCaller(), newCaller(), newCaller()
	link := b.send(plain, "*1\r\n$4\r\nSLOW\r\n", slow)
	b.send(plain, "*1\r\n$4\r\nREAD\r\n", movable)
	b.send(plain, "*1\r\n$5\r\nWRITE\r\n", stuck)
	rw, conn := f.accept()
	expect(t, rw, "SLOW")
	expect(t, rw, "READ")
	expect(t, rw, "WRITE")
	b.on(func() {
		link.Detach()
		fresh, err := b.pool.Group(plain).Shared(b.node)
		if err != nil || fresh == link {
			t.Errorf("no fresh link: %v", err)
			return
		}
		link.Behind(func(c *Call, request []byte) bool {
			if c != &movable.Call {
				return false
			}
			fresh.Send(request, c)
			return true
		})
	})
	rw2, _ := f.accept()
	expect(t, rw2, "READ")
	say(t, rw2, "+moved\r\n")
	say(t, rw, "+slow\r\n+dropped\r\n+written\r\n")
	if slow.wait(t).reply != "+slow\r\n" || movable.wait(t).reply != "+moved\r\n" || stuck.wait(t).reply != "+written\r\n" {
		t.Fatalf("slow %q, moved %q, stuck %q", slow.reply, movable.reply, stuck.reply)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("a detached link with nothing left goes on")
	}
}

func TestIdentityNeverPrintsItsPassword(t *testing.T) {
	k := Key{Identity: NewIdentity("alice", "hunter2"), Proto: 2}
	for _, text := range []string{fmt.Sprint(k), fmt.Sprintf("%+v %#v %s", k, k, k.Identity)} {
		if strings.Contains(text, "hunter2") {
			t.Fatalf("printed %s", text)
		}
	}
}

func TestWindowKeepsWhatIsNotAnswered(t *testing.T) {
	var w window
	w.gate = 1 << 62
	put := func(s string) uint64 {
		at := w.end()
		w.reserve(len(s))
		w.buf = append(w.buf, s...)
		return at
	}
	rounds := 0
	var held []uint64
	word := func(i int) string { return fmt.Sprintf("request %08d;", i) }
	const size = 17
	for i := range 20000 {
		held = append(held, put(word(i)))
		w.wrote(len(w.unsent()))
		if len(held) > 50 {
			first := i - len(held) + 1
			if got := string(w.bytes(held[0], size)); got != word(first) {
				t.Fatalf("held %q, want %q", got, word(first))
			}
			w.ack(held[0] + size)
			held = held[1:]
			rounds++
		}
	}
	if rounds == 0 || cap(w.buf) > 4*windowStart {
		t.Fatalf("%d rounds, capacity %d: the answered part is not given up", rounds, cap(w.buf))
	}
}

func BenchmarkSendAndAnswer(b *testing.B) {
	l, err := loop.New(0)
	if err != nil {
		b.Fatal(err)
	}
	p := NewPool(l, Options{MaxPending: 1 << 20, MaxUnsent: 1 << 30})
	link := &Link{Node: topology.NewNode("a:1", 0, 1), group: p.Group(plain), state: linkReady}
	link.out.gate = 1 << 62
	request := []byte("*2\r\n$3\r\nGET\r\n$5\r\nkey:1\r\n")
	reply := []byte("$5\r\nvalue\r\n")
	c := &Call{Owner: Discard{}}
	b.ReportAllocs()
	for b.Loop() {
		link.Send(request, c)
		link.Wrote(len(link.Output()))
		link.Input(reply)
	}
}
