//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// version is what the servers under test say they are.
var version = sync.OnceValues(func() ([2]int, error) {
	command := strings.Fields(os.Getenv("SCRIPTPROXY_TEST_REDIS"))
	if len(command) == 0 {
		command = []string{"redis-server"}
	}
	out, err := exec.Command(command[0], append(command[1:], "--version")...).Output()
	if err != nil {
		return [2]int{}, fmt.Errorf("%s --version: %w", strings.Join(command, " "), err)
	}
	var v [2]int
	if _, err := fmt.Sscanf(regexp.MustCompile(`v=\S+`).FindString(string(out)), "v=%d.%d", &v[0], &v[1]); err != nil {
		return v, fmt.Errorf("%s --version printed %q", strings.Join(command, " "), out)
	}
	return v, nil
})

// since reports whether the servers under test have what came with a version of Redis. Valkey, whose first version was 7.2,
// counts as what it is compatible with.
func since(t testing.TB, major, minor int) bool {
	t.Helper()
	v, err := version()
	if err != nil {
		t.Fatal(err)
	}
	return v[0] > major || v[0] == major && v[1] >= minor
}

// readCalls is how often a server was asked for scripts in the form in which a replica is: EVALSHA_RO, where it knows that, else by
// sha or with the body.
func readCalls(s *redisserver.Server, t testing.TB) int {
	t.Helper()
	if since(t, 7, 0) {
		return calls(s, "evalsha_ro") + calls(s, "eval_ro") // a user's first one says whether the user may
	}
	return calls(s, "evalsha") + calls(s, "eval")
}

// allChannels is the part of an ACL rule that allows a user all channels: before Redis 6.2 there were no others.
func allChannels(t testing.TB) string {
	t.Helper()
	if since(t, 6, 2) {
		return "&* "
	}
	return ""
}

// isNoScript tells a server's answer to the sha of a script that it does not know. Valkey leaves out the second sentence.
func isNoScript(reply string) bool {
	return reply == noScript || reply == strings.Replace(noScript, " Please use EVAL.", "", 1)
}
