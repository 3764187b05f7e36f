package resp

import "bytes"

// smallReply returns the length of the common replies, a line of at most 64 bytes or a bulk of less than 1000,
// when buf holds one completely; else 0.
func smallReply(buf []byte) int {
	if len(buf) == 0 {
		return 0
	}
	switch buf[0] {
	case '+', ':', '-', '_', '#', ',':
		lf := bytes.IndexByte(buf[:min(len(buf), 64)], '\n')
		if lf > 0 && buf[lf-1] == '\r' {
			return lf + 1
		}
	case '$':
		length, next := smallHeader(buf, 0)
		end := next + int(length) + 2
		if next > 0 && len(buf) >= end && buf[next-1] == '\n' && buf[end-2] == '\r' && buf[end-1] == '\n' {
			return end
		}
	}
	return 0
}

// item consumes the beginning of the item at buf[0]. used is 0 when its length line is incomplete; nothing
// has changed then. ended says that the item takes no more bytes of its own.
func (r *Reply) item(buf []byte) (used int, ended bool, err error) {
	t := buf[0]
	// top: the reply itself begins, or one of its attributes.
	top := len(r.streams) == 0 && (r.left == 0 || r.left == 1 && r.kind == '|')
	var length int64
	switch t {
	case '+', '-', ':', '_', ',', '#', '(':
		used = 1
	case '$', '!', '=', '*', '~', '%', '|', '>':
		length, used, err = replyLength(buf)
		if used == 0 || err != nil {
			return 0, false, err
		}
	case '.':
		return r.endStream(buf)
	default:
		return 0, false, errReplyType
	}
	if top {
		r.kind = t
	}
	if r.left == 0 {
		if t == '>' && !top {
			return 0, false, errReplyPush
		}
		r.left = 1
	}
	switch {
	case length == null:
		if t != '$' && t != '*' {
			return 0, false, errReplyLength
		}
		return used, true, nil
	case length == unknown:
		return used, false, r.beginStreamed(t)
	}
	switch t {
	case '$', '!', '=':
		r.body = length + 2
		r.mode = inBody
		r.chunked = false
		return used, false, nil
	case '*', '~':
		ended = true
	case '%':
		length *= 2
		ended = true
	case '|':
		length *= 2 // and then comes what it belongs to
	case '>':
		ended = top
	default:
		r.mode = inLine
		r.cr = false
		return used, false, nil
	}
	if r.left += length; r.left > maxLen {
		return 0, false, errReplySize
	}
	return used, ended, nil
}

// beginStreamed enters a string or an aggregate of unknown length.
func (r *Reply) beginStreamed(t byte) error {
	switch t {
	case '$':
		r.mode = atChunk
		return nil
	case '*', '~', '%':
		if len(r.streams) == MaxDepth {
			return errReplyDepth
		}
		r.streams = append(r.streams, stream{outer: r.left, pairs: t == '%'})
		r.left = 0
		return nil
	}
	return errReplyLength
}

// endStream consumes the ".\r\n" behind the last element of a streamed aggregate, which is complete then.
func (r *Reply) endStream(buf []byte) (used int, ended bool, err error) {
	last := len(r.streams) - 1
	if last < 0 || r.left > 0 || r.streams[last].odd && r.streams[last].pairs {
		return 0, false, errReplyDot
	}
	const end = ".\r\n"
	got := buf[:min(len(buf), len(end))]
	if string(got) != end[:len(got)] {
		return 0, false, errReplyDot
	}
	if len(got) < len(end) {
		return 0, false, nil
	}
	r.left = r.streams[last].outer
	r.streams = r.streams[:last]
	return len(end), true, nil
}

// itemDone counts a complete item and reports whether the top-level reply is complete with it.
func (r *Reply) itemDone() bool {
	if r.left--; r.left > 0 {
		return false
	}
	if last := len(r.streams) - 1; last >= 0 {
		r.streams[last].odd = !r.streams[last].odd
		return false
	}
	r.started = false
	return true
}

// line consumes the pending line up to its CR LF. A lone CR or LF is content, as it is to clients.
func (r *Reply) line(buf []byte) (used int, ended bool) {
	for used < len(buf) {
		i := bytes.IndexByte(buf[used:], '\n')
		if i < 0 {
			break
		}
		if i > 0 {
			r.cr = buf[used+i-1] == '\r'
		}
		used += i + 1
		if r.cr {
			return used, true
		}
	}
	if len(buf) > 0 {
		r.cr = buf[len(buf)-1] == '\r'
	}
	return len(buf), false
}

// skipBody consumes what buf holds of the pending bulk and of the CR LF behind it, which it checks.
func (r *Reply) skipBody(buf []byte) (used int, ok bool) {
	if int64(len(buf)) >= r.body {
		used = int(r.body)
	} else {
		used = len(buf)
	}
	r.body -= int64(used)
	if r.body <= 1 && used > 0 {
		if r.body == 0 && buf[used-1] != '\n' {
			return 0, false
		}
		if cr := used - 2 + int(r.body); cr >= 0 && buf[cr] != '\r' {
			return 0, false
		}
	}
	return used, true
}

// chunk consumes the ";N\r\n" of a streamed string. ended says that it was the last, of length 0.
func (r *Reply) chunk(buf []byte) (used int, ended bool, err error) {
	if buf[0] != ';' {
		return 0, false, errReplyChunk
	}
	length, used, err := replyLength(buf)
	if used == 0 || err != nil {
		return 0, false, err
	}
	if length < 0 {
		return 0, false, errReplyLength
	}
	if length == 0 {
		return used, true, nil
	}
	r.body = length + 2
	r.mode = inBody
	r.chunked = true
	return used, false, nil
}

// Lengths that are not numbers of bytes or items.
const (
	null    = -1 // "-1"
	unknown = -2 // "?"
)

// replyLength reads the line "tN\r\n" at buf[0], whatever t is. used is 0 while it is incomplete.
func replyLength(buf []byte) (length int64, used int, err error) {
	if v, next := smallHeader(buf, 0); next > 0 {
		if buf[next-1] != '\n' {
			return 0, 0, errReplyLength
		}
		return v, next, nil
	}
	window := buf[:min(len(buf), maxHeader)]
	lf := bytes.IndexByte(window, '\n')
	if lf < 0 {
		if len(buf) >= maxHeader {
			return 0, 0, errReplyLength
		}
		return 0, 0, nil
	}
	if buf[lf-1] != '\r' {
		return 0, 0, errReplyLength
	}
	digits := buf[1:max(lf-1, 1)]
	if string(digits) == "?" {
		return unknown, lf + 1, nil
	}
	v, ok := parseInt(digits)
	if !ok || v < null || v > maxLen {
		return 0, 0, errReplyLength
	}
	return v, lf + 1, nil
}
