package command

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// maxReplyDepth bounds the nesting of a COMMAND reply; that of Redis 8 is 8 deep.
const maxReplyDepth = 32

var errCutShort = errors.New("the reply is cut short")

// replyReader walks through one RESP2 or RESP3 reply without building it. Every method checks what it reads, and none
// takes more time or memory than is in proportion to the bytes.
type replyReader struct {
	rest []byte
}

// header reads one line: a type byte and what follows it.
func (r *replyReader) header() (kind byte, text []byte, err error) {
	i := bytes.IndexByte(r.rest, '\n')
	if i < 0 {
		return 0, nil, errCutShort
	}
	if i < 2 || r.rest[i-1] != '\r' {
		return 0, nil, fmt.Errorf("%.20q is not the start of a RESP value", r.rest)
	}
	kind, text = r.rest[0], r.rest[1:i-1]
	r.rest = r.rest[i+1:]
	return kind, text, nil
}

// elements reads the header of an array, set or map and returns how many values follow; a map counts its keys and
// its values. Null counts 0.
func (r *replyReader) elements() (int, error) {
	kind, text, err := r.header()
	if err != nil {
		return 0, err
	}
	return r.count(kind, text)
}

func (r *replyReader) count(kind byte, text []byte) (int, error) {
	switch kind {
	case '_':
		return 0, nil
	case '-':
		return 0, fmt.Errorf("the server answered with an error: %.200q", text)
	case '*', '~', '%':
	default:
		return 0, fmt.Errorf("%q where an array should be", kind)
	}
	n, ok := parseInteger(text)
	if ok && n == -1 && kind == '*' {
		return 0, nil
	}
	// The shortest value, RESP3's null, has 3 bytes.
	if !ok || n < 0 || n > int64(len(r.rest))/3 {
		return 0, fmt.Errorf("an array of %.20q elements in a reply with %d bytes left", text, len(r.rest))
	}
	if kind == '%' {
		n *= 2
	}
	return int(n), nil
}

// str reads a simple or bulk string; it is valid as long as the reply.
func (r *replyReader) str() ([]byte, error) {
	kind, text, err := r.header()
	if err != nil {
		return nil, err
	}
	switch kind {
	case '+':
		return text, nil
	case '$':
		return r.bulk(text)
	}
	return nil, fmt.Errorf("%q where a string should be", kind)
}

func (r *replyReader) bulk(length []byte) ([]byte, error) {
	n, ok := parseInteger(length)
	if ok && n == -1 {
		return nil, nil
	}
	if !ok || n < 0 {
		return nil, fmt.Errorf("a string of %.20q bytes", length)
	}
	if n > int64(len(r.rest)-2) {
		return nil, errCutShort
	}
	s := r.rest[:n]
	if r.rest[n] != '\r' || r.rest[n+1] != '\n' {
		return nil, fmt.Errorf("a string of %d bytes without its line end", n)
	}
	r.rest = r.rest[n+2:]
	return s, nil
}

// integer reads a number whose absolute value is at most limit.
func (r *replyReader) integer(limit int) (int, error) {
	kind, text, err := r.header()
	if err != nil {
		return 0, err
	}
	if kind != ':' {
		return 0, fmt.Errorf("%q where a number should be", kind)
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n > limit || n < -limit {
		return 0, fmt.Errorf("%.20q where a number of at most %d should be", text, limit)
	}
	return n, nil
}

// skip reads one value of any type and drops it.
func (r *replyReader) skip() error { return r.skipDepth(maxReplyDepth) }

func (r *replyReader) skipDepth(depth int) error {
	if depth == 0 {
		return errors.New("the reply is nested too deeply")
	}
	kind, text, err := r.header()
	if err != nil {
		return err
	}
	switch kind {
	case '+', ':', '_', '#', ',', '(', '-':
		return nil
	case '$', '=':
		_, err = r.bulk(text)
		return err
	}
	n, err := r.count(kind, text)
	for i := 0; i < n && err == nil; i++ {
		err = r.skipDepth(depth - 1)
	}
	return err
}
