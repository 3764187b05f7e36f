package resp

import (
	"errors"
	"fmt"
)

// Value is a decoded reply.
type Value struct {
	// Kind is the type byte: + - : $ _ , # ! = ( * ~ % >. A null of RESP2 keeps its '$' or '*'.
	Kind byte
	// Null says that the value is one of the nulls.
	Null bool
	// Str is the text: the content of a line or bulk, of '=' with its "txt:" in front. Of a streamed string
	// it is a copy, else a view of the reply.
	Str []byte
	// Int is the value of ':', and 0 or 1 for '#'.
	Int int64
	// Elems are the elements; those of a map are key, value, key, value …
	Elems []Value
}

// Err returns the text of an error reply as an error, nil for any other value.
func (v Value) Err() error {
	if v.Kind == '-' || v.Kind == '!' {
		return errors.New(string(v.Str))
	}
	return nil
}

// Decode decodes exactly one complete reply into a tree. Attributes are left out. It is meant for control
// replies such as that of COMMAND: it allocates, and nesting beyond MaxDepth levels is an error.
func Decode(reply []byte) (Value, error) {
	d := decoder{rest: reply}
	v, err := d.value(0, true)
	if err == nil && len(d.rest) > 0 {
		err = fmt.Errorf("resp: %d bytes after the reply", len(d.rest))
	}
	if err != nil {
		return Value{}, err
	}
	return v, nil
}

var errIncomplete = errors.New("resp: reply is incomplete")

type decoder struct{ rest []byte }

// take removes the first n bytes of what is left.
func (d *decoder) take(n int64) ([]byte, error) {
	if n > int64(len(d.rest)) {
		return nil, errIncomplete
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b, nil
}

// length removes a length line.
func (d *decoder) length() (int64, error) {
	n, used, err := replyLength(d.rest)
	if err != nil {
		return 0, err
	}
	if used == 0 {
		return 0, errIncomplete
	}
	d.rest = d.rest[used:]
	return n, nil
}

// value decodes the next value. Attributes before it are dropped, and so are pushes unless it is the top
// one: Reply.Scan treats them alike.
func (d *decoder) value(depth int, top bool) (Value, error) {
	if depth > MaxDepth {
		return Value{}, errReplyDepth
	}
	for {
		if len(d.rest) == 0 {
			return Value{}, errIncomplete
		}
		v := Value{Kind: d.rest[0]}
		var err error
		switch v.Kind {
		case '+', '-', ':', '_', ',', '#', '(':
			err = d.line(&v)
		case '$', '!', '=':
			err = d.bulk(&v)
		case '*', '~', '%', '>', '|':
			err = d.aggregate(&v, depth)
		default:
			err = errReplyType
		}
		if err != nil {
			return Value{}, err
		}
		if v.Kind == '|' || v.Kind == '>' && !top {
			continue
		}
		return v, nil
	}
}

func (d *decoder) line(v *Value) error {
	var r Reply
	n, done, err := r.Scan(d.rest)
	if err != nil {
		return err
	}
	if !done {
		return errIncomplete
	}
	v.Str = d.rest[1 : n-2 : n-2]
	d.rest = d.rest[n:]
	switch v.Kind {
	case ':':
		i, ok := parseInt(v.Str)
		if !ok {
			return fmt.Errorf("resp: bad integer %q in reply", v.Str)
		}
		v.Int = i
	case '#':
		switch string(v.Str) {
		case "t":
			v.Int = 1
		case "f":
		default:
			return fmt.Errorf("resp: bad boolean %q in reply", v.Str)
		}
	case '_':
		v.Null = true
	}
	return nil
}

func (d *decoder) bulk(v *Value) error {
	n, err := d.length()
	if err != nil {
		return err
	}
	switch {
	case n == unknown && v.Kind == '$':
		return d.chunks(v)
	case n == null && v.Kind == '$':
		v.Null = true
		return nil
	case n < 0:
		return errReplyLength
	}
	v.Str, err = d.body(n)
	return err
}

// body removes n bytes and the CR LF behind them.
func (d *decoder) body(n int64) ([]byte, error) {
	b, err := d.take(n + 2)
	if err != nil {
		return nil, err
	}
	if string(b[n:]) != "\r\n" {
		return nil, errReplyEnd
	}
	return b[:n:n], nil
}

func (d *decoder) chunks(v *Value) error {
	v.Str = []byte{}
	for {
		if len(d.rest) == 0 {
			return errIncomplete
		}
		if d.rest[0] != ';' {
			return errReplyChunk
		}
		n, err := d.length()
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		if n < 0 {
			return errReplyLength
		}
		chunk, err := d.body(n)
		if err != nil {
			return err
		}
		v.Str = append(v.Str, chunk...)
	}
}

func (d *decoder) aggregate(v *Value, depth int) error {
	kind := v.Kind
	n, err := d.length()
	if err != nil {
		return err
	}
	switch {
	case n == null && kind == '*':
		v.Null = true
		return nil
	case n == unknown && (kind == '*' || kind == '~' || kind == '%'):
		return d.streamed(v, depth)
	case n < 0:
		return errReplyLength
	}
	if kind == '%' || kind == '|' {
		n *= 2
	}
	// An element takes at least 3 bytes. The small bound keeps announcements from getting memory that the
	// elements do not then use, level by level.
	v.Elems = make([]Value, 0, min(n, int64(len(d.rest)/3), 16))
	for range n {
		e, err := d.value(depth+1, false)
		if err != nil {
			return err
		}
		v.Elems = append(v.Elems, e)
	}
	return nil
}

func (d *decoder) streamed(v *Value, depth int) error {
	v.Elems = []Value{}
	for {
		if len(d.rest) > 0 && d.rest[0] == '.' {
			end, err := d.take(3)
			if err != nil {
				return err
			}
			if string(end) != ".\r\n" || v.Kind == '%' && len(v.Elems)%2 != 0 {
				return errReplyDot
			}
			return nil
		}
		if len(d.rest) > 0 && d.rest[0] == '>' {
			return errReplyPush
		}
		e, err := d.value(depth+1, false)
		if err != nil {
			return err
		}
		v.Elems = append(v.Elems, e)
	}
}
