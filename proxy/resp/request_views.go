package resp

// Len returns the number of complete arguments so far. A complete request without arguments ("*0", "*-1",
// an empty line) is to be ignored, as Redis does.
func (r *Request) Len() int { return len(r.spans) }

// Arg returns a view of argument i, nil when i is not below Len or the argument was forgotten.
func (r *Request) Arg(i int) []byte {
	if uint(i) >= uint(len(r.spans)) {
		return nil
	}
	s := r.spans[i]
	if s.off < r.base {
		return nil
	}
	return r.buf[s.off-r.base : s.end-r.base : s.end-r.base]
}

// Raw returns the request in canonical multibulk form: the received bytes themselves, or, for an inline
// request or one with terminators other than CR LF, an encoding that the Request holds. Bytes that were
// forgotten are missing from it. Of an incomplete request it returns the first Forgettable bytes. The
// Raw of an empty line is "*0\r\n".
func (r *Request) Raw() []byte {
	n := int64(r.Forgettable())
	if r.state == complete || r.state == completeInline {
		n = r.pos - r.base
	}
	return r.buf[:n:n]
}

// Tail returns the part of Raw from the '$' header of argument i on, for replacing the arguments before
// it: a new "*N" line, the new arguments, then Tail(i). Tail(Len()) of a complete request is empty, and so
// is Tail of an i that is negative or above Len. What was forgotten is missing.
func (r *Request) Tail(i int) []byte {
	raw := r.Raw()
	start := r.pos
	switch {
	case i < 0 || i > len(r.spans):
		return nil
	case i < len(r.spans):
		s := r.spans[i]
		start = s.off - headerLen(s.end-s.off)
	case r.bulk > 0:
		start -= headerLen(r.bulk - 1)
	}
	return raw[min(max(start-r.base, 0), int64(len(raw))):]
}

// headerLen returns the length in bytes of the "$n\r\n" line. Lengths have one spelling only: leading
// zeros are refused.
func headerLen(n int64) int64 {
	l := int64(len("$0\r\n"))
	for n >= 10 {
		n /= 10
		l++
	}
	return l
}

// Inline reports whether the request came as an inline request.
func (r *Request) Inline() bool { return r.state == inInline || r.state == completeInline }

// Declared returns the number of arguments that the "*N" line announced, 0 before it is complete, for
// N <= 0 and for inline requests.
func (r *Request) Declared() int { return int(r.declared) }

// BulkLen returns the announced length of the argument that is being received, -1 when there is none.
func (r *Request) BulkLen() int64 { return r.bulk - 1 }

// Missing returns how many bytes of the argument being received, and of the CR LF behind it, were not in
// the buffer at the last Parse; 0 when no argument is being received.
func (r *Request) Missing() int64 {
	if r.bulk == 0 {
		return 0
	}
	return r.pos + r.bulk + 1 - r.base - int64(len(r.buf))
}

// Forgettable returns how many bytes at the start of the last Parse's buffer can be handed on and forgotten
// while the request is incomplete: complete arguments and the received part of a bulk, but neither an
// incomplete line nor a bulk's CR LF. It is 0 for inline requests, and for requests in which a terminator
// was not CR LF: Redis accepts those, but they are handed on only whole and re-encoded, so that no two
// servers can disagree about where they end.
func (r *Request) Forgettable() int {
	if r.state != inArgs || r.odd {
		return 0
	}
	n := r.pos - r.base
	if r.bulk > 0 {
		n = min(n+r.bulk-1, int64(len(r.buf)))
	}
	return int(n)
}

// Forget says that the first n bytes of the last Parse's buffer, at most Forgettable of them, were handed
// on: the next Parse gets a buffer that starts n bytes later. Arguments that began in them are nil from now
// on; Len counts them still. A request of any size can be received in a bounded buffer this way. From the
// first Forget on, a terminator other than CR LF is an error.
//
// Forgetting more than Forgettable loses the frame: the next Parse returns an error.
func (r *Request) Forget(n int) {
	if n <= 0 {
		return
	}
	if n > r.Forgettable() {
		_ = r.fail(errForgotTooMuch)
		return
	}
	r.base += int64(n)
	r.buf = r.buf[n:]
}
