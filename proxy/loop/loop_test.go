//go:build linux

package loop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo sends back what it gets, in frames of a size: what is left of an
// incomplete one is not consumed.
type echo struct {
	Conn
	frame  int
	out    []byte
	closed chan error
	stay   bool
}

func (e *echo) Input(data []byte) int {
	n := len(data) - len(data)%max(1, e.frame)
	e.out = append(e.out, data[:n]...)
	e.Flush()
	return n
}

func (e *echo) Output() []byte { return e.out }

func (e *echo) Wrote(n int) {
	e.out = e.out[n:]
	if e.stay && len(e.out) == 0 {
		e.Close(errDone)
	}
}

func (e *echo) Closed(err error) { e.closed <- err }

var errDone = errors.New("done")

// half is an echo that stays for its output when the peer has closed.
type half struct{ echo }

func (h *half) PeerClosed() bool {
	if len(h.out) == 0 {
		return false
	}
	h.stay = true
	return true
}

func running(t *testing.T) *Loop {
	t.Helper()
	l, err := New(0)
	if err != nil {
		t.Fatal(err)
	}
	l.Start()
	t.Cleanup(l.Stop)
	return l
}

// on runs f on the loop and waits for it.
func on(t *testing.T, l *Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !l.Do(func() { f(); close(done) }) {
		t.Fatal("the loop takes no work")
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the loop did not run what it was given")
	}
}

// pair connects a handler on the loop with an ordinary connection.
func pair(t *testing.T, l *Loop, c *Conn, h Handler) net.Conn {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[1]), "peer")
	peer, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	peer.SetDeadline(time.Now().Add(20 * time.Second))
	unix.SetNonblock(fds[0], true)
	on(t, l, func() {
		if err := c.Attach(l, fds[0], h); err != nil {
			t.Error(err)
		}
	})
	return peer
}

func newEcho(frame int) *echo { return &echo{frame: frame, closed: make(chan error, 1)} }

func waitClosed(t *testing.T, e *echo) error {
	t.Helper()
	select {
	case err := <-e.closed:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the connection was not closed")
		return nil
	}
}

func TestWhatIsNotConsumedComesAgainWithWhatArrivesNext(t *testing.T) {
	l := running(t)
	e := newEcho(5)
	peer := pair(t, l, &e.Conn, e)
	got := make([]byte, 10)
	for _, piece := range []string{"a", "bcd", "efgh", "ij"} {
		if _, err := peer.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // so that the pieces arrive apart
	}
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != "abcdefghij" {
		t.Fatalf("got %q, %v", got, err)
	}
	on(t, l, func() {
		if e.Buffered() != 0 {
			t.Errorf("%d bytes are still held", e.Buffered())
		}
		if e.in != nil {
			t.Error("an idle connection holds a buffer")
		}
	})
}

func TestLargeOutputIsWrittenAsThePeerTakesIt(t *testing.T) {
	l := running(t)
	e := newEcho(1)
	peer := pair(t, l, &e.Conn, e)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB, beyond any socket buffer
	go peer.Write(sent)
	time.Sleep(20 * time.Millisecond) // the echo can't get rid of it yet
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(peer, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Fatal("what came back differs from what was sent")
	}
}

func TestPausedConnectionReadsNothingUntilItIsResumed(t *testing.T) {
	l := running(t)
	e := newEcho(1)
	peer := pair(t, l, &e.Conn, e)
	on(t, l, e.Pause)
	peer.Write([]byte("x"))
	peer.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := peer.Read(make([]byte, 1)); n != 0 || !os.IsTimeout(err) {
		t.Fatalf("a paused connection answered: %d bytes, %v", n, err)
	}
	on(t, l, e.Resume)
	peer.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(peer, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

func TestPausedConnectionWhosePeerIsGoneIsClosed(t *testing.T) {
	l := running(t)
	e := newEcho(1)
	peer := pair(t, l, &e.Conn, e)
	on(t, l, e.Pause)
	peer.Close()
	waitClosed(t, e)
}

func TestHandlerMayStayForItsOutputWhenThePeerHasClosed(t *testing.T) {
	l := running(t)
	h := &half{echo{frame: 1, closed: make(chan error, 1)}}
	peer := pair(t, l, &h.Conn, h).(*net.UnixConn)
	sent := bytes.Repeat([]byte("y"), 1<<20)
	go func() {
		peer.Write(sent)
		peer.CloseWrite()
	}()
	got, err := io.ReadAll(peer)
	if err != nil || len(got) != len(sent) {
		t.Fatalf("got %d bytes of %d, %v", len(got), len(sent), err)
	}
	if err := waitClosed(t, &h.echo); !errors.Is(err, errDone) && !errors.Is(err, io.EOF) {
		t.Fatalf("closed with %v", err)
	}
}

func TestEventOfAClosedConnectionDoesNotReachItsSuccessor(t *testing.T) {
	l := running(t)
	first := newEcho(1)
	peer := pair(t, l, &first.Conn, first)
	second := newEcho(1)
	var other net.Conn
	// Both are done in one iteration in which the first is readable.
	on(t, l, func() {
		peer.Write([]byte("stale"))
		first.Close(errDone)
	})
	other = pair(t, l, &second.Conn, second)
	other.Write([]byte("fresh"))
	got := make([]byte, 5)
	if _, err := io.ReadFull(other, got); err != nil || string(got) != "fresh" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestTimersFireInTheirOrderAndStoppedOnesDoNot(t *testing.T) {
	l := running(t)
	var mu sync.Mutex
	var fired []int
	done := make(chan struct{})
	note := func(i int) func() {
		return func() {
			mu.Lock()
			fired = append(fired, i)
			mu.Unlock()
		}
	}
	on(t, l, func() {
		l.After(30*time.Millisecond, func() { note(3)(); close(done) })
		l.After(10*time.Millisecond, note(1))
		stopped := l.After(15*time.Millisecond, note(9))
		l.After(20*time.Millisecond, note(2))
		stopped.Stop()
		stopped.Stop()
	})
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the last timer did not fire")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(fired) != 3 || fired[0] != 1 || fired[1] != 2 || fired[2] != 3 {
		t.Fatalf("fired %v", fired)
	}
}

func TestWorkFromManyGoroutinesRunsOnce(t *testing.T) {
	l := running(t)
	const each, senders = 500, 8
	count := 0 // only the loop touches it
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for range each {
				l.Do(func() { count++ })
			}
		})
	}
	wg.Wait()
	on(t, l, func() {
		if count != each*senders {
			t.Errorf("ran %d of %d", count, each*senders)
		}
	})
}

func TestStoppedLoopClosesItsConnectionsAndTakesNoWork(t *testing.T) {
	l, err := New(0)
	if err != nil {
		t.Fatal(err)
	}
	l.Start()
	e := newEcho(1)
	peer := pair(t, l, &e.Conn, e)
	l.Stop()
	if err := waitClosed(t, e); !errors.Is(err, ErrStopped) {
		t.Fatalf("closed with %v", err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("the peer sees %v", err)
	}
	if l.Do(func() {}) {
		t.Fatal("a stopped loop took work")
	}
	if l.Conns() != 0 {
		t.Fatalf("%d connections are left", l.Conns())
	}
}

func TestNewConnectionsFillABusyLoopBeforeAnother(t *testing.T) {
	g, err := NewGroup(3)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range g.Loops() {
		defer func() { unix.Close(l.ep); unix.Close(l.wakeFD) }()
	}
	busy := func(shares ...uint32) {
		for i, s := range shares {
			g.Loops()[i].busy.Store(s)
		}
	}
	for _, c := range []struct {
		shares []uint32
		want   int
	}{
		{[]uint32{0, 0, 0}, 0},
		{[]uint32{699, 0, 0}, 0},
		{[]uint32{700, 0, 0}, 1},
		{[]uint32{900, 800, 100}, 2},
		{[]uint32{1000, 900, 950}, 1},
	} {
		busy(c.shares...)
		if got := g.Pick().Index; got != c.want {
			t.Errorf("with busy shares %v picked %d, want %d", c.shares, got, c.want)
		}
	}
}

func TestListenerReplacesAStaleSocketAndNoLivingOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	ln, err := Listen("unix:"+path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Listen("unix:"+path, 0); err == nil {
		t.Fatal("took a socket that is served")
	}
	plain := filepath.Join(t.TempDir(), "file")
	os.WriteFile(plain, nil, 0o600)
	if _, err := Listen("unix:"+plain, 0); err == nil {
		t.Fatal("replaced a file that is no socket")
	}
}

func TestAcceptReturnsNonBlockingDescriptorsUntilClosed(t *testing.T) {
	ln, err := Listen("127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	fds := make(chan int, 1)
	go func() {
		for {
			fd, err := ln.Accept(func(error) {})
			if err != nil {
				ended <- err
				return
			}
			fds <- fd
		}
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	select {
	case fd := <-fds:
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags %o, %v", flags, err)
		}
		unix.Close(fd)
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was accepted")
	}
	ln.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Fatalf("ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Accept did not end with its listener")
	}
}

func TestReusedBufferHoldsNothing(t *testing.T) {
	l := &Loop{}
	b := l.GetBuffer()
	b.B = append(b.B, "secret"...)
	l.PutBuffer(b)
	if again := l.GetBuffer(); len(again.B) != 0 {
		t.Fatalf("a fresh buffer holds %q", again.B)
	}
	large := &Buffer{B: make([]byte, 0, bufferKeep+1)}
	l.PutBuffer(large)
	if l.GetBuffer() == large {
		t.Fatal("a buffer beyond the bound was kept")
	}
}

func BenchmarkBuffer(b *testing.B) {
	l := &Loop{}
	b.ReportAllocs()
	for b.Loop() {
		buf := l.GetBuffer()
		buf.B = append(buf.B, "0123456789"...)
		l.PutBuffer(buf)
	}
}
