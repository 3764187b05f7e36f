package differential

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// reply is one parsed RESP item. raw holds all of its bytes, elems the elements of an aggregate (keys and values in
// turn for a map), text the rest of a line, or the body of a bulk.
type reply struct {
	kind  byte
	null  bool
	text  []byte
	elems []*reply
	raw   []byte
	// pushes came inside the aggregate, as servers before Redis 7.2 send them in the middle of EXEC's reply. They are
	// no elements.
	pushes []*reply
}

// errIncomplete says that the item does not end in the bytes given.
var errIncomplete = errors.New("incomplete")

// maxNesting bounds the recursion; the generator's scripts nest less.
const maxNesting = 1000

// parseReply parses the item that b begins with, and returns its length; with errIncomplete, the length that b must
// have at least before it is worth parsing again. It shares no code with the proxy, so that a mistake there is not
// made here as well.
func parseReply(b []byte, depth int) (*reply, int, error) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return nil, len(b) + 1, errIncomplete
	}
	if end < 2 || b[end-1] != '\r' {
		return nil, 0, fmt.Errorf("a line that is no reply: %q", clip(b[:end+1]))
	}
	r := &reply{kind: b[0], text: b[1 : end-1]}
	n := end + 1
	switch r.kind {
	case '+', '-', ':', '_', '#', ',', '(':
	case '$', '=', '!':
		size, err := length(r.text)
		if err != nil {
			return nil, 0, err
		}
		if size < 0 {
			r.null = true
			break
		}
		if len(b) < n+size+2 {
			return nil, n + size + 2, errIncomplete
		}
		if b[n+size] != '\r' || b[n+size+1] != '\n' {
			return nil, 0, fmt.Errorf("a bulk of %d bytes that does not end with CR LF but %q", size, b[n+size:n+size+2])
		}
		r.text = b[n : n+size]
		n += size + 2
	case '*', '~', '>', '%', '|':
		size, err := length(r.text)
		if err != nil {
			return nil, 0, err
		}
		if size < 0 {
			r.null = true
			break
		}
		if depth == maxNesting {
			return nil, 0, errors.New("a reply nested too deeply")
		}
		if r.kind == '%' || r.kind == '|' {
			size *= 2
		}
		for len(r.elems) < size {
			e, used, err := parseReply(b[n:], depth+1)
			if err != nil {
				return nil, n + used, err
			}
			n += used
			if e.kind == '>' {
				r.pushes = append(r.pushes, e)
				continue
			}
			r.elems = append(r.elems, e)
		}
		if r.kind == '|' {
			// An attribute belongs to the item behind it.
			e, used, err := parseReply(b[n:], depth+1)
			if err != nil {
				return nil, n + used, err
			}
			r.elems = append(r.elems, e)
			n += used
		}
	default:
		return nil, 0, fmt.Errorf("a reply of unknown type: %q", clip(b[:end+1]))
	}
	r.raw = b[:n]
	return r, n, nil
}

func length(text []byte) (int, error) {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < -1 {
		return 0, fmt.Errorf("a length that is none: %q", clip(text))
	}
	return n, nil
}

// word is the text of a bulk or simple string, empty for anything else.
func (r *reply) word() string {
	if (r.kind == '$' || r.kind == '+') && !r.null {
		return string(r.text)
	}
	return ""
}

func (r *reply) isError() bool { return r.kind == '-' || r.kind == '!' }

// first is the first element's word.
func (r *reply) first() string {
	if len(r.elems) == 0 {
		return ""
	}
	return r.elems[0].word()
}

// isMessage tells a message of a subscription, which may come at any time. In RESP2 it is told from a reply by its
// first element: the generator's data never holds such lists.
func (r *reply) isMessage() bool {
	if r.kind != '*' && r.kind != '>' {
		return false
	}
	switch r.first() {
	case "message", "smessage":
		return len(r.elems) == 3
	case "pmessage":
		return len(r.elems) == 4
	}
	return r.kind == '>' && !r.isConfirmation()
}

// isConfirmation tells the answer to SUBSCRIBE, UNSUBSCRIBE and their kin.
func (r *reply) isConfirmation() bool {
	if r.kind != '*' && r.kind != '>' || len(r.elems) != 3 {
		return false
	}
	switch r.first() {
	case "subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ssubscribe", "sunsubscribe":
		return true
	}
	return false
}

// clip shortens what is shown of a long text.
func clip(b []byte) []byte {
	const most = 240
	if len(b) <= most {
		return b
	}
	return append(append(append([]byte(nil), b[:most/2]...), fmt.Sprintf(" …%d bytes… ", len(b)-most)...), b[len(b)-most/2:]...)
}

// integer is the value of an integer, 0 for anything else.
func (r *reply) integer() int64 {
	if r.kind != ':' {
		return 0
	}
	n, _ := strconv.ParseInt(string(r.text), 10, 64)
	return n
}
