package demo

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/policy/lua"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// onEach runs a test on a real server and on the embedded one.
func onEach(t *testing.T, test func(t *testing.T, call func(script string, args ...any) any, client *redisserver.Client)) {
	for _, kind := range []string{"redis-server", "embedded"} {
		t.Run(kind, func(t *testing.T) {
			client := dial(t, start(t, kind).Primary())
			call := func(script string, args ...any) any {
				t.Helper()
				body, err := Scripts.ReadFile("scripts/" + script + ".lua")
				if err != nil {
					t.Fatal(err)
				}
				reply, err := client.Do(append([]any{"EVAL", body}, args...)...)
				if err != nil {
					t.Fatal(err)
				}
				return reply
			}
			test(t, call, client)
		})
	}
}

func expect(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func do(t *testing.T, c *redisserver.Client, args ...any) any {
	t.Helper()
	reply, err := c.Do(args...)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestTransferConservesMoney(t *testing.T) {
	onEach(t, func(t *testing.T, call func(string, ...any) any, client *redisserver.Client) {
		for _, script := range []string{"transfer/v1", "transfer/v2"} {
			do(t, client, "MSET", "a", 100, "b", 5, "text", "x")
			do(t, client, "RPUSH", "list", "x")
			expect(t, call(script, 2, "a", "b", 30), []any{int64(70), int64(35)})
			expect(t, call(script, 2, "a", "new-"+script, 70), []any{int64(0), int64(70)})
			for _, refused := range [][]any{
				{2, "b", "a", 36}, {2, "b", "b", 1}, {2, "b", "a", 0}, {2, "b", "a", -5}, {2, "b", "a", "1.5"},
				{2, "b", "a", "x"}, {2, "b", "text", 1}, {2, "text", "b", 1}, {2, "b", "list", 1}, {2, "none", "a", 1},
			} {
				if reply, ok := call(script, refused...).(redisserver.Error); !ok {
					t.Errorf("%s %v was answered %v", script, refused, reply)
				}
			}
			expect(t, do(t, client, "MGET", "a", "b", "text"), []any{"0", "35", "x"})
			do(t, client, "DEL", "list")
		}
	})
}

func TestTransferWithATokenIsMadeOnce(t *testing.T) {
	onEach(t, func(t *testing.T, call func(string, ...any) any, client *redisserver.Client) {
		do(t, client, "MSET", "a", 100, "b", 0)
		for range 3 {
			expect(t, call("transfer/v2", 3, "a", "b", "token:1", 40), []any{int64(60), int64(40)})
		}
		expect(t, call("transfer/v2", 3, "a", "b", "token:2", 40), []any{int64(20), int64(80)})
		if ttl := do(t, client, "TTL", "token:1").(int64); ttl < 86000 || ttl > 86400 {
			t.Errorf("the token lives for %d s", ttl)
		}
		// A refused transfer does not use the token up.
		expect(t, call("transfer/v2", 3, "a", "b", "token:3", 21), redisserver.Error("INSUFFICIENT the balance is 20"))
		expect(t, call("transfer/v2", 3, "a", "b", "token:3", 20), []any{int64(0), int64(100)})
	})
}

func TestLockBelongsToItsToken(t *testing.T) {
	onEach(t, func(t *testing.T, call func(string, ...any) any, client *redisserver.Client) {
		expect(t, call("lock-acquire/v1", 1, "l", "mine", 60000), int64(1))
		expect(t, call("lock-acquire/v1", 1, "l", "yours", 60000), int64(0))
		expect(t, call("lock-renew/v1", 1, "l", "yours", 90000), int64(0))
		expect(t, call("lock-release/v1", 1, "l", "yours"), int64(0))
		expect(t, call("lock-renew/v1", 1, "l", "mine", 90000), int64(1))
		if ttl := do(t, client, "PTTL", "l").(int64); ttl < 60001 || ttl > 90000 {
			t.Errorf("the renewed lock lives for %d ms", ttl)
		}
		expect(t, call("lock-release/v1", 1, "l", "mine"), int64(1))
		expect(t, call("lock-release/v1", 1, "l", "mine"), int64(0))
		expect(t, call("lock-acquire/v1", 1, "l", "yours", 60000), int64(1))
	})
}

func TestRateLimitAllowsSoManyCallsInAWindow(t *testing.T) {
	onEach(t, func(t *testing.T, call func(string, ...any) any, client *redisserver.Client) {
		for left := int64(2); left >= 0; left-- {
			expect(t, call("rate-limit/v1", 1, "r", 3, 60000), []any{int64(1), left})
		}
		refused := call("rate-limit/v1", 1, "r", 3, 60000).([]any)
		if wait := refused[1].(int64); refused[0] != int64(0) || wait < 1 || wait > 60000 {
			t.Errorf("the fourth call was answered %v", refused)
		}
		expect(t, call("rate-limit/v1", 1, "short", 1, 1), []any{int64(1), int64(0)})
		time.Sleep(20 * time.Millisecond)
		expect(t, call("rate-limit/v1", 1, "short", 1, 1), []any{int64(1), int64(0)})
	})
}

func TestSampleScriptsAreSound(t *testing.T) {
	want := map[string]lua.Class{
		"transfer/v1": lua.Write, "transfer/v2": lua.Write, "lock-acquire/v1": lua.Write, "lock-renew/v1": lua.Write,
		"lock-release/v1": lua.Write, "rate-limit/v1": lua.Write, "slow/v1": lua.Read,
	}
	for script, class := range want {
		body, err := Scripts.ReadFile("scripts/" + script + ".lua")
		if err != nil {
			t.Fatal(err)
		}
		a := lua.Analyse(body, lua.Options{Name: script})
		if !a.Analysed || a.Class != class {
			t.Errorf("%s: analysed %v (%s), class %s", script, a.Analysed, a.Why, a.Class)
		}
		for _, f := range a.Findings {
			if f.Level != lua.Note {
				t.Errorf("%s:%d: %s: %s (%s)", script, f.Line, f.Level, f.Message, f.Rule)
			}
		}
	}
}

func TestTourNamesOnlyScriptsThatExist(t *testing.T) {
	for _, step := range Steps(Places{Proxy: "1", Admin: "2", Primary: "3", Replica: "4"}) {
		for _, command := range step.Commands {
			_, call, ok := strings.Cut(command, " EVALSHA ")
			if !ok {
				continue
			}
			name, version, _ := strings.Cut(strings.Fields(call)[0], "@")
			if version == "" {
				version = "v1"
			}
			if _, err := Scripts.ReadFile(fmt.Sprintf("scripts/%s/%s.lua", name, version)); err != nil {
				t.Errorf("%q: %v", command, err)
			}
		}
	}
}
