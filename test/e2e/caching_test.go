//go:build linux

package e2e

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// TestClientCachingIsAboutTheClientsNextCommandWhateverBecomesOfIt sends, between CLIENT CACHING and a read of the key k, what the
// proxy sends twice, sends something of its own ahead of, or does not send to the server at all. Whether the client is told of a
// change of k must be as if there were no proxy; it is always told of the key last, which it reads afterwards.
func TestClientCachingIsAboutTheClientsNextCommandWhateverBecomesOfIt(t *testing.T) {
	t.Parallel()
	const body = "return redis.call('GET', KEYS[1])"
	digest := sha1.Sum([]byte(body))
	const quoting = "if ARGV[1] then return redis.error_reply(ARGV[1]) end return redis.call('GET', KEYS[1])"
	sha := hex.EncodeToString(digest[:])
	flush := func(server *redisserver.Server) { server.Do("SCRIPT", "FLUSH") }
	for name, test := range map[string]struct {
		mode   string
		user   string
		before func(server *redisserver.Server)
		calls  [][]string
		told   bool
	}{
		"a call of a script that was lost":           {"OPTIN", "default", flush, [][]string{{"CLIENT", "CACHING", "YES"}, {"EVALSHA", sha, "1", "k"}}, true},
		"a call that only reads of a lost script":    {"OPTIN", "default", flush, [][]string{{"CLIENT", "CACHING", "YES"}, {"EVALSHA_RO", sha, "1", "k"}}, true},
		"a lost script that is not to be told of":    {"OPTOUT", "default", flush, [][]string{{"CLIENT", "CACHING", "NO"}, {"EVALSHA", sha, "1", "k"}}, false},
		"a lost script of a user without EVAL":       {"OPTIN", "shas", flush, [][]string{{"CLIENT", "CACHING", "YES"}, {"EVALSHA", sha, "1", "k"}}, true},
		"a lost script that another user loads":      {"OPTIN", "neither", flush, [][]string{{"CLIENT", "CACHING", "YES"}, {"EVALSHA", "read", "1", "k"}}, true},
		"a lost script that speaks of NOSCRIPT":      {"OPTIN", "neither", flush, [][]string{{"EVALSHA", "read", "1", "k"}, {"CLIENT", "CACHING", "YES"}, {"EVALSHA", "quoting", "1", "k"}}, true},
		"a script that speaks of NOSCRIPT":           {"OPTIN", "neither", flush, [][]string{{"EVALSHA", "quoting", "1", "k"}, {"CLIENT", "CACHING", "YES"}, {"EVALSHA", "quoting", "1", "k"}}, true},
		"a script for a user without SCRIPT LOAD":    {"OPTIN", "bodies", flush, [][]string{{"CLIENT", "CACHING", "YES"}, {"EVAL", body, "1", "k"}}, true},
		"other CLIENT commands in between":           {"OPTIN", "default", flush, [][]string{{"CLIENT", "CACHING", "YES"}, {"CLIENT", "ID"}, {"CLIENT", "GETREDIR"}, {"EVALSHA", sha, "1", "k"}}, true},
		"a command that the proxy answers":           {"OPTOUT", "default", nil, [][]string{{"CLIENT", "CACHING", "NO"}, {"PING"}, {"GET", "k"}}, true},
		"a command that the proxy answers, opted in": {"OPTIN", "default", nil, [][]string{{"CLIENT", "CACHING", "YES"}, {"PING"}, {"GET", "k"}}, false},
		"a command for every node":                   {"OPTOUT", "default", nil, [][]string{{"CLIENT", "CACHING", "NO"}, {"SCRIPT", "EXISTS", sha}, {"GET", "k"}}, true},
		"a word taken back by switching off":         {"OPTIN", "default", flush, [][]string{{"CLIENT", "CACHING", "YES"}, {"CLIENT", "TRACKING", "OFF"}, {"CLIENT", "TRACKING", "ON", "OPTIN"}, {"EVALSHA", sha, "1", "k"}}, false},
		"the command after the next":                 {"OPTIN", "default", flush, [][]string{{"CLIENT", "CACHING", "YES"}, {"GET", "other"}, {"EVALSHA", sha, "1", "k"}}, false},
		"a large value":                              {"OPTIN", "default", flush, [][]string{{"CLIENT", "CACHING", "YES"}, {"SET", "large", strings.Repeat("x", 3<<20)}, {"EVALSHA", sha, "1", "k"}}, false},
	} {
		if name == "a call that only reads of a lost script" && !since(t, 7, 0) {
			continue // there is no EVALSHA_RO
		}
		for way, pipelined := range map[string]bool{"one by one": false, "in a pipeline": true} {
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				server := redisserver.Start(t)
				server.Do("ACL", "SETUSER", "shas", "on", ">pw", "~*", "&*", "+@all", "-eval", "-eval_ro")
				server.Do("ACL", "SETUSER", "bodies", "on", ">pw", "~*", "&*", "+@all", "-script|load")
				server.Do("ACL", "SETUSER", "neither", "on", ">pw", "~*", "&*", "+@all", "-eval", "-eval_ro", "-script|load")
				p := startProxy(t, server, nil, script("read", []string{body}), script("quoting", []string{quoting}))
				c, other := p.client(), p.client()
				other.Do("SET", "k", "1")
				other.Do("EVAL", body, "1", "k")
				other.Do("EVALSHA", sha, "1", "k")
				if test.user != "default" {
					c.Do("AUTH", test.user, "pw")
				}
				c.Do("HELLO", "3")
				c.Do("CLIENT", "TRACKING", "ON", test.mode)
				c.Do("EVALSHA", sha, "1", "elsewhere")
				if test.before != nil {
					test.before(server)
				}
				var all string
				for _, call := range test.calls {
					all += request(call...)
				}
				if pipelined {
					c.Send(all)
				}
				for _, call := range test.calls {
					if !pipelined {
						c.Send(request(call...))
					}
					if got := c.Reply(); strings.HasPrefix(got, "-") {
						t.Fatalf("%.80q: %s", call, got)
					}
				}
				if test.mode == "OPTIN" {
					c.Do("CLIENT", "CACHING", "YES")
				}
				c.Do("GET", "last")
				other.Do("SET", "k", "2")
				other.Do("SET", "last", "2")
				if test.told {
					c.Want(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n")
				}
				c.Want(">2\r\n$10\r\ninvalidate\r\n*1\r\n$4\r\nlast\r\n")
			})
		}
	}
}
