package demo

import (
	"fmt"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// embedded is a server inside this process.
type embedded struct{ mini *miniredis.Miniredis }

// StartEmbedded starts a server inside this process, without a replica.
func StartEmbedded() (Servers, error) {
	mini, err := miniredis.Run()
	if err != nil {
		return nil, fmt.Errorf("cannot start the embedded server: %w", err)
	}
	mini.Server().SetPreHook(answer)
	return &embedded{mini}, nil
}

func (e *embedded) String() string {
	return fmt.Sprintf("miniredis, embedded in this process because redis-server is not used: primary %s, no replica", e.mini.Addr())
}
func (e *embedded) Primary() string      { return e.mini.Addr() }
func (e *embedded) Replica() string      { return "" }
func (e *embedded) Failed() <-chan error { return nil }
func (e *embedded) Stop()                { e.mini.Close() }

// infoSections are the parts of INFO that a proxy asks its nodes for and that
// miniredis lacks. The version is the one whose commands miniredis has.
var infoSections = map[string]string{
	"server":      "# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\nrun_id:" + zeros + "\r\n",
	"replication": "# Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_replid:" + zeros + "\r\nmaster_repl_offset:0\r\n",
}

// zeros is the id of a server that is never restarted and never replicated.
const zeros = "0000000000000000000000000000000000000000"

// commands is a reply to COMMAND with PING alone: the proxy knows the others itself.
const commands = "*1\r\n*6\r\n$4\r\nping\r\n:-1\r\n*1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n"

// answer replies to what a proxy asks and miniredis does not answer as Redis does:
// INFO for infoSections, and COMMAND, whose entries lack what they must have. It
// reports whether it did.
func answer(c *server.Peer, command string, args ...string) bool {
	switch {
	case command == "INFO" && len(args) == 1:
		section, ok := infoSections[strings.ToLower(args[0])]
		if ok {
			c.WriteBulk(section)
		}
		return ok
	case command == "COMMAND" && len(args) == 0:
		c.WriteRaw(commands)
		return true
	}
	return false
}
