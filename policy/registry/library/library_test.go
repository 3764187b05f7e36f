package library_test

import (
	"context"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/goleak"

	"github.com/scriptproxy/scriptproxy/policy/registry/library"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const example = `#!lua name=mylib
-- redis.register_function('commented', f)
--[[ redis.register_function('commented too', f) ]]
local note = "redis.register_function('quoted', f)" .. [==[ redis.register_function(x, f) ]==]
local function answer(keys, args) return 'VERSION' end
redis.register_function('plain', answer)
redis.register_function( "double" , function(keys, args) return {note, answer(), 'plain'} end)
redis.register_function{function_name='table', callback=answer, flags={'no-writes'}}
redis.register_function({ callback = answer, description = 'function_name', flags = { 'no-writes' }; ["function_name"] = [[bracket]] })
redis['register_function']('index', answer)
`

func TestNamesAreFoundWhereRedisFindsThem(t *testing.T) {
	lib, err := library.Parse([]byte(example))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"plain", "double", "table", "bracket", "index"}
	if lib.Name != "mylib" || !slices.Equal(lib.Functions, want) {
		t.Errorf("found %+v", lib)
	}
}

func TestACopyDiffersInNamesOnly(t *testing.T) {
	copied, lib, err := library.SideBySide([]byte(example), "v2.1")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"plain__v2_2e1", "double__v2_2e1", "table__v2_2e1", "bracket__v2_2e1", "index__v2_2e1"}
	if lib.Name != "mylib__v2_2e1" || !slices.Equal(lib.Functions, want) {
		t.Errorf("the copy declares %+v", lib)
	}
	if back := strings.ReplaceAll(string(copied), "__v2_2e1", ""); back != example {
		t.Errorf("the copy is\n%s", copied)
	}
	if !strings.Contains(string(copied), "return {note, answer(), 'plain'}") {
		t.Error("a string that happens to be a function's name was changed")
	}
}

func TestNamesOfDifferentVersionsDiffer(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"a", "a__b", "a_", "a_2e"} {
		for _, version := range []string{"b", "b__c", "c", "v1", "v_1", "v.1", "v-1", "v:1", "_b", "_", "2e"} {
			copied := library.Name(name, version)
			if other, taken := seen[copied]; taken {
				t.Errorf("%s@%s and %s are both %s", name, version, other, copied)
			}
			seen[copied] = name + "@" + version
		}
	}
}

func TestWhatCannotBeRenamedIsRefused(t *testing.T) {
	for _, c := range []struct{ what, body, say string }{
		{"no first line", "redis.register_function('f', f)", "line 1"},
		{"no name", "#!lua\nredis.register_function('f', f)", "line 1"},
		{"another language", "#!js name=x\n", "line 1"},
		{"no function", "#!lua name=x\nlocal a = 1\n", "registers no function"},
		{"a variable", "#!lua name=x\n\nredis.register_function(name, f)", "line 3: the name given to register_function is computed"},
		{"a concatenation", "#!lua name=x\nredis.register_function('f' .. i, f)", "computed"},
		{"a concatenation in a table", "#!lua name=x\nredis.register_function{function_name='f'..i, callback=f}", "function_name is computed"},
		{"a variable in a table", "#!lua name=x\nredis.register_function{function_name=n, callback=f}", "function_name is computed"},
		{"a table without a name", "#!lua name=x\nredis.register_function{callback={function_name='f'}}", "no function_name"},
		{"a table from elsewhere", "#!lua name=x\nredis.register_function(t)", "computed"},
		{"an alias", "#!lua name=x\nlocal r = redis.register_function\nr('f', f)", "line 2"},
		{"a computed member", "#!lua name=x\nredis['register_'..'function']('f', f)", "computed index"},
		{"an escape", `#!lua name=x` + "\n" + `redis.register_function('\102', f)`, "no name for a function"},
		{"a name twice", "#!lua name=x\nredis.register_function('f', f)\nredis.register_function('f', g)", "line 3"},
		{"a string without an end", "#!lua name=x\nlocal a = 'b\n", "line 2"},
		{"a comment without an end", "#!lua name=x\n--[[ a\n", "line 2"},
		{"a table without an end", "#!lua name=x\nredis.register_function{a={}", "does not end"},
	} {
		if _, _, err := library.SideBySide([]byte(c.body), "v1"); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: got %v, want it to say %q", c.what, err, c.say)
		}
	}
}

func TestARealServerRunsVersionsSideBySide(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("this test needs redis-server in PATH: install Redis 7 or later")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", t.TempDir(), "--loglevel", "warning")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
	redis.SetLogger(silent{}) // it reports every failed attempt to connect
	c := redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true, DialerRetries: 1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
	defer func() { _ = c.Close() }()
	ctx := context.Background()
	for deadline := time.Now().Add(20 * time.Second); c.Ping(ctx).Err() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer")
		}
	}
	if err := c.FunctionLoad(ctx, strings.ReplaceAll(example, "VERSION", "one")).Err(); err != nil {
		t.Fatal(err)
	}
	copied, lib, err := library.SideBySide([]byte(strings.ReplaceAll(example, "VERSION", "two")), "v2")
	if err != nil {
		t.Fatal(err)
	}
	if name, err := c.FunctionLoad(ctx, string(copied)).Result(); err != nil || name != lib.Name {
		t.Fatalf("loaded as %q, %v", name, err)
	}
	loaded, err := c.FunctionList(ctx, redis.FunctionListQuery{LibraryNamePattern: lib.Name}).Result()
	if err != nil || len(loaded) != 1 {
		t.Fatalf("%v, %v", loaded, err)
	}
	var functions []string
	for _, f := range loaded[0].Functions {
		functions = append(functions, f.Name)
	}
	slices.Sort(functions)
	if !slices.Equal(functions, slices.Sorted(slices.Values(lib.Functions))) {
		t.Errorf("the server has %v, and the copy was said to have %v", functions, lib.Functions)
	}
	for _, f := range []string{"plain", "table", "bracket", "index"} {
		for name, want := range map[string]string{f: "one", library.Name(f, "v2"): "two"} {
			if got, err := c.FCall(ctx, name, nil).Text(); got != want {
				t.Errorf("FCALL %s: %q, %v; want %q", name, got, err, want)
			}
		}
	}
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func FuzzSideBySide(f *testing.F) {
	f.Add([]byte(example), "v1")
	f.Add([]byte("#!lua name=x\nredis.register_function('f', f)--[==[ ]==]"), "1.2_3")
	f.Add([]byte("#!lua name=x\nredis[ [[register_function]] ]{function_name=[=[f]=];}"), "é")
	f.Fuzz(func(t *testing.T, body []byte, version string) {
		lib, err := library.Parse(body)
		copied, renamed, copyErr := library.SideBySide(body, version)
		if err != nil || copyErr != nil {
			if (err == nil) != (copyErr == nil) {
				t.Fatalf("Parse says %v, SideBySide %v", err, copyErr)
			}
			return
		}
		if len(renamed.Functions) != len(lib.Functions) || renamed.Name != library.Name(lib.Name, version) {
			t.Fatalf("%+v became %+v in\n%s", lib, renamed, copied)
		}
		for i, name := range lib.Functions {
			if renamed.Functions[i] != library.Name(name, version) {
				t.Fatalf("%s became %s", name, renamed.Functions[i])
			}
		}
	})
}
