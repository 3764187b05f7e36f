package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/operate"
	"github.com/scriptproxy/scriptproxy/policy/registry"
	"github.com/scriptproxy/scriptproxy/policy/registry/filestore"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a console in front of a registry in memory with the script transfer, v1 and v2. It returns its address.
func start(t *testing.T, change func(*Options)) (string, *registry.Registry) {
	t.Helper()
	store, err := filestore.Open(filestore.Options{Instance: "here"})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := registry.New(context.Background(), registry.Options{
		Store: store,
		Prepare: func(_ context.Context, staged []registry.Staged) error {
			if bytes.Contains(staged[0].Version.Body, []byte("refused")) {
				return &registry.PrepareError{Node: "n1", Name: staged[0].Script, Version: staged[0].Version.ID, Err: errors.New("no\r\nwonder")}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = reg.Declare(context.Background(), []registry.Declared{
		{Name: "transfer", Active: "v1", Versions: []registry.DeclaredVersion{{ID: "v1", Body: []byte("return 1")}, {ID: "v2", Body: []byte("return 2")}}},
		{Name: "lock", Tags: []string{"locks"}, Versions: []registry.DeclaredVersion{{ID: "v1", Body: []byte("return 'lock'\n")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Version: "v1.2.3", Logger: slog.New(slog.DiscardHandler),
		Desk: &operate.Desk{
			Registry: reg,
			Changed:  func(context.Context, registry.Result) []string { return nil },
			Use: func(scripts []*registry.Script) [][]api.Use {
				out := make([][]api.Use, len(scripts))
				for i, s := range scripts {
					out[i] = make([]api.Use, len(s.Versions))
				}
				return out
			},
		},
	}
	if change != nil {
		change(&o)
	}
	s := New(o)
	addr, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if err := reg.Close(); err != nil {
			t.Error(err)
		}
	})
	return addr, reg
}

func dial(t *testing.T, addr string) *redisserver.Client {
	t.Helper()
	c, err := redisserver.DialClient(addr, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// want sends a command, given as words, and checks that the reply contains each of parts.
func want(t *testing.T, c *redisserver.Client, command string, parts ...string) {
	t.Helper()
	words := strings.Fields(command)
	args := make([]any, len(words))
	for i, w := range words {
		args[i] = strings.ReplaceAll(w, "_", " ")
	}
	v, err := c.Do(args...)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	text := fmt.Sprint(v)
	if list, ok := v.([]any); ok {
		text = ""
		for _, item := range list {
			text += fmt.Sprintln(item)
		}
	}
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s answers %q, which lacks %q", command, text, p)
		}
	}
}

func TestOperatorsSeeAndChangeScripts(t *testing.T) {
	addr, reg := start(t, nil)
	c := dial(t, addr)
	want(t, c, "SCRIPTS", "NAME      ACTIVE", "transfer  v1", "lock      v1")
	want(t, c, "scripts locks", "lock ")
	want(t, c, "SHOW transfer", "v1       active declared  "+registry.SHA([]byte("return 1")), "v2 ")
	want(t, c, "SHOW lock v1", "return 'lock'\n")
	want(t, c, "CLIENT SETNAME alice", "OK")
	want(t, c, "LOAD transfer * WHY for_tests return_3", "transfer load: v3, revision 2")
	want(t, c, "ACTIVATE transfer v2 WHY it_is_better", "transfer activate: v1 -> v2, revision 3")
	want(t, c, "ACTIVATE transfer v2", "unchanged at revision 3")
	want(t, c, "CANARY transfer v3 5% BY client", "transfer canary: v2 -> v3, 5 % by client, revision 4")
	want(t, c, "SCRIPTS", "v3 5%", "v1 (overridden)")
	want(t, c, "CANARY transfer ABORT", "transfer abort: v3 -> v2, revision 5")
	want(t, c, "CANARY transfer v3 50", "revision 6")
	want(t, c, "CANARY transfer PROMOTE", "transfer promote: v2 -> v3, revision 7")
	want(t, c, "ROLLBACK transfer", "transfer rollback: v3 -> v2, revision 8")
	want(t, c, "ROLLBACK transfer v1 WHY further_back", "transfer rollback: v2 -> v1, revision 9")
	want(t, c, "AUDIT 2", "REVISION  AT", "console alice", "rollback", "further back")
	want(t, c, "WAIT 9 100", "revision 9 is served by 1 proxies")
	want(t, c, "WAIT", "revision 9 is served by 1 proxies")
	if s := reg.Snapshot().Script("transfer"); s.Active != "v1" || s.ChangedBy != "console alice" {
		t.Errorf("%+v", s)
	}
}

func TestMistakesAreSaidAndChangeNothing(t *testing.T) {
	addr, reg := start(t, nil)
	c := dial(t, addr)
	for command, say := range map[string]string{
		"EXPLODE":                             "ERR unknown command 'EXPLODE'; HELP lists",
		"ACTIVATE transfer":                   "ERR wrong number of arguments; use: ACTIVATE name version",
		"ACTIVATE transfr v1":                 "NOTFOUND no script is named \"transfr\"; did you mean transfer?",
		"ACTIVATE transfer v9":                "NOTFOUND script transfer has no version \"v9\"; it has v2, v1",
		"ACTIVATE transfer v2 IF 99":          "CONFLICT script transfer: revision 99 was asked for",
		"ACTIVATE transfer v2 IF x":           "ERR IF x: give a revision",
		"ACTIVATE transfer v2 NOW":            "ERR \"NOW\" is not expected here",
		"ACTIVATE transfer v2 WHY":            "ERR WHY needs a value",
		"ROLLBACK transfer":                   "INVALID script transfer: there is no previous version",
		"CANARY transfer v2":                  "ERR the share is missing; use: CANARY",
		"CANARY transfer v2 much":             "ERR the share is \"much\"",
		"CANARY transfer v2 101":              "INVALID",
		"CANARY transfer PROMOTE":             "INVALID script transfer: no canary is running",
		"LOAD transfer * refused":             "NOTLOADED script transfer: v3 could not be loaded on node n1: no  wonder; nothing was changed",
		"LOAD transfer * CLASS reed return_3": "ERR class \"reed\"",
		"LOAD bad_name * return_3":            "INVALID script name \"bad name\"",
		"SHOW nothing":                        "NOTFOUND",
		"AUDIT x":                             "ERR the count",
		"WAIT x":                              "ERR the revision",
		"WAIT 1 x":                            "ERR the time",
		"WAIT 99 10":                          "TIMEOUT waiting for revision 99",
		"HELLO 3":                             "NOPROTO",
		"AUTH x":                              "ERR AUTH called, and the configuration has no admin.tokens",
		"CLIENT KILL":                         "ERR use: CLIENT",
		"COMMAND EXPLODE":                     "ERR unknown subcommand",
		"HELP EXPLODE":                        "ERR there is no command",
	} {
		want(t, c, command, say)
	}
	if r := reg.Snapshot().Revision; r != 1 {
		t.Errorf("the registry is at revision %d", r)
	}
}

func TestTokensSeparateReadersFromOperators(t *testing.T) {
	addr, _ := start(t, func(o *Options) { o.ReadToken, o.AdminToken = "reader", "operator" })
	c := dial(t, addr)
	want(t, c, "PING", "PONG")
	want(t, c, "HELP", "SCRIPTS [tag ...]")
	want(t, c, "SCRIPTS", "NOAUTH")
	want(t, c, "AUTH wrong", "WRONGPASS")
	want(t, c, "SCRIPTS", "NOAUTH")
	want(t, c, "AUTH reader", "OK")
	want(t, c, "SCRIPTS", "transfer")
	want(t, c, "ROLLBACK transfer", "NOPERM")
	want(t, c, "AUTH anybody operator", "OK")
	want(t, c, "ACTIVATE transfer v2", "revision 2")
	want(t, c, "AUTH reader", "OK")
	want(t, c, "ROLLBACK transfer", "revision 3")

	other := dial(t, addr)
	want(t, other, "HELLO 2 AUTH default operator SETNAME bob", "scriptproxy", "v1.2.3")
	want(t, other, "CLIENT GETNAME", "bob")
}

func TestWhatBreaksTheProtocolNeverReachesTheServer(t *testing.T) {
	addr, _ := start(t, nil)
	for what, c := range map[string]struct{ bytes, reply string }{
		"a bulk length that overflows":   {"*1\r\n$9223372036854775807\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
		"a number of arguments":          {"*9223372036854775807\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
		"a body above the bound":         {"*1\r\n$5000000\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
		"no command, then a good one":    {"*0\r\n\r\n*-1\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n", "+PONG\r\n+OK\r\n"},
		"a good one, then a bad one":     {"PING\r\n*1\r\n$-2\r\n", "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n"},
		"many commands of little things": {strings.Repeat("PING\r\n", 1000) + "QUIT\r\n", strings.Repeat("+PONG\r\n", 1000) + "+OK\r\n"},
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		for i := range len(c.bytes) { // one byte at a time for the short ones
			if len(c.bytes) > 100 {
				_, err = io.WriteString(conn, c.bytes)
			} else {
				_, err = io.WriteString(conn, c.bytes[i:i+1])
			}
			if err != nil || len(c.bytes) > 100 {
				break
			}
		}
		reply, err := io.ReadAll(conn)
		if string(reply) != c.reply {
			t.Errorf("%s: %q (%v), want %q", what, reply, err, c.reply)
		}
		_ = conn.Close()
	}
	want(t, dial(t, addr), "PING", "PONG")
}

func TestStrangersMaySendLittle(t *testing.T) {
	addr, _ := start(t, func(o *Options) { o.AdminToken = "operator" })
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "*2\r\n$4\r\nAUTH\r\n$100000\r\n"); err != nil {
		t.Fatal(err)
	}
	if reply, err := io.ReadAll(conn); err != nil || string(reply) != "-ERR Protocol error: unauthenticated bulk length\r\n" {
		t.Errorf("%q, %v", reply, err)
	}
}

func TestALargeScriptArrivesWhole(t *testing.T) {
	addr, reg := start(t, nil)
	body := "return '" + strings.Repeat("x", 900<<10) + "'"
	v, err := dial(t, addr).Do("LOAD", "large", "v1", body)
	if err != nil || !strings.Contains(fmt.Sprint(v), "large load: v1") {
		t.Fatalf("%v, %v", v, err)
	}
	if got := string(reg.Snapshot().Script("large").Versions[0].Body); got != body {
		t.Errorf("%d bytes arrived of %d", len(got), len(body))
	}
	if v, err := dial(t, addr).Do("LOAD", "larger", "v1", body+body); err != nil || !strings.Contains(fmt.Sprint(v), "at most 1048576 are allowed") {
		t.Errorf("%v, %v", v, err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	addr, _ := start(t, nil)
	for range maxConnections {
		want(t, dial(t, addr), "PING", "PONG")
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("connection %d got %d bytes", maxConnections+1, n)
	}
}

func TestRedisCLISpeaksToIt(t *testing.T) {
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Fatal("this test needs redis-cli in PATH: install redis-tools")
	}
	addr, _ := start(t, func(o *Options) { o.AdminToken = "operator" })
	_, port, _ := net.SplitHostPort(addr)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, cli, "-p", port, "-a", "operator", "--no-auth-warning", "-x", "LOAD", "transfer", "*")
	cmd.Stdin = strings.NewReader("return 'from a file'\n")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "transfer load: v3, revision 2\n" {
		t.Fatalf("%v, %q", err, out)
	}
	out, err := exec.CommandContext(ctx, cli, "-p", port, "-a", "operator", "--no-auth-warning", "SCRIPTS").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "NAME      ACTIVE  PREVIOUS") {
		t.Errorf("%v, %q", err, out)
	}
}
