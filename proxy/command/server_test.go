package command

import (
	"bytes"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// commandReply returns the bytes of a server's reply to COMMAND, in RESP2, or after HELLO 3 in RESP3.
func commandReply(t *testing.T, server *redisserver.Server, protocol string) []byte {
	t.Helper()
	conn := server.Conn()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	const marker = "this is behind it"
	before := redisserver.AppendCommand(nil, "ECHO", marker)
	if protocol == "3" {
		before = redisserver.AppendCommand(redisserver.AppendCommand(nil, "HELLO", "3"), "ECHO", marker)
	}
	end := []byte("$17\r\n" + marker + "\r\n")
	readTo := func() []byte {
		var got []byte
		buf := make([]byte, 64<<10)
		for !bytes.HasSuffix(got, end) {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("reading from the server: %v", err)
			}
			got = append(got, buf[:n]...)
		}
		return got[:len(got)-len(end)]
	}
	write := func(b []byte) {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(before)
	readTo()
	write(redisserver.AppendCommand(redisserver.AppendCommand(nil, "COMMAND"), "ECHO", marker))
	return readTo()
}

// parsed is Parse of a server's own table.
func parsed(t *testing.T, server *redisserver.Server) *Table {
	t.Helper()
	table, err := Parse(commandReply(t, server, "2"))
	if err != nil {
		t.Fatal(err)
	}
	return table
}
