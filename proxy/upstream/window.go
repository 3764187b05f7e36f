//go:build linux

package upstream

// window is the part of a link's outgoing stream that may still be needed:
// unsent bytes, and those of requests not answered yet. Positions are
// offsets in the whole stream.
type window struct {
	buf   []byte
	base  uint64 // position of buf[0]
	sent  uint64 // written to the kernel up to here
	acked uint64 // not needed up to here
	gate  uint64 // not to be written beyond; math.MaxUint64 when open
}

const (
	windowStart = 16 << 10
	// windowKeep is what a link keeps of its buffer when it has been idle.
	windowKeep = 64 << 10
)

func (w *window) end() uint64 { return w.base + uint64(len(w.buf)) }

// reserve makes room for n more bytes without moving them later.
func (w *window) reserve(n int) {
	if cap(w.buf)-len(w.buf) >= n {
		return
	}
	dead := int(min(w.acked, w.sent) - w.base)
	live := len(w.buf) - dead
	if dead > 0 && cap(w.buf) >= 2*(live+n) {
		copy(w.buf, w.buf[dead:])
		w.buf = w.buf[:live]
	} else {
		size := max(windowStart, 2*(live+n))
		grown := make([]byte, live, size)
		copy(grown, w.buf[dead:])
		w.buf = grown
	}
	w.base += uint64(dead)
}

// unsent is what may be written now.
func (w *window) unsent() []byte {
	b := w.buf[w.sent-w.base:]
	if w.gate < w.end() {
		if w.gate <= w.sent {
			return nil
		}
		b = b[:w.gate-w.sent]
	}
	return b
}

func (w *window) waiting() int { return int(w.end() - w.sent) }

func (w *window) wrote(n int) {
	w.sent += uint64(n)
	w.trim()
}

// ack says that what lies before off is answered.
func (w *window) ack(off uint64) {
	w.acked = max(w.acked, off)
	w.trim()
}

// trim starts the buffer over when nothing in it is needed.
func (w *window) trim() {
	if end := w.end(); w.acked >= end && w.sent == end {
		w.base = end
		w.acked = end
		w.buf = w.buf[:0]
	}
}

// bytes returns a part that is still held, valid until the next append.
func (w *window) bytes(off uint64, n int) []byte {
	at := off - w.base
	return w.buf[at : at+uint64(n)]
}

// shrink gives up a large buffer that is not in use.
func (w *window) shrink() {
	if len(w.buf) == 0 && cap(w.buf) > windowKeep {
		w.buf = nil
	}
}
