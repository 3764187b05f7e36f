//go:build linux

package loop

const (
	// bufferSize is the capacity of a new buffer.
	bufferSize = 4 << 10
	// bufferKeep is the capacity beyond which a buffer is not kept for reuse.
	bufferKeep = 1 << 20
	// poolKeep bounds the bytes that a loop keeps for reuse.
	poolKeep = 8 << 20
)

// Buffer is a byte slice borrowed from a loop while a connection has an
// incomplete frame or unsent bytes.
type Buffer struct {
	B   []byte
	off int // bytes dropped from the front of the array
}

// room is the space for the next read: at least bufferSize, and as much
// again as is held, so that a large frame is copied a bounded number of times.
func (b *Buffer) room() []byte {
	if cap(b.B)-len(b.B) < bufferSize {
		size := max(2*len(b.B), 4*bufferSize)
		grown := make([]byte, len(b.B), size)
		copy(grown, b.B)
		b.B, b.off = grown, 0
	}
	return b.B[len(b.B):cap(b.B)]
}

// drop forgets the first n bytes.
func (b *Buffer) drop(n int) {
	if n == 0 {
		return
	}
	b.B = b.B[n:]
	b.off += n
}

type bufferPool struct {
	free  []*Buffer
	bytes int
}

// GetBuffer lends an empty buffer.
func (l *Loop) GetBuffer() *Buffer {
	p := &l.pool
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		p.bytes -= cap(b.B)
		return b
	}
	return &Buffer{B: make([]byte, 0, bufferSize)}
}

// PutBuffer takes a buffer back. The caller must hold no slice of it.
func (l *Loop) PutBuffer(b *Buffer) {
	p := &l.pool
	if b.off > 0 {
		// The front of the array is out of reach through this slice.
		if cap(b.B) < bufferSize {
			return
		}
		b.off = 0
	}
	if cap(b.B) > bufferKeep || p.bytes+cap(b.B) > poolKeep {
		return
	}
	b.B = b.B[:0]
	p.bytes += cap(b.B)
	p.free = append(p.free, b)
}
