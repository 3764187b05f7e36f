//go:build linux

package e2e

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func shaOf(body string) string {
	sum := sha1.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

// twoVersions are bodies that say which version ran, and with what.
var twoVersions = []string{
	"return {'v1', KEYS[1], ARGV[1]}",
	"return {'v2', KEYS[1], ARGV[1]}",
}

func answered(version string) string { return array(bulk(version), bulk("k"), bulk("a")) }

func TestNameRunsTheActiveVersion(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("which", twoVersions))
	c := p.client()
	verbs := []string{"EVALSHA", "evalsha"}
	if since(t, 7, 0) {
		verbs = append(verbs, "EVALSHA_RO")
	}
	for _, verb := range verbs {
		if got := c.Do(verb, "which", "1", "k", "a"); got != answered("v2") {
			t.Errorf("%s which: %q", verb, got)
		}
	}
}

func TestActiveVersionIsTheConfiguredOneAndNotTheNewest(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("which", twoVersions, "active", "v1"))
	if got := p.client().Do("EVALSHA", "which", "1", "k", "a"); got != answered("v1") {
		t.Errorf("got %q", got)
	}
}

func TestNameAtVersionRunsThatVersion(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("which", twoVersions))
	c := p.client()
	for _, v := range []string{"v1", "v2"} {
		if got := c.Do("EVALSHA", "which@"+v, "1", "k", "a"); got != answered(v) {
			t.Errorf("which@%s: %q", v, got)
		}
	}
}

func TestUnknownNamesAndVersionsAreAnsweredAsUnknownScripts(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("which", twoVersions))
	c := p.client()
	for _, name := range []string{"nobody", "which@v9", "which@", "", strings.Repeat("z", 40)} {
		if got := c.Do("EVALSHA", name, "1", "k", "a"); !isNoScript(got) {
			t.Errorf("EVALSHA %q: %q", name, got)
		}
	}
}

func TestShaOfAnyVersionRunsTheActiveOne(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("which", twoVersions))
	c := p.client()
	for _, sha := range []string{shaOf(twoVersions[0]), shaOf(twoVersions[1]), strings.ToUpper(shaOf(twoVersions[0]))} {
		if got := c.Do("EVALSHA", sha, "1", "k", "a"); got != answered("v2") {
			t.Errorf("EVALSHA %s: %q", sha, got)
		}
	}
}

func TestShaOfAPinnedVersionRunsThatVersion(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("which", twoVersions), pinned("v1"))
	c := p.client()
	if got := c.Do("EVALSHA", shaOf(twoVersions[0]), "1", "k", "a"); got != answered("v1") {
		t.Errorf("the pinned sha: %q", got)
	}
	if got := c.Do("EVALSHA", "which", "1", "k", "a"); got != answered("v2") {
		t.Errorf("the name: %q", got)
	}
}

func TestBodyOfAnyVersionRunsTheActiveOne(t *testing.T) {
	t.Parallel()
	p := startProxy(t, redisserver.Start(t), nil, script("which", twoVersions), pinned("v1"), script("other", []string{"return {'o1'}", "return {'o2'}"}))
	c := p.client()
	for _, tc := range []struct{ verb, body, want string }{
		{"EVAL", twoVersions[0], answered("v1")}, // pinned
		{"EVAL", twoVersions[1], answered("v2")},
		{"EVAL", "return {'o1'}", array(bulk("o2"))},
		{"EVAL_RO", "return {'o1'}", array(bulk("o2"))},
	} {
		if tc.verb == "EVAL_RO" && !since(t, 7, 0) {
			continue
		}
		if got := c.Do(tc.verb, tc.body, "1", "k", "a"); got != tc.want {
			t.Errorf("%s %q: %q, want %q", tc.verb, tc.body, got, tc.want)
		}
	}
}

func TestUnregisteredScriptsRunAsWithoutAProxy(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, script("which", twoVersions))
	c := p.client()
	body := "return {KEYS[1], ARGV[1], 7}"
	want := array(bulk("k"), bulk("a"), integer(7))
	if got := c.Do("EVALSHA", shaOf(body), "1", "k", "a"); !isNoScript(got) {
		t.Errorf("before it is known anywhere: %q", got)
	}
	if got := c.Do("EVAL", body, "1", "k", "a"); got != want {
		t.Errorf("EVAL: %q", got)
	}
	if got := c.Do("EVALSHA", shaOf(body), "1", "k", "a"); got != want {
		t.Errorf("EVALSHA after EVAL: %q", got)
	}
	loaded := "return 'loaded'"
	if got := c.Do("SCRIPT", "LOAD", loaded); got != bulk(shaOf(loaded)) {
		t.Errorf("SCRIPT LOAD: %q", got)
	}
	if got := c.Do("EVALSHA", shaOf(loaded), "0"); got != bulk("loaded") {
		t.Errorf("EVALSHA after SCRIPT LOAD: %q", got)
	}
	behind := "return 'loaded behind the back'"
	server.Do("SCRIPT", "LOAD", behind)
	if got := c.Do("EVALSHA", shaOf(behind), "0"); got != bulk("loaded behind the back") {
		t.Errorf("a sha that only the server knows: %q", got)
	}
	if got := c.Do("SCRIPT", "EXISTS", shaOf(body), shaOf(twoVersions[0]), shaOf("nothing")); got != array(integer(1), integer(1), integer(0)) {
		t.Errorf("SCRIPT EXISTS: %q", got)
	}
}

// TestScriptCallErrorsAreTheServersOwn sends what is wrong in every way to the proxy and to the server, where the same scripts are known.
func TestScriptCallErrorsAreTheServersOwn(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	body := "return redis.call('GET', KEYS[1])"
	failing := "return redis.call('INCR', KEYS[1])"
	wrongType := "redis.call('DEL', KEYS[1]); redis.call('LPUSH', KEYS[1], 'x'); return redis.call('GET', KEYS[1])"
	raising := "return redis.error_reply('MINE my own words')"
	shebang := "#!lua flags=no-writes\nreturn redis.call('SET', KEYS[1], 'x')"
	p := startProxy(t, server, nil, script("read", []string{body}))
	s, c := direct(t, server), p.client()
	s.Do("SET", "text", "abc")
	for _, b := range []string{body, failing, wrongType, raising, shebang} {
		s.Do("SCRIPT", "LOAD", b)
	}
	var calls [][]string
	for _, first := range [][2]string{{"EVALSHA", shaOf(body)}, {"EVALSHA_RO", shaOf(body)}, {"EVAL", body}, {"EVAL_RO", body}} {
		for _, rest := range []string{
			"", "x", "-1", "1", "2 k", "1 k", "1.5 k", "999999999999999999999 k", "00 k", "+1 k", "9223372036854775807 k", "-9223372036854775808", "1 text more arguments",
		} {
			calls = append(calls, append(first[:], strings.Fields(rest)...))
		}
		calls = append(calls, first[:1], first[:])
	}
	calls = append(calls,
		[]string{"EVALSHA", shaOf(failing), "1", "text"},
		[]string{"EVALSHA", shaOf(wrongType), "1", "list"},
		[]string{"EVALSHA", shaOf(raising), "0"},
		[]string{"EVALSHA", shaOf(shebang), "1", "text"},
		[]string{"EVALSHA_RO", shaOf(failing), "1", "text"},
		[]string{"EVAL", "this is not Lua", "0"},
		[]string{"EVAL", "#!lua flags=nonsense\nreturn 1", "0"},
		[]string{"EVAL", "#!python\nreturn 1", "0"},
		[]string{"EVAL", "", "0"},
		[]string{"EVALSHA", shaOf("never seen"), "0"},
		[]string{"EVALSHA", "tooshort", "0"},
		[]string{"SCRIPT"}, []string{"SCRIPT", "NOSUCH"}, []string{"SCRIPT", "LOAD"}, []string{"SCRIPT", "LOAD", "not Lua at all"},
		[]string{"SCRIPT", "EXISTS"}, []string{"SCRIPT", "FLUSH", "LATER"}, []string{"SCRIPT", "KILL"}, []string{"FUNCTION", "KILL"}, []string{"SCRIPT", "KILL", "it"},
		[]string{"FCALL", "nofunction", "0"}, []string{"FCALL", "nofunction", "x"}, []string{"FCALL_RO", "nofunction", "0"},
	)
	for _, call := range calls {
		want := s.Do(call...)
		if got := c.Do(call...); got != want {
			t.Errorf("%q: %q, the server says %q", call, got, want)
		}
	}
}
