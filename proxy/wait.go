//go:build linux

package proxy

import (
	"strconv"
	"strings"

	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// WAIT and WAITAOF speak of the writes of their own connection: a server
// remembers for each how far the replication stream was after its last
// command. The session's writes went on a shared link, so its dedicated link
// is brought up to them first.

func isWait(name []byte) bool { return equalFold(name, "WAIT") || equalFold(name, "WAITAOF") }

// wait sends a WAIT on the session's dedicated link, behind what brings the
// link up to the session's writes.
func (s *session) wait(r *resp.Request) {
	c := &catchUp{p: s.w.newPending(s, kindWait)}
	c.call.Owner = c
	s.ded.Send(catchUpRequest(s.backend().Topology.Hello().Version), &c.call)
	s.send(s.ded, c.p, r.Raw())
}

// catchUpRequest is a command after which the server remembers the present
// end of the stream: up to Redis 7.0 every command (server.c,
// processCommand), from 7.2 one that is replicated (server.c, call). A message
// on a shard channel is that, changes nothing, and reaches nobody who did not
// ask for just this channel.
func catchUpRequest(version string) []byte {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	x, _ := strconv.Atoi(major)
	y, _ := strconv.Atoi(minor)
	if x < 7 || x == 7 && y < 2 {
		return []byte("*1\r\n$4\r\nPING\r\n")
	}
	return resp.AppendCommand(nil, "SPUBLISH", "scriptproxy:wait", "")
}

// catchUp takes the answer to catchUpRequest.
type catchUp struct {
	call upstream.Call
	p    *pending
	text []byte
}

func (c *catchUp) Reply(_ *upstream.Call, piece []byte, done bool) {
	c.text = append(c.text, piece...)
	if done && c.text[0] == '-' {
		c.p.text = "-ERR scriptproxy cannot answer WAIT: it needs SPUBLISH on the channel scriptproxy:wait, and the server says: " + strings.TrimSpace(string(c.text[1:])) + crlf
	}
}

func (c *catchUp) Lost(*upstream.Call, bool, error) {}
