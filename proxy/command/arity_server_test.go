package command

import (
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// ACL DRYRUN counts the arguments of a command exactly as running it would, without running it.
func TestArityIsWhatTheServerAccepts(t *testing.T) {
	server := redisserver.Start(t)
	client := server.Client()
	for their := range parsed(t, server).All() {
		c := Embedded().LookupString(their.Name)
		if c == nil || their.IsContainer() && their.Name != "COMMAND" {
			continue // a container's arguments are counted by its subcommands
		}
		if !sameVersion(server) {
			c = their
		}
		args := strings.Split(strings.ToLower(c.Name), "|")
		for n := len(args); n <= 9; n++ {
			if c.Name == "COMMAND" && n > 1 {
				break // it would have a subcommand, which is not there
			}
			line := []any{"ACL", "DRYRUN", "default"}
			for i := range n {
				if i < len(args) {
					line = append(line, args[i])
				} else {
					line = append(line, "1")
				}
			}
			reply, err := client.Do(line...)
			if err != nil {
				t.Fatal(err)
			}
			e, refused := reply.(redisserver.Error)
			if refused && !strings.Contains(string(e), "wrong number of arguments") {
				t.Fatalf("%v: %s", line, e)
			}
			if c.ArityOK(n) == refused {
				t.Errorf("ArityOK(%d) of %s is %v, the server answers %v", n, c.Name, c.ArityOK(n), reply)
			}
		}
	}
}
