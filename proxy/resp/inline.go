package resp

import "strconv"

// parseInline reads an inline request: one line that ends in LF or CR LF.
func (r *Request) parseInline(buf []byte, lim *Limits) (n int, err error) {
	lf, big := r.lineEnd(buf, '\n', lim.MaxInline)
	if big {
		return 0, r.fail(errBigInline)
	}
	if lf < 0 {
		return 0, nil
	}
	if !r.splitLine(buf[:lf]) { // a CR before the LF is one more blank
		return 0, r.fail(errQuotes)
	}
	r.buf = r.enc
	r.encode()
	r.state = completeInline
	return lf + 1, nil
}

// splitLine splits an inline request into arguments as Redis's sdssplitargs does, unescaped one after the
// other into enc. It returns false for unbalanced quotes. The line holds no NUL and no LF.
func (r *Request) splitLine(line []byte) bool {
	for i := 0; ; {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) {
			return true
		}
		start := len(r.enc)
		var ok bool
		if i, ok = r.token(line, i); !ok {
			return false
		}
		r.spans = append(r.spans, span{int64(start), int64(len(r.enc))})
	}
}

// token appends the argument that starts at line[i] to enc and returns the index after it.
func (r *Request) token(line []byte, i int) (next int, ok bool) {
	for i < len(line) {
		switch c := line[i]; c {
		case ' ', '\r', '\t':
			return i + 1, true
		case '"', '\'':
			if c == '"' {
				i, ok = r.doubleQuoted(line, i+1)
			} else {
				i, ok = r.singleQuoted(line, i+1)
			}
			// A closing quote ends the argument, and a blank or the line's end must follow it.
			return i, ok && (i == len(line) || isSpace(line[i]))
		default:
			r.enc = append(r.enc, c)
			i++
		}
	}
	return i, true
}

// doubleQuoted appends what is quoted from line[i] on and returns the index after the closing quote.
func (r *Request) doubleQuoted(line []byte, i int) (next int, ok bool) {
	for i < len(line) {
		c := line[i]
		i++
		switch {
		case c == '"':
			return i, true
		case c == '\\' && i+2 < len(line) && line[i] == 'x' && hexDigit(line[i+1]) < 16 && hexDigit(line[i+2]) < 16:
			c = hexDigit(line[i+1])<<4 | hexDigit(line[i+2])
			i += 3
		case c == '\\' && i < len(line):
			c = unescape(line[i])
			i++
		}
		r.enc = append(r.enc, c)
	}
	return i, false
}

// singleQuoted is doubleQuoted for '…', where the only escape is \'.
func (r *Request) singleQuoted(line []byte, i int) (next int, ok bool) {
	for i < len(line) {
		c := line[i]
		i++
		switch {
		case c == '\'':
			return i, true
		case c == '\\' && i < len(line) && line[i] == '\'':
			c = '\''
			i++
		}
		r.enc = append(r.enc, c)
	}
	return i, false
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

// hexDigit returns the value of a hexadecimal digit, 16 for any other byte.
func hexDigit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// isSpace is C's isspace in the locale "C".
func isSpace(c byte) bool {
	return c == ' ' || '\t' <= c && c <= '\r'
}

// encode makes the canonical form of the arguments in buf and lets the views look into that. buf may be the
// beginning of enc; nothing may have been forgotten.
func (r *Request) encode() {
	start := len(r.enc)
	enc := AppendArrayHeader(r.enc, len(r.spans))
	for i, s := range r.spans {
		arg := r.buf[s.off:s.end]
		enc = append(enc, '$')
		enc = strconv.AppendInt(enc, int64(len(arg)), 10)
		enc = append(enc, '\r', '\n')
		off := int64(len(enc) - start)
		enc = append(enc, arg...)
		enc = append(enc, '\r', '\n')
		r.spans[i] = span{off, off + int64(len(arg))}
	}
	r.enc = enc
	r.buf = enc[start:]
	r.pos = int64(len(r.buf))
}
