package resp

import "bytes"

// Request frames one request, resumably. The zero value is ready for the first byte of a request.
//
// A Request may be copied as a value while nothing uses the original any more: a loop can frame with one
// Request of its own and store it with a connection only while that has an incomplete request.
type Request struct {
	buf   []byte // what the views look into: the buffer of the last Parse, or enc
	spans []span // the complete arguments
	enc   []byte // the canonical form where the received bytes are not canonical

	// All offsets count from the first byte of the frame.
	base     int64 // bytes forgotten
	pos      int64 // start of the pending line or bulk body; the frame's end when complete
	bulk     int64 // 1 + announced length of the pending bulk, 0: none
	declared int64 // announced arguments

	err   *ProtocolError
	seen  int // bytes of the pending line in which its end was looked for
	state uint8
	nul   bool // the pending line holds a NUL, behind which Redis sees no line end
	odd   bool // a terminator other than CR LF was accepted
}

// span is an argument: buf[off-base:end-base].
type span struct{ off, end int64 }

const (
	fresh uint8 = iota
	inInline
	inCount
	inArgs
	completeInline
	complete
	failed
)

// keepSpans and keepEncoded (bytes) are what a Request keeps for its next use.
const (
	keepSpans   = 1024
	keepEncoded = 4096
)

// Parse looks for the end of the request in buf, whose first byte is the first byte of this request that
// was not forgotten, and which holds at least what it held at the previous call for this request (at
// whatever address).
//
// n > 0 says that the request is complete and is buf[:n]: Len, Arg, Raw and Tail are valid until buf
// changes or Parse or Reset is called, and the next Parse begins the next request, as after Reset.
// n == 0 without an error asks for more bytes. An error is a *ProtocolError, and is final until Reset.
//
// All of this depends on the bytes only, not on how they were cut into calls. lim must not become
// smaller during a request.
func (r *Request) Parse(buf []byte, lim *Limits) (n int, err error) {
	if r.state >= completeInline {
		if r.state == failed {
			return 0, r.err
		}
		r.Reset()
	}
	r.buf = buf
	if r.state == fresh {
		if len(buf) == 0 {
			return 0, nil
		}
		r.state = inCount
		if buf[0] != '*' {
			r.state = inInline
		}
	}
	switch r.state {
	case inInline:
		return r.parseInline(buf, lim)
	case inCount:
		if done, err := r.parseCount(buf, lim); err != nil {
			return 0, r.fail(err)
		} else if !done {
			return 0, nil
		}
		if r.declared == 0 {
			return r.finish(), nil
		}
		r.state = inArgs
	}
	if done, err := r.parseArgs(buf, lim); err != nil {
		return 0, r.fail(err)
	} else if !done {
		return 0, nil
	}
	return r.finish(), nil
}

func (r *Request) fail(err *ProtocolError) error {
	r.err = err
	r.state = failed
	return err
}

// finish ends a multibulk request whose last byte is the one before pos.
func (r *Request) finish() int {
	r.state = complete
	n := int(r.pos - r.base)
	if r.odd {
		r.encode()
	}
	return n
}

// parseCount reads the "*N" line at the start of buf.
func (r *Request) parseCount(buf []byte, lim *Limits) (done bool, err *ProtocolError) {
	v, next := smallHeader(buf, 0)
	if next == 0 || r.seen > 0 {
		cr, big := r.lineEnd(buf, '\r', lim.MaxInline)
		if big {
			return false, errBigCount
		}
		if cr < 0 || cr+1 >= len(buf) {
			return false, nil
		}
		var ok bool
		if v, ok = parseInt(buf[1:cr]); !ok || v > lim.MaxArgs {
			return false, errCount
		}
		next = cr + 2
	} else if v > lim.MaxArgs {
		return false, errCount
	}
	if v > maxArgsUnauthenticated && lim.Unauthenticated {
		return false, errCountNoAuth
	}
	r.declared = max(v, 0)
	r.lineDone(buf, next)
	return true, nil
}

// parseArgs reads arguments until the announced number is complete or buf ends.
func (r *Request) parseArgs(buf []byte, lim *Limits) (done bool, err *ProtocolError) {
	for {
		if r.bulk == 0 {
			p := int(r.pos - r.base)
			v, next := int64(0), 0
			if r.seen == 0 && p < len(buf) && buf[p] == '$' {
				v, next = smallHeader(buf, p)
			}
			if next == 0 {
				if p > len(buf) {
					return false, nil
				}
				cr, big := r.lineEnd(buf[p:], '\r', lim.MaxInline)
				if big {
					return false, errBigBulkHeader
				}
				if cr += p; cr < p || cr+1 >= len(buf) {
					return false, nil
				}
				if buf[p] != '$' {
					return false, expectedDollar(buf[p])
				}
				var ok bool
				if v, ok = parseInt(buf[p+1 : cr]); !ok || v < 0 {
					return false, errBulkLen
				}
				next = cr + 2
			}
			if v > lim.MaxBulk {
				return false, errBulkLen
			}
			if v > maxBulkUnauthenticated && lim.Unauthenticated {
				return false, errBulkLenNoAuth
			}
			r.lineDone(buf, next)
			if r.odd && r.base > 0 {
				return false, errStreamedNoCRLF
			}
			r.bulk = v + 1
		}
		end := r.pos + r.bulk - 1
		past := end + 2 - r.base
		if int64(len(buf)) < past {
			return false, nil
		}
		if buf[past-2] != '\r' || buf[past-1] != '\n' {
			if r.base > 0 {
				return false, errStreamedNoCRLF
			}
			r.odd = true
		}
		r.spans = append(r.spans, span{r.pos, end})
		r.pos = end + 2
		r.bulk = 0
		if int64(len(r.spans)) == r.declared {
			return true, nil
		}
	}
}

// smallHeader reads a header line of one to three digits that is complete at buf[p:]. Its type byte is the
// caller's business. next is the index after the line, 0 if the line is not of this kind or incomplete.
func smallHeader(buf []byte, p int) (v int64, next int) {
	if len(buf)-p < 4 {
		return 0, 0
	}
	b := buf[p:]
	d0 := b[1] - '0'
	if d0 > 9 {
		return 0, 0
	}
	if b[2] == '\r' {
		return int64(d0), p + 4
	}
	d1 := b[2] - '0'
	if len(b) < 6 || d0 == 0 || d1 > 9 {
		return 0, 0
	}
	if b[3] == '\r' {
		return int64(d0)*10 + int64(d1), p + 5
	}
	d2 := b[3] - '0'
	if d2 > 9 || b[4] != '\r' {
		return 0, 0
	}
	return int64(d0)*100 + int64(d1)*10 + int64(d2), p + 6
}

// lineDone moves past a header line that ended before buf[next].
func (r *Request) lineDone(buf []byte, next int) {
	if buf[next-1] != '\n' {
		r.odd = true
	}
	r.pos = r.base + int64(next)
	r.seen = 0
}

// lineEnd returns the index of the first end byte in line, the pending line and whatever follows it, or -1.
// It looks only at bytes that it has not seen. As Redis, which uses strchr, it finds nothing behind a NUL.
// big says that there is no end within the first limit+1 bytes.
func (r *Request) lineEnd(line []byte, end byte, limit int) (i int, big bool) {
	window := line[:min(len(line), limit+1)]
	if !r.nul && r.seen < len(window) {
		rest := window[r.seen:]
		i := bytes.IndexByte(rest, end)
		if i >= 0 {
			rest = rest[:i]
		}
		if bytes.IndexByte(rest, 0) >= 0 {
			r.nul = true
		} else if i >= 0 {
			r.seen += i
			return r.seen, false
		}
		r.seen = len(window)
	}
	return -1, len(line) > limit
}

// Reset makes r ready for the first byte of another request. It keeps memory for ordinary requests and
// gives back what a large one needed.
func (r *Request) Reset() {
	spans, enc := r.spans[:0], r.enc[:0]
	if cap(spans) > keepSpans {
		spans = nil
	}
	if cap(enc) > keepEncoded {
		enc = nil
	}
	*r = Request{spans: spans, enc: enc}
}
