//go:build linux

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// listed are the fields of the lines that CLIENT LIST gives, by the clients' names.
func listed(t *testing.T, reply string) map[string]map[string]string {
	t.Helper()
	_, text, found := strings.Cut(reply, "\r\n")
	if !found || !strings.HasPrefix(reply, "$") {
		t.Fatalf("CLIENT LIST: %q", reply)
	}
	all := map[string]map[string]string{}
	for line := range strings.Lines(strings.TrimSuffix(text, "\r\n")) {
		fields := map[string]string{}
		for _, field := range strings.Fields(line) {
			key, value, _ := strings.Cut(field, "=")
			fields[key] = value
		}
		all[fields["name"]] = fields
	}
	return all
}

// named is a client that has given itself a name.
func named(p *proxy, name string) *client {
	p.t.Helper()
	c := p.client()
	if got := c.Do("CLIENT", "SETNAME", name); got != ok {
		p.t.Fatal(got)
	}
	return c
}

func TestClientListSpeaksOfSessionsInRedissFormat(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("loops", 2))
	plain, subscriber, blocked, queuing := named(p, "plain"), named(p, "subscriber"), named(p, "blocked"), named(p, "queuing")
	subscriber.Do("SUBSCRIBE", "a", "b")
	subscriber.Reply()
	subscriber.Do("PSUBSCRIBE", "c*")
	blocked.Send(request("BLPOP", "list", "0"))
	queuing.Do("SELECT", "3")
	queuing.Do("MULTI")
	queuing.Do("SET", "k", "v")
	p.Eventually("block", func() error {
		if n := server.Info("clients")["blocked_clients"]; n != "1" {
			return fmt.Errorf("%s clients are blocked", n)
		}
		return nil
	})
	all := listed(t, plain.Do("CLIENT", "LIST"))
	for name, want := range map[string]map[string]string{
		"plain":      {"flags": "N", "db": "0", "sub": "0", "multi": "-1", "cmd": "client|list", "user": "default", "resp": "2", "redir": "-1"},
		"subscriber": {"flags": "P", "sub": "2", "psub": "1", "cmd": "psubscribe"},
		"blocked":    {"flags": "b", "cmd": "blpop"},
		"queuing":    {"flags": "x", "db": "3", "multi": "1", "cmd": "set"},
	} {
		for field, value := range want {
			if got := all[name][field]; got != value {
				t.Errorf("%s=%s of %s, want %s", field, got, name, value)
			}
		}
	}
	if got, want := all["plain"]["addr"], plain.Conn.LocalAddr().String(); got != want {
		t.Errorf("addr=%s, want %s", got, want)
	}
	if got, want := all["plain"]["laddr"], plain.Conn.RemoteAddr().String(); got != want {
		t.Errorf("laddr=%s, want %s", got, want)
	}
	if since(t, 7, 0) && !since(t, 7, 2) { // others have fields which the format of 7.2 does not
		wantTheServersFields(t, plain, direct(t, server))
	}
	ids := all["blocked"]["id"] + " " + all["queuing"]["id"]
	if since(t, 6, 2) {
		some := listed(t, plain.Do(append([]string{"CLIENT", "LIST", "ID"}, strings.Fields(ids)...)...))
		if len(some) != 2 || some["blocked"] == nil || some["queuing"] == nil {
			t.Errorf("LIST ID: %v", some)
		}
	}
	if some := listed(t, plain.Do("CLIENT", "LIST", "TYPE", "pubsub")); len(some) != 1 || some["subscriber"] == nil {
		t.Errorf("LIST TYPE pubsub: %v", some)
	}
}

// wantTheServersFields wants what the server says of a client to be there in the same order.
func wantTheServersFields(t *testing.T, plain, direct *client) {
	t.Helper()
	var fields []string
	for _, field := range strings.Fields(plain.Do("CLIENT", "INFO")) {
		if key, _, found := strings.Cut(field, "="); found {
			fields = append(fields, key)
		}
	}
	ours := " " + strings.Join(fields, " ") + " "
	at := 0
	for _, field := range strings.Fields(direct.Do("CLIENT", "INFO")) {
		key, _, found := strings.Cut(field, "=")
		if !found {
			continue
		}
		i := strings.Index(ours, " "+key+" ")
		if i < at {
			t.Errorf("the field %s is missing or out of order in %s", key, ours)
		}
		at = max(at, i)
	}
}

func TestClientKillClosesTheSessionsThatItDescribes(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	rule := []any{"ACL", "SETUSER"}
	for _, word := range strings.Fields("alice on >pw ~* " + allChannels(t) + "+@all") {
		rule = append(rule, word)
	}
	server.Do(rule...)
	p := startProxy(t, server, nil, set("loops", 3))
	killer, bystander := named(p, "killer"), named(p, "bystander")
	me := killer.Conn.LocalAddr().String()
	id := func(name string) string { return listed(t, killer.Do("CLIENT", "LIST"))[name]["id"] }
	for _, test := range []struct {
		name   string
		filter func(victim *client) []string
		reply  string
	}{
		{"ID", func(*client) []string { return []string{"ID", id("victim")} }, ":1\r\n"},
		{"ADDR", func(v *client) []string { return []string{"ADDR", v.Conn.LocalAddr().String()} }, ":1\r\n"},
		{"the old form", func(v *client) []string { return []string{v.Conn.LocalAddr().String()} }, ok},
		{"USER", func(*client) []string { return []string{"USER", "alice"} }, ":1\r\n"},
		{"TYPE", func(v *client) []string { v.Do("SUBSCRIBE", "news"); return []string{"TYPE", "pubsub"} }, ":1\r\n"},
		{"several at once", func(v *client) []string {
			return []string{"USER", "alice", "ADDR", v.Conn.LocalAddr().String(), "LADDR", v.Conn.RemoteAddr().String(), "ID", id("victim")}
		}, ":1\r\n"},
	} {
		if test.name == "several at once" && !since(t, 6, 2) {
			continue // LADDR is newer
		}
		victim := named(p, "victim")
		if got := victim.Do("AUTH", "alice", "pw"); got != ok {
			t.Fatal(got)
		}
		if got := killer.Do(append([]string{"CLIENT", "KILL"}, test.filter(victim)...)...); got != test.reply {
			t.Errorf("%s: %q, want %q", test.name, got, test.reply)
			continue
		}
		victim.Gone()
	}
	for _, nobody := range [][]string{{"ID", "999999"}, {"ADDR", "192.0.2.1:1"}, {"USER", "alice"}, {"USER", "alice", "ADDR", me}} {
		if got := killer.Do(append([]string{"CLIENT", "KILL"}, nobody...)...); got != ":0\r\n" {
			t.Errorf("%q: %q", nobody, got)
		}
	}
	if got := killer.Do("CLIENT", "KILL", "192.0.2.1:1"); got != "-ERR No such client\r\n" {
		t.Errorf("the old form, of nobody: %q", got)
	}
	// A victim whose command blocks takes nothing afterwards.
	blocked := named(p, "blocked")
	blocked.Send(request("BLPOP", "list", "0"))
	p.Eventually("block", func() error {
		if n := server.Info("clients")["blocked_clients"]; n != "1" {
			return fmt.Errorf("%s clients are blocked", n)
		}
		return nil
	})
	if got := killer.Do("CLIENT", "KILL", "ID", id("blocked")); got != ":1\r\n" {
		t.Errorf("a blocked client: %q", got)
	}
	blocked.Gone()
	p.Eventually("leave", func() error {
		if n := server.Info("clients")["blocked_clients"]; n != "0" {
			return fmt.Errorf("%s clients are blocked", n)
		}
		return nil
	})
	// SKIPME is yes unless said otherwise: the killer stays, all others of its listener go.
	_, port, err := net.SplitHostPort(p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"LADDR", "127.0.0.1:" + port}
	if !since(t, 6, 2) {
		all = []string{"TYPE", "normal"}
	}
	if got := killer.Do(append([]string{"CLIENT", "KILL"}, all...)...); got != ":1\r\n" {
		t.Errorf("%s: %q", all[0], got)
	}
	bystander.Gone()
	if got := killer.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"); got != ":1\r\n" {
		t.Errorf("SKIPME no: %q", got)
	}
	killer.Gone()
}

func TestClientUnblockReachesTheBlockedSession(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("loops", 3))
	caller := p.client()
	for round := range 6 {
		blocked, other := p.client(), p.client()
		id := strings.TrimSuffix(strings.TrimPrefix(blocked.Do("CLIENT", "ID"), ":"), "\r\n")
		blocked.Send(request("BLPOP", "list", "0"))
		other.Send(request("BLPOP", "list", "0"))
		p.Eventually("block", func() error {
			if n := server.Info("clients")["blocked_clients"]; n != "2" {
				return fmt.Errorf("%s clients are blocked", n)
			}
			return nil
		})
		call, want := []string{"CLIENT", "UNBLOCK", id}, "*-1\r\n"
		if round%2 == 1 {
			call, want = append(call, "ERROR"), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
		}
		if got := caller.Do(call...); got != ":1\r\n" {
			t.Fatalf("round %d: %q", round, got)
		}
		blocked.Want(want)
		if got := caller.Do(call...); got != ":0\r\n" {
			t.Errorf("of a client that does not block: %q", got)
		}
		caller.Do("RPUSH", "list", "x") // wakes the other, which still blocks
		other.Want("*2\r\n" + bulk("list") + bulk("x"))
	}
}
