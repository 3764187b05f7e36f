package redisserver

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// ioTimeout bounds one command of Client.Do, and dialling.
const ioTimeout = 30 * time.Second

// Error is an error reply, without the leading '-'.
type Error string

func (e Error) Error() string { return string(e) }

// Map is a RESP3 map: keys and values in turn, in the order sent.
type Map []any

// Push is a RESP3 push.
type Push []any

// Client is a plain synchronous connection with one command in flight at a time, for tests to look at a server (or at a
// proxy) with. It is not for use by several goroutines at once.
type Client struct {
	conn net.Conn
	r    *bufio.Reader
}

// NewClient wraps a connection; Close closes it.
func NewClient(conn net.Conn) *Client { return &Client{conn: conn, r: bufio.NewReader(conn)} }

// DialClient connects to host:port and, unless password is empty, authenticates as the default user.
func DialClient(addr, password string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, ioTimeout)
	if err != nil {
		return nil, err
	}
	c := NewClient(conn)
	if password == "" {
		return c, nil
	}
	reply, err := c.Do("AUTH", password)
	if e, ok := reply.(Error); ok {
		err = fmt.Errorf("authenticate at %s: %w", addr, e)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Dial connects to the server and authenticates as the default user when that has a password.
func (p *Process) Dial() (*Client, error) { return DialClient(p.Addr(), p.cfg.Password) }

// Conn returns a bare connection to the server. The caller closes it.
func (p *Process) Conn() (net.Conn, error) { return net.DialTimeout("tcp", p.Addr(), ioTimeout) }

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Do sends one command and returns its reply: string for simple and bulk strings, int64, nil, []any, and from RESP3
// bool, float64, Map, Push and (as string) big numbers and verbatim strings. An error reply is a value of type
// Error, not an error: err is set only when the connection failed, or did not answer in 30 seconds.
func (c *Client) Do(args ...any) (any, error) {
	if err := c.Send(args...); err != nil {
		return nil, err
	}
	return c.Receive()
}

// Send writes one command without waiting for its reply. Arguments are strings, byte slices, or anything that fmt.Sprint turns
// into the wanted text.
func (c *Client) Send(args ...any) error {
	buf := AppendCommand(nil, args...)
	c.conn.SetWriteDeadline(time.Now().Add(ioTimeout))
	_, err := c.conn.Write(buf)
	return err
}

// Receive reads the next reply, or the next push.
func (c *Client) Receive() (any, error) {
	c.conn.SetReadDeadline(time.Now().Add(ioTimeout))
	return readReply(c.r)
}

// AppendCommand appends a command as an array of bulk strings.
func AppendCommand(dst []byte, args ...any) []byte {
	dst = append(dst, '*')
	dst = strconv.AppendInt(dst, int64(len(args)), 10)
	dst = append(dst, "\r\n"...)
	for _, arg := range args {
		var s string
		switch v := arg.(type) {
		case string:
			s = v
		case []byte:
			s = string(v)
		default:
			s = fmt.Sprint(v)
		}
		dst = append(dst, '$')
		dst = strconv.AppendInt(dst, int64(len(s)), 10)
		dst = append(dst, "\r\n"...)
		dst = append(dst, s...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

func readReply(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return nil, fmt.Errorf("malformed reply line %q", line)
	}
	kind, rest := line[0], line[1:len(line)-2]
	switch kind {
	case '+', '(':
		return rest, nil
	case '-':
		return Error(rest), nil
	case ':':
		return strconv.ParseInt(rest, 10, 64)
	case '_':
		return nil, nil
	case '#':
		return rest == "t", nil
	case ',':
		return strconv.ParseFloat(rest, 64)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < -1 {
		return nil, fmt.Errorf("malformed reply line %q", line)
	}
	switch kind {
	case '$', '!', '=':
		return readBulk(r, kind, n)
	case '*', '~', '>', '%', '|':
		return readAggregate(r, kind, n)
	}
	return nil, fmt.Errorf("reply of unknown type %q", line)
}

func readBulk(r *bufio.Reader, kind byte, n int) (any, error) {
	if n == -1 {
		return nil, nil
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	s := string(b[:n])
	switch {
	case kind == '!':
		return Error(s), nil
	case kind == '=' && n >= 4:
		return s[4:], nil // without the "txt:" that says how it is encoded
	}
	return s, nil
}

func readAggregate(r *bufio.Reader, kind byte, n int) (any, error) {
	if n == -1 {
		return nil, nil
	}
	if kind == '%' || kind == '|' {
		n *= 2
	}
	items := make([]any, 0, min(n, 1024))
	for range n {
		item, err := readReply(r)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	switch kind {
	case '%':
		return Map(items), nil
	case '>':
		return Push(items), nil
	case '|':
		return readReply(r) // an attribute: said about the reply that follows it
	}
	return items, nil
}
