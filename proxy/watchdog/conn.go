package watchdog

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
)

// writeTimeout bounds the sending of a command of a few bytes to a node whose
// socket buffer is empty but for it.
const writeTimeout = time.Second

// conn is a connection to a node that has one command in flight at a time.
// Its reader notices at once when the node goes away.
type conn struct {
	c       net.Conn
	replies chan []string // closed when the connection has ended
	owed    int           // replies to commands whose asker gave up
}

func newConn(c net.Conn) *conn {
	k := &conn{c: c, replies: make(chan []string, 16)}
	go k.read()
	return k
}

// read hands on replies: one line, or the bulk strings of an array.
func (k *conn) read() {
	defer close(k.replies)
	r := bufio.NewReader(k.c)
	for {
		reply, err := readReply(r)
		if err != nil {
			return
		}
		k.replies <- reply
	}
}

var errReply = errors.New("the reply is none that was asked for")

// readReply reads a line of any kind, or an array of bulk strings.
func readReply(r *bufio.Reader) ([]string, error) {
	line, err := readLine(r)
	if err != nil || line[0] != '*' {
		return []string{line}, err
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil || n > 16 {
		return nil, errReply
	}
	items := []string{}
	for range n {
		head, err := readLine(r)
		if err != nil {
			return nil, err
		}
		size, err := strconv.Atoi(head[1:])
		if head[0] != '$' || err != nil || size < 0 || size > 4096 {
			return nil, errReply
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		items = append(items, string(b[:size]))
	}
	return items, nil
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(line), "\r\n")
	if text == "" {
		return "", errReply
	}
	return text, nil
}

var (
	errConnLost = errors.New("the connection was lost")
	errGaveUp   = errors.New("no answer is needed any more")
)

// ask sends a command and waits for its reply: as long as the connection
// lives, ctx lasts, and needed, asked now and then, says so.
func (k *conn) ask(ctx context.Context, needed func() bool, args ...string) ([]string, error) {
	k.c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := k.c.Write(resp.AppendCommand(nil, args...)); err != nil {
		return nil, err
	}
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case reply, ok := <-k.replies:
			if !ok {
				return nil, errConnLost
			}
			if k.owed > 0 {
				k.owed--
				continue
			}
			return reply, nil
		case <-ctx.Done():
			k.owed++
			return nil, ctx.Err()
		case <-look.C:
			if !needed() {
				k.owed++
				return nil, errGaveUp
			}
		}
	}
}

func (k *conn) close() {
	k.c.Close()
	for range k.replies {
	}
}
