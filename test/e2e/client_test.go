//go:build linux

package e2e

import (
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
	"github.com/scriptproxy/scriptproxy/test/wire"
)

type client = wire.Client

var (
	newClient = wire.New
	request   = wire.Request
	bulk      = wire.Bulk
	integer   = wire.Integer
	array     = wire.Array
)

const (
	ok     = wire.OK
	pong   = wire.Pong
	queued = wire.Queued
	null   = wire.Null
	// noScript is Redis's answer to the sha of a script that it does not know.
	noScript = "-NOSCRIPT No matching script. Please use EVAL.\r\n"
)

// direct returns a client of the server itself.
func direct(t *testing.T, s *redisserver.Server) *client {
	t.Helper()
	return newClient(t, s.Conn())
}
