//go:build linux

// Package loop runs connections on event loops: one locked goroutine around an
// epoll instance each, with its own connections, timers and buffers.
//
// Everything that a loop owns is touched by its goroutine alone, so that
// nothing on the path of a request needs a lock. One iteration waits for
// events (first without blocking), reads every ready connection once into a
// scratch buffer that all share, hands the bytes to the connection's Handler,
// and only at the end writes out what the handlers left to be sent. Many
// sessions' requests so leave in one write, and many replies arrive in one
// read.
//
// Other goroutines reach a loop through Do.
package loop

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// scratchSize is what one read takes at most. Larger reads save system
	// calls under pipelining; beyond 256 KiB nothing more was gained on
	// loopback with 50 pipelining clients.
	scratchSize = 256 << 10
	// maxEvents bounds one iteration, so that the first ready connection of
	// a crowd doesn't wait for the last one's work before it is written to.
	maxEvents = 512
	// loadWindow is the time over which the busy share of a loop is taken.
	loadWindow = 100 * time.Millisecond
)

// epoch is the zero of Now: a monotonic clock reading costs half of a full one.
var epoch = time.Now()

// Now is the time in nanoseconds since the program started, monotonic.
func Now() int64 { return int64(time.Since(epoch)) }

// Loop is one event loop. Its methods are for its own goroutine, except Do,
// Busy, Conns, Start and Stop.
type Loop struct {
	// Index is the loop's place among its siblings.
	Index int
	// OnTurn, when set, runs at the end of every iteration, before output is
	// written.
	OnTurn func()

	ep     int
	wakeFD int
	now    int64
	dirty  []*Conn
	kicked []*Conn
	slots  []slot
	free   []uint32
	timers timerHeap
	pool   bufferPool

	scratch []byte
	events  [maxEvents]unix.EpollEvent

	mu       sync.Mutex
	inbox    []func()
	spare    []func()
	sleeping atomic.Bool
	stopping atomic.Bool
	done     chan struct{}

	conns     atomic.Int64
	busy      atomic.Uint32 // per mille over the last window
	idle      int64         // ns blocked in the current window
	windowEnd int64
	sleepFrom atomic.Int64
}

type slot struct {
	conn *Conn
	gen  uint32
}

// wakeSlot marks the event of the wake-up descriptor.
const wakeSlot = -1

// New makes a loop; Start runs it.
func New(index int) (*Loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &Loop{Index: index, ep: ep, wakeFD: wake, scratch: make([]byte, scratchSize), done: make(chan struct{})}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeSlot}
	if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, wake, &ev); err != nil {
		unix.Close(wake)
		unix.Close(ep)
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	l.now = Now()
	return l, nil
}

// Start runs the loop on a goroutine of its own until Stop.
func (l *Loop) Start() { go l.run() }

// Stop closes every connection of the loop, ends it and waits for that.
// Any goroutine but the loop's own may call it.
func (l *Loop) Stop() {
	l.stopping.Store(true)
	l.wake()
	<-l.done
}

// Do runs f on the loop, soon. Any goroutine may call it; after Stop f is
// dropped, and Do reports false.
func (l *Loop) Do(f func()) bool {
	l.mu.Lock()
	if l.stopping.Load() {
		l.mu.Unlock()
		return false
	}
	l.inbox = append(l.inbox, f)
	l.mu.Unlock()
	if l.sleeping.Load() {
		l.wake()
	}
	return true
}

func (l *Loop) wake() {
	one := [8]byte{1}
	unix.Write(l.wakeFD, one[:])
}

// Wake makes the loop run one iteration soon. Any goroutine may call it.
func (l *Loop) Wake() { l.wake() }

// Now is the time at which this iteration's events were taken, in
// nanoseconds; see the function of the same name.
func (l *Loop) Now() int64 { return l.now }

// Busy is the share of the last tenth of a second that the loop did not
// spend waiting, in per mille. Any goroutine may call it.
func (l *Loop) Busy() int {
	if from := l.sleepFrom.Load(); from != 0 && Now()-from > int64(loadWindow) {
		return 0
	}
	return int(l.busy.Load())
}

// Conns is the number of connections the loop owns. Any goroutine may call it.
func (l *Loop) Conns() int { return int(l.conns.Load()) }

func (l *Loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(l.done)
	l.windowEnd = l.now + int64(loadWindow)
	for {
		n := l.wait()
		for i := range n {
			ev := &l.events[i]
			if ev.Fd == wakeSlot {
				var b [8]byte
				rawRead(l.wakeFD, b[:])
				continue
			}
			s := &l.slots[ev.Fd]
			if s.gen != uint32(ev.Pad) || s.conn == nil {
				continue // closed by an event before it in this iteration
			}
			s.conn.ready(ev.Events)
		}
		l.runInbox()
		l.timers.run(l.now)
		for i := 0; i < len(l.kicked); i++ {
			c := l.kicked[i]
			l.kicked[i] = nil
			c.flags &^= flagKicked
			c.replay()
		}
		l.kicked = l.kicked[:0]
		if l.OnTurn != nil {
			l.OnTurn()
		}
		l.flush()
		if l.stopping.Load() {
			l.shutdown()
			return
		}
	}
}

// wait returns the number of events taken, and sets now.
func (l *Loop) wait() int {
	n := epollWait(l.ep, l.events[:], 0, false)
	if n > 0 {
		l.now = Now()
		l.account()
		return n
	}
	timeout := -1
	from := Now()
	if at, ok := l.timers.next(); ok {
		timeout = max(0, int((at-from+999_999)/1_000_000))
	}
	l.sleepFrom.Store(from)
	l.sleeping.Store(true)
	l.mu.Lock()
	pending := len(l.inbox) > 0
	l.mu.Unlock()
	if pending || l.stopping.Load() || len(l.kicked) > 0 {
		timeout = 0
	}
	n = epollWait(l.ep, l.events[:], timeout, true)
	l.sleeping.Store(false)
	l.sleepFrom.Store(0)
	l.now = Now()
	l.idle += l.now - from
	l.account()
	return n
}

// account closes the load window when it is over.
func (l *Loop) account() {
	if l.now < l.windowEnd {
		return
	}
	window := l.now - l.windowEnd + int64(loadWindow)
	share := 1000 - l.idle*1000/window
	l.busy.Store(uint32(min(1000, max(0, share))))
	l.idle = 0
	l.windowEnd = l.now + int64(loadWindow)
}

func (l *Loop) runInbox() {
	l.mu.Lock()
	if len(l.inbox) == 0 {
		l.mu.Unlock()
		return
	}
	work := l.inbox
	l.inbox, l.spare = l.spare[:0], nil
	l.mu.Unlock()
	for i, f := range work {
		f()
		work[i] = nil
	}
	l.spare = work[:0]
}

// flush writes what the handlers left to be sent. A handler's Wrote may make
// other connections dirty: those are written in the same call.
func (l *Loop) flush() {
	for i := 0; i < len(l.dirty); i++ {
		c := l.dirty[i]
		c.flags &^= flagDirty
		if c.fd >= 0 && c.flags&flagWantWrite == 0 {
			c.write()
		}
		l.dirty[i] = nil
	}
	l.dirty = l.dirty[:0]
}

// shutdown closes what is left; functions still in the inbox run, since their
// senders may wait for them.
func (l *Loop) shutdown() {
	for i := range l.slots {
		if c := l.slots[i].conn; c != nil {
			c.Close(ErrStopped)
		}
	}
	l.mu.Lock()
	work := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, f := range work {
		f()
	}
	for i := range l.slots {
		if c := l.slots[i].conn; c != nil {
			c.Close(ErrStopped)
		}
	}
	unix.Close(l.wakeFD)
	unix.Close(l.ep)
}
