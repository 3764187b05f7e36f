package resp

// MaxDepth bounds what nests without an announced length: streamed aggregates in a Reply (each costs it 16
// bytes; servers are not known to send even one), and the levels of the tree that Decode builds by
// recursion. Aggregates of announced length cost a Reply nothing and may nest without bound, as the
// replies of scripts do: only the number of items still missing is kept.
const MaxDepth = 128

// maxHeader bounds a length line in bytes: a type byte, 20 characters, CR LF, and some grace.
const maxHeader = 32

// maxLen bounds an announced length, so that sums cannot overflow.
const maxLen = 1 << 60

// Reply frames one top-level reply, resumably, so that its bytes can be handed on before it is complete.
// The zero value is ready. It holds no reference to any buffer.
type Reply struct {
	left    int64    // items missing in the innermost level, the current one included
	body    int64    // bytes missing of a bulk or chunk, CR LF included
	streams []stream // open streamed aggregates
	kind    byte
	mode    uint8
	chunked bool // the body belongs to a streamed string
	cr      bool // the last byte of the pending line is CR
	started bool
}

// Started reports whether some bytes of a reply were consumed and it has not ended.
func (r *Reply) Started() bool { return r.started }

// Kind returns the type byte of the current or last top-level reply. While only attributes ('|') of it were
// seen it is '|'; before the first reply it is 0.
func (r *Reply) Kind() byte { return r.kind }

// Reset forgets everything, also an error.
func (r *Reply) Reset() { *r = Reply{} }

// stream is an aggregate without an announced length.
type stream struct {
	outer int64 // the level around it: its left, the aggregate included
	pairs bool  // a map
	odd   bool  // a key is waiting for its value
}

const (
	atItem  uint8 = iota // a type byte is next
	inLine               // in a line that ends with CR LF
	inBody               // in a bulk, or in the CR LF behind it
	atChunk              // the header of a streamed string's chunk is next
)

var (
	errReplyType   = &ProtocolError{"Protocol error: unknown reply type"}
	errReplyLength = &ProtocolError{"Protocol error: invalid length in reply"}
	errReplyEnd    = &ProtocolError{"Protocol error: expected CRLF after a bulk in reply"}
	errReplyDot    = &ProtocolError{"Protocol error: unexpected end of a streamed aggregate in reply"}
	errReplyPush   = &ProtocolError{"Protocol error: push inside a streamed aggregate in reply"}
	errReplyChunk  = &ProtocolError{"Protocol error: expected ';' in a streamed string in reply"}
	errReplyDepth  = &ProtocolError{"Protocol error: reply nested too deeply"}
	errReplySize   = &ProtocolError{"Protocol error: reply announces too many items"}
)

// Scan consumes as much of the current top-level reply as buf holds: the next n bytes belong to it, and done
// says that it ends with them. Bodies and lines are consumed in parts, too; only an incomplete length
// line (at most 32 bytes) is left, and must be at the start of the next buf. After done the next byte
// begins another reply. A push is a reply of its own, of kind '>'; one that a server sent inside another
// reply (Redis before 7.0.5 does) passes as a part of it that is not one of its elements.
//
// Lengths and structure are checked, the contents of lines are not. An error is a *ProtocolError; the
// Reply is useless until Reset, and n is 0.
func (r *Reply) Scan(buf []byte) (n int, done bool, err error) {
	if !r.started {
		if n = smallReply(buf); n > 0 {
			r.kind = buf[0]
			return n, true, nil
		}
	}
	for n < len(buf) {
		switch r.mode {
		case atItem:
			used, ended, err := r.item(buf[n:])
			if err != nil {
				return 0, false, err
			}
			if used == 0 {
				return n, false, nil
			}
			r.started = true
			n += used
			if !ended {
				continue
			}
		case inLine:
			used, ended := r.line(buf[n:])
			n += used
			if !ended {
				return n, false, nil
			}
		case inBody:
			used, ok := r.skipBody(buf[n:])
			if !ok {
				return 0, false, errReplyEnd
			}
			n += used
			if r.body > 0 {
				return n, false, nil
			}
			if r.chunked {
				r.mode = atChunk
				continue
			}
		case atChunk:
			used, ended, err := r.chunk(buf[n:])
			if err != nil {
				return 0, false, err
			}
			if used == 0 {
				return n, false, nil
			}
			n += used
			if !ended {
				continue
			}
		}
		r.mode = atItem
		if r.itemDone() {
			return n, true, nil
		}
	}
	return n, false, nil
}
