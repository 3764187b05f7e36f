//go:build linux

package registry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// refusesToStart runs the proxy, which must end by itself and say each of want.
func refusesToStart(t *testing.T, p *proxy, want ...string) {
	t.Helper()
	r := p.cli("serve", "-config", p.config)
	if r.code != 1 {
		t.Fatalf("status %d\n%s", r.code, r.stderr)
	}
	for _, w := range want {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("it does not say %q:\n%s", w, r.stderr)
		}
	}
}

func TestDamagedStateFileIsRefusedAndLeftAlone(t *testing.T) {
	primary := redisserver.Start(t)
	p := newProxy(t, object{"scripts": declare("which", "return 'v1'", "return 'v2'"), "registry": object{"state_file": "state"}}, primary).start()
	p.must("script", "activate", "-yes", "which", "v2")
	p.Stop()
	path := filepath.Join(p.dir, "state")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, damage := range map[string][]byte{
		"truncated": whole[:len(whole)/2],
		"tampered":  []byte(strings.Replace(string(whole), "v2", "v1", 1)),
		"empty":     {},
		"foreign":   []byte("{\"hello\": 1}\n"),
		"longer":    append(append([]byte{}, whole...), whole...),
	} {
		if err := os.WriteFile(path, damage, 0o600); err != nil {
			t.Fatal(err)
		}
		refusesToStart(t, p, path, "is refused", "restore it from a backup")
		if now, err := os.ReadFile(path); err != nil || string(now) != string(damage) {
			t.Errorf("the %s file was written to (%v)", what, err)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if p.start(); p.active("which") != "v2" {
		t.Errorf("%s is active with the file as it was", p.active("which"))
	}
}

func TestStoreWithWrongTypesIsRefusedAndLeftAlone(t *testing.T) {
	primary, store := redisserver.Start(t), redisserver.Start(t)
	p := newProxy(t, object{"scripts": declare("which", "return 'v1'"), "registry": onRedis(store)}, primary)
	store.Do("SET", "{scriptproxy}:state", "somebody else's")
	refusesToStart(t, p, "{scriptproxy}:state", "string")
	if v := store.Do("GET", "{scriptproxy}:state"); v != "somebody else's" {
		t.Errorf("the key holds %v now", v)
	}
}

func TestWhatCannotBeLoadedSaysWhyAndChangesNothing(t *testing.T) {
	primary := redisserver.Start(t)
	p := newProxy(t, object{"scripts": declare("which", "return 'v1'", "return 'v2'")}, primary).start()
	file := func(name, text string) string {
		path := filepath.Join(p.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fine := file("fine.lua", "return 3")
	before := p.revision()
	for _, c := range []struct {
		args []string
		say  string
	}{
		{[]string{"load", "which", file("broken.lua", "return redis.call('GET', KEYS[1]")}, "node " + primary.Addr() + ": ERR Error compiling script"},
		{[]string{"load", "which", file("large.lua", "return '"+strings.Repeat("x", 10<<20)+"'")}, "at most 1048576 are allowed"},
		{[]string{"load", "which", file("empty.lua", "")}, "is empty"},
		{[]string{"load", "no spaces", fine}, `" " at position 3 is not allowed`},
		{[]string{"load", "../etc/passwd", fine}, "beginning with a letter"},
		{[]string{"load", "naïve", fine}, "is not allowed"},
		{[]string{"load", "a//b", fine}, "empty"},
		{[]string{"load", strings.Repeat("n", 129), fine}, "at most 128"},
		{[]string{"load", strings.Repeat("0a", 20), fine}, "taken for a sha"},
		{[]string{"load", "-version", "a/b", "which", fine}, "has a slash"},
		{[]string{"load", "-version", "v1", "which", fine}, "exists with another body"},
		{[]string{"load", "-class", "reed", "which", fine}, `"reed"`},
		{[]string{"load", "which", file("lib.lua", "#!lua name=which\nredis.register_function('f', function() end)")}, "kind script"},
		{[]string{"load", "other", file("lib.lua", "#!lua name=which\nredis.register_function('f', function() end)")}, `calls itself "which"`},
		{[]string{"load", "lib", file("computed.lua", "#!lua name=lib\nredis.register_function('f' .. 1, function() end)")}, "computed"},
		{[]string{"load", "lib", file("libbroken.lua", "#!lua name=lib\nredis.register_function('f', function() return 1 +  end)")}, "compiling function"},
		{[]string{"activate", "-yes", "which", "v7"}, `has no version "v7"; it has v2, v1`},
		{[]string{"activate", "-yes", "witch", "v1"}, "did you mean which?"},
		{[]string{"rollback", "which"}, "there is no previous version"},
		{[]string{"canary", "-yes", "which", "v2", "0"}, "0.01 to 100"},
		{[]string{"rm", "-yes", "which", "v1"}, "activate another first"},
	} {
		r := p.cli(append([]string{"script"}, c.args...)...)
		if r.code != 1 || !strings.Contains(r.stderr, c.say) || r.stdout != "" {
			t.Errorf("%.60q: status %d, want it to say %q:\n%s%s", c.args, r.code, c.say, r.stdout, r.stderr)
		}
	}
	if after := p.revision(); after != before {
		t.Errorf("the registry went from revision %d to %d", before, after)
	}
	if functions, _ := primary.Do("FUNCTION", "LIST").([]any); len(functions) != 0 {
		t.Errorf("the primary has %v", functions)
	}
}

func TestVersionThatANodeRefusesIsNotAdded(t *testing.T) {
	primary := redisserver.Start(t)
	// This replica does not let the proxy's user load scripts.
	replica := redisserver.Start(t, redisserver.ReplicaOf(primary), redisserver.Args("user", "default on nopass ~* &* +@all -script|load"))
	redisserver.WaitReplica(t, primary, replica)
	p := newProxy(t, object{"scripts": declare("which", "return 'v1'", "return 'v2'")}, primary, replica).start()
	before := p.revision()
	r := p.cli("script", "activate", "-yes", "which", "v2")
	if r.code != 1 || !strings.Contains(r.stderr, "could not be loaded on node "+replica.Addr()) || !strings.Contains(r.stderr, "nothing was changed") {
		t.Errorf("status %d: %s", r.code, r.stderr)
	}
	if p.revision() != before || p.active("which") != "v1" {
		t.Errorf("revision %d, %s is active", p.revision(), p.active("which"))
	}
	// A rollback may have to go on without that node.
	if r := p.cli("script", "rollback", "-force", "which", "v2"); r.code != 0 || !strings.Contains(r.stderr, "went on although") {
		t.Errorf("status %d: %s", r.code, r.stderr)
	}
}
