//go:build linux

package upstream

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// HandshakeError is a server's refusal of what a link says first: AUTH,
// HELLO or SELECT.
type HandshakeError struct{ Text string }

func (e *HandshakeError) Error() string { return e.Text }

// ErrNoReply ends a link on which the server sent what nobody had asked for.
var ErrNoReply = errors.New("the server sent a reply to no request")

// Tap gets what a server sends on a dedicated link without being asked:
// pushes, messages in RESP2, the lines of MONITOR.
type Tap interface {
	// Item gets one whole item, valid during the call. It reports false for
	// one that is the reply to the oldest call instead.
	Item(item []byte, kind byte) bool
	// LinkClosed says that the link has ended, after its calls were told.
	LinkClosed(err error)
}

type linkState uint8

const (
	linkDialing linkState = iota
	linkHandshake
	linkReady
	linkClosed
)

// Link is one connection to a node.
type Link struct {
	loop.Conn
	// Node is the server at the other end.
	Node *topology.Node
	// Dedicated links are lent to one session.
	Dedicated bool
	// Unbounded is the number of script calls under way that may run for as
	// long as they like; its owner counts.
	Unbounded int

	group *Group
	state linkState
	tap   Tap
	// hear makes every item pass the Tap first, not only pushes.
	hear bool
	// stream makes the link forget requests as they are sent.
	stream bool
	// detached links only finish what they have.
	detached bool

	out        window
	head, tail *Call
	pending    int
	lastReply  int64
	readyAt    int64 // 0 until it is ready
	worked     int64 // when the last complete reply that is no error was read
	reply      resp.Reply
	item       []byte
	waiters    []Waiter
	ahead      int // of the waiters, at the front
	idleSince  int64
	readySince int64
	serverID   uint64
	askedID    bool
	begun      bool // pieces of the reply to head were handed on
}

// Waiter is resumed when a link takes requests again.
type Waiter interface{ Resume() }

// Alive reports that requests may be queued on the link.
func (l *Link) Alive() bool { return l.state != linkClosed }

// Ready reports that the link is connected and has said its handshake.
func (l *Link) Ready() bool { return l.state == linkReady }

// Pending is the number of calls without a complete reply.
func (l *Link) Pending() int { return l.pending }

// ReadyAt is when the link was connected and had said its handshake; 0 before.
func (l *Link) ReadyAt() int64 { return l.readyAt }

// LastReply is when the last complete reply was read.
func (l *Link) LastReply() int64 { return l.lastReply }

// Head is the call that the server works on, or will next.
func (l *Link) Head() *Call { return l.head }

// Group is what the link's traffic has in common.
func (l *Link) Group() *Group { return l.group }

// Full reports that the link should get no more requests for now: wait.
func (l *Link) Full() bool {
	o := &l.group.pool.opts
	return l.pending >= o.MaxPending || l.out.waiting() >= o.MaxUnsent
}

// Wait has w resumed when the link is no longer full, or ends.
func (l *Link) Wait(w Waiter) { l.waiters = append(l.waiters, w) }

// WaitAhead is Wait ahead of those that only Wait.
func (l *Link) WaitAhead(w Waiter) {
	l.waiters = slices.Insert(l.waiters, l.ahead, w)
	l.ahead++
}

// Crowded reports that the link is half full.
func (l *Link) Crowded() bool {
	o := &l.group.pool.opts
	return l.pending >= (o.MaxPending+1)/2 || l.out.waiting() >= (o.MaxUnsent+1)/2
}

// Unwait takes w off the list of those that wait.
func (l *Link) Unwait(w Waiter) {
	for i := range l.waiters {
		if l.waiters[i] == w {
			l.waiters[i] = nil
		}
	}
}

// Begin starts a request. What the caller appends to the returned slice and
// gives to End is sent.
func (l *Link) Begin(room int) []byte {
	l.out.reserve(room)
	return l.out.buf
}

// End queues the request begun, with c waiting for its reply.
func (l *Link) End(buf []byte, c *Call) {
	c.off = l.out.end()
	c.n = len(buf) - len(l.out.buf)
	l.out.buf = buf
	l.queue(c)
}

// Send queues a request given as a whole.
func (l *Link) Send(request []byte, c *Call) {
	l.out.reserve(len(request))
	c.off = l.out.end()
	c.n = len(request)
	l.out.buf = append(l.out.buf, request...)
	l.queue(c)
}

// Raw queues bytes that are part of a request already begun.
func (l *Link) Raw(b []byte) {
	l.out.reserve(len(b))
	l.out.buf = append(l.out.buf, b...)
	l.Flush()
}

func (l *Link) queue(c *Call) {
	c.Sent = l.group.pool.loop.Now()
	c.next = nil
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.next = c
	}
	l.tail = c
	l.pending++
	l.Flush()
}

// Flush has the queue written at the end of the iteration, once connected.
func (l *Link) Flush() {
	if l.Open() {
		l.Conn.Flush()
	}
}

// Request is the request of a call that the link still holds, valid until
// the next one is queued.
func (l *Link) Request(c *Call) []byte { return l.out.bytes(c.off, c.n) }

// Unsent is the number of bytes that wait to be written.
func (l *Link) Unsent() int { return l.out.waiting() }

// SetTap directs what comes unasked to t; with all set, every item is shown
// to t first, as RESP2's subscriber mode needs. A nil t takes it off.
func (l *Link) SetTap(t Tap, all bool) { l.tap, l.hear = t, all }

// Input frames replies and hands them to the calls that wait for them.
func (l *Link) Input(data []byte) int {
	used := 0
	for used < len(data) {
		n, done, err := l.reply.Scan(data[used:])
		if err != nil {
			l.Fail(fmt.Errorf("%s sent what is not RESP: %w", l.Node.Addr, err))
			return used
		}
		if n == 0 {
			break
		}
		piece := data[used : used+n]
		used += n
		l.receive(piece, done)
		if l.state == linkClosed {
			return used
		}
	}
	l.wake()
	return used
}

func (l *Link) receive(piece []byte, done bool) {
	kind := l.reply.Kind()
	if !l.begun && (kind == '>' || l.hear || l.head == nil) {
		if !done || len(l.item) > 0 {
			l.item = append(l.item, piece...)
			if !done {
				return
			}
			piece = l.item
		}
		taken := l.tap != nil && l.tap.Item(piece, kind)
		if taken || kind == '>' && (l.tap == nil || l.head == nil) {
			l.item = l.item[:0]
			if cap(l.item) > windowKeep {
				l.item = nil
			}
			return
		}
		if l.head == nil {
			l.Fail(fmt.Errorf("%s: %w", l.Node.Addr, ErrNoReply))
			return
		}
		l.finish(piece)
		if l.item != nil {
			l.item = l.item[:0]
		}
		return
	}
	if done {
		l.finish(piece)
		return
	}
	l.begun = true
	l.head.Owner.Reply(l.head, piece, false)
}

// finish hands on the last piece of the oldest call's reply.
func (l *Link) finish(piece []byte) {
	c := l.head
	l.head = c.next
	if l.head == nil {
		l.tail = nil
	}
	c.next = nil
	l.pending--
	l.begun = false
	end := c.off + uint64(c.n)
	worked := len(piece) > 0 && piece[0] != '-'
	c.Owner.Reply(c, piece, true)
	l.lastReply = l.group.pool.loop.Now()
	if worked {
		l.worked = l.lastReply
	}
	if l.state == linkClosed {
		return
	}
	l.out.ack(end)
	if l.detached && l.pending == 0 {
		l.Fail(errIdle)
	}
}

func (l *Link) wake() {
	if len(l.waiters) == 0 || l.state != linkClosed && (l.pending > l.group.pool.opts.MaxPending/2 || l.out.waiting() > l.group.pool.opts.MaxUnsent/2) {
		return
	}
	waiters := l.waiters
	l.waiters, l.ahead = nil, 0
	for _, w := range waiters {
		if w != nil {
			w.Resume()
		}
	}
}

// Output is what can be written now.
func (l *Link) Output() []byte { return l.out.unsent() }

// Wrote takes note of what the kernel took.
func (l *Link) Wrote(n int) {
	l.out.wrote(n)
	if l.stream {
		l.out.ack(l.out.sent)
	}
	if len(l.waiters) > 0 {
		l.wake()
	}
}

// Stream makes the link forget requests as soon as they are sent, or keep
// them again: for large ones that pass through in pieces.
func (l *Link) Stream(on bool) { l.stream = on }

// Detach takes a shared link out of use: it only finishes what it has. It is
// for one whose oldest reply is large and goes to a slow reader.
func (l *Link) Detach() {
	if l.detached || l.Dedicated || l.state == linkClosed {
		return
	}
	l.detached = true
	if g := l.group; g.shared[l.Node.Index] == l {
		g.shared[l.Node.Index] = nil
	}
}

// Detached reports that Detach was called.
func (l *Link) Detached() bool { return l.detached }

// Behind calls f for every call behind the oldest. Where f returns true the
// call is taken off the link, which drops its reply, and the caller may send
// it elsewhere; request holds its bytes during f.
func (l *Link) Behind(f func(c *Call, request []byte) bool) {
	if l.head == nil {
		return
	}
	for at := &l.head.next; *at != nil; at = &(*at).next {
		c := *at
		next, off, n := c.next, c.off, c.n
		if f(c, l.out.bytes(off, n)) {
			*at = &Call{Owner: Discard{}, next: next, off: off, n: n}
			if l.tail == c {
				l.tail = *at
			}
		}
	}
}

// Fail ends the link for a reason.
func (l *Link) Fail(err error) {
	if l.Open() {
		l.Conn.Close(err)
		return
	}
	l.Closed(err)
}

// Closed tells everybody who waits.
func (l *Link) Closed(err error) {
	if l.state == linkClosed {
		return
	}
	wasDialing := l.state == linkDialing
	l.state = linkClosed
	l.group.linkClosed(l, err, wasDialing)
	calls := l.head
	l.head, l.tail, l.pending = nil, nil, 0
	for c := calls; c != nil; {
		next := c.next
		c.next = nil
		c.Owner.Lost(c, c.off < l.out.sent, err)
		c = next
	}
	if l.tap != nil {
		l.tap.LinkClosed(err)
		l.tap = nil
	}
	l.wake()
	l.out = window{}
	l.item = nil
	l.group.relink(l, err)
}

// handshake is the owner of the commands that a link says first.
type handshake struct {
	link *Link
	left int
	text []byte
}

func (h *handshake) Reply(_ *Call, piece []byte, done bool) {
	h.text = append(h.text, piece...)
	if !done {
		return
	}
	text := h.text
	h.text = h.text[:0]
	if h.link.state == linkClosed {
		return
	}
	if len(text) > 0 && text[0] == '-' {
		line := text[1:]
		for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
			line = line[:len(line)-1]
		}
		h.link.group.handshakeRefused(h.link, &HandshakeError{Text: string(line)})
		return
	}
	if h.left--; h.left == 0 {
		h.link.open()
	}
}

func (h *handshake) Lost(*Call, bool, error) {}

func (l *Link) open() {
	l.state = linkReady
	l.readyAt = l.group.pool.loop.Now()
	l.out.gate = math.MaxUint64
	l.group.linkReady(l)
	l.Flush()
}

// ServerID is the server's id of the connection, 0 before AskServerID was
// answered.
func (l *Link) ServerID() uint64 { return l.serverID }

// AskServerID has the link learn the server's id of it, once.
func (l *Link) AskServerID() {
	if l.askedID {
		return
	}
	l.askedID = true
	a := &serverIDAnswer{link: l}
	a.call.Owner = a
	l.Send([]byte("*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n"), &a.call)
}

type serverIDAnswer struct {
	call Call
	link *Link
	text []byte
}

func (a *serverIDAnswer) Reply(_ *Call, piece []byte, done bool) {
	a.text = append(a.text, piece...)
	if !done || len(a.text) < 3 || a.text[0] != ':' {
		return
	}
	for _, c := range a.text[1 : len(a.text)-2] {
		a.link.serverID = a.link.serverID*10 + uint64(c-'0')
	}
}

func (a *serverIDAnswer) Lost(*Call, bool, error) {}
