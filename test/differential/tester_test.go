package differential

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func TestSequencesSurviveTheirNotation(t *testing.T) {
	g := Generator{Seed: 5, Commands: 2000, Large: 50, Users: true, Password: "pass word", Dumps: []string{"\x00\x01\n\"`"}}
	s := g.Sequence(1)
	text := s.String()
	parsed, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if again := parsed.String(); again != text {
		t.Fatalf("the notation changed:\n%s", firstDifference(text, again))
	}
	var a, b []byte
	for i := range s {
		for j := range s[i].Cmds {
			a = s[i].Cmds[j].append(a)
			b = parsed[i].Cmds[j].append(b)
		}
	}
	if !bytes.Equal(a, b) {
		t.Fatal("the bytes sent changed")
	}
}

func firstDifference(a, b string) string {
	al, bl := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(al), len(bl)) {
		if al[i] != bl[i] {
			return al[i] + "\n" + bl[i]
		}
	}
	return "in length"
}

func TestMalformedNotationIsRefused(t *testing.T) {
	for _, text := range []string{"GET a", "a? GET", "a+ GET k", `a: "unclosed`, "a~ GET k", "a%x GET k", "a: @x"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func TestASeedMakesTheSameSequences(t *testing.T) {
	g := Generator{Seed: 9, Commands: 500}
	first, again, other := g.Sequence(3).String(), g.Sequence(3).String(), g.Sequence(4).String()
	if first != again {
		t.Error("the same number made two sequences")
	}
	if first == other {
		t.Error("two numbers made the same sequence")
	}
}

func TestEveryCommandOfTheTableIsGenerated(t *testing.T) {
	made := make(map[string]bool)
	for seed := range uint64(40) {
		g := Generator{Seed: seed, Commands: 3000, Users: true}
		for _, step := range g.Sequence(seed) {
			for _, c := range step.Cmds {
				made[c.Name()] = true
			}
		}
	}
	for c := range command.Embedded().All() {
		name := c.Name
		if strings.Contains(name, "|") {
			continue
		}
		if !made[name] {
			t.Errorf("%s is not generated", name)
		}
	}
}

func TestReplyParsingIsTheSameWhereverTheInputIsCut(t *testing.T) {
	for _, whole := range []string{
		"+OK\r\n", "-ERR x\r\n", ":-12\r\n", "$5\r\nhello\r\n", "$-1\r\n", "$0\r\n\r\n", "*-1\r\n", "*0\r\n", "_\r\n", "#t\r\n", ",1.5\r\n",
		"(123\r\n", "=7\r\ntxt:abc\r\n", "!3\r\nERR\r\n", "*2\r\n$1\r\na\r\n*1\r\n:1\r\n", "%1\r\n+k\r\n~1\r\n:1\r\n", ">2\r\n+a\r\n+b\r\n",
		"|1\r\n+a\r\n+b\r\n:1\r\n", "*2\r\n+a\r\n>1\r\n+push\r\n+b\r\n",
	} {
		for cut := range len(whole) {
			if _, need, err := parseReply([]byte(whole[:cut]), 0); err != errIncomplete || need <= cut || need > len(whole) {
				t.Errorf("%q cut at %d: needs %d, %v", whole, cut, need, err)
			}
		}
		r, n, err := parseReply([]byte(whole+"+next\r\n"), 0)
		if err != nil || n != len(whole) || string(r.raw) != whole {
			t.Errorf("%q: length %d, %v", whole, n, err)
		}
	}
	for _, bad := range []string{"hello\r\n", "+OK\n", "$x\r\n", "$-2\r\n", "$1\r\nabc\r\n", "*1\r\n?\r\n"} {
		if _, _, err := parseReply([]byte(bad), 0); err == nil || err == errIncomplete {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAllowedDifferencesAreNoWiderThanTheyMustBe(t *testing.T) {
	for _, c := range []struct {
		command, direct, proxied string
		same                     bool
	}{
		{"GET k", "$1\r\na\r\n", "$1\r\nb\r\n", false},
		{"SMEMBERS k", "*2\r\n+a\r\n+b\r\n", "*2\r\n+b\r\n+a\r\n", true},
		{"SMEMBERS k", "*2\r\n+a\r\n+b\r\n", "*2\r\n+a\r\n+a\r\n", false},
		{"SMEMBERS k", "*1\r\n+a\r\n", "~1\r\n+a\r\n", false},
		{"SMEMBERS k", "-ERR a\r\n", "-ERR b\r\n", false},
		{"HGETALL k", "*4\r\n+a\r\n+1\r\n+b\r\n+2\r\n", "*4\r\n+b\r\n+2\r\n+a\r\n+1\r\n", true},
		{"HGETALL k", "*4\r\n+a\r\n+1\r\n+b\r\n+2\r\n", "*4\r\n+a\r\n+2\r\n+b\r\n+1\r\n", false},
		{"TTL k", ":100\r\n", ":99\r\n", true},
		{"TTL k", ":100\r\n", ":90\r\n", false},
		{"TTL k", ":-1\r\n", ":-2\r\n", false},
		{"TTL k", ":1\r\n", ":-1\r\n", false},
		{"CLIENT ID", ":4\r\n", ":5\r\n", true},
		{"CLIENT ID", ":4\r\n", "$1\r\n4\r\n", false},
		{"SCAN 0", "*2\r\n$1\r\n0\r\n*2\r\n+a\r\n+b\r\n", "*2\r\n$1\r\n0\r\n*2\r\n+b\r\n+a\r\n", true},
		{"SCAN 0", "*2\r\n$1\r\n0\r\n*1\r\n+a\r\n", "*2\r\n$1\r\n0\r\n*1\r\n+b\r\n", false},
		{"HELLO", "*4\r\n+id\r\n:1\r\n+mode\r\n+x\r\n", "*4\r\n+id\r\n:2\r\n+mode\r\n+x\r\n", true},
		{"HELLO", "*4\r\n+id\r\n:1\r\n+mode\r\n+x\r\n", "*4\r\n+id\r\n:1\r\n+mode\r\n+y\r\n", false},
		{"XPENDING k g - + 1", "*3\r\n+a\r\n:7\r\n:1\r\n", "*3\r\n+a\r\n:9\r\n:1\r\n", true},
		{"XPENDING k g - + 1", "*3\r\n+a\r\n:7\r\n:1\r\n", "*3\r\n+b\r\n:7\r\n:1\r\n", false},
	} {
		cmd := command1(c.command)
		d, _, err := parseReply([]byte(c.direct), 0)
		p, _, err2 := parseReply([]byte(c.proxied), 0)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if what := compare(&cmd, nil, d, p); (what == "") != c.same {
			t.Errorf("%s: %q and %q: %q", c.command, c.direct, c.proxied, what)
		}
	}
}

func command1(line string) Command { return Command{Args: strings.Fields(line)} }

func TestShrinkingKeepsWhatFails(t *testing.T) {
	g := Generator{Seed: 2, Commands: 400}
	s := g.Sequence(0)
	s = append(s, Step{Conn: 1, Cmds: []Command{words("MULTI"), words("PING"), words("BAD", "one")}}, Step{Conn: 2, Cmds: []Command{words("BAD", "two")}})
	s = append(s, g.Sequence(1)...)
	fails := func(s Sequence) bool {
		text := s.String()
		return strings.Contains(text, "BAD one") && strings.Contains(text, "BAD two")
	}
	if got, want := Shrink(s, time.Minute, fails).String(), "b: BAD one\nc: BAD two\n"; got != want {
		t.Errorf("shrunk to:\n%swant:\n%s", got, want)
	}
}

// relay passes everything on between clients and a server. With it in the proxy's place the tester must see no
// difference, and with a fault in it one.
type relay struct {
	server string
	// request and reply change what passes; nil passes it as it is.
	request, reply func([]byte) []byte
}

func (r *relay) start(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", r.server)
			if err != nil {
				client.Close()
				return
			}
			go pass(server, client, r.request)
			go pass(client, server, r.reply)
		}
	}()
	return ln.Addr().String()
}

func pass(to, from net.Conn, change func([]byte) []byte) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		b := buf[:n]
		if change != nil {
			b = change(b)
		}
		if _, werr := to.Write(b); werr != nil || err == io.EOF || err != nil {
			return
		}
	}
}

func relayPair(t *testing.T, request, reply func([]byte) []byte) *Pair {
	t.Helper()
	opts := []redisserver.Option{redisserver.Args("enable-debug-command", "local", "slowlog-log-slower-than", "-1",
		"set-max-intset-entries", "100000", "hash-max-listpack-entries", "100000", "hash-max-listpack-value", "100000")}
	direct, behind := redisserver.Start(t, opts...), redisserver.Start(t, opts...)
	r := &relay{server: behind.Addr(), request: request, reply: reply}
	p := &Pair{
		Direct:  &Side{Addr: direct.Addr(), Server: direct.Process},
		Proxied: &Side{Addr: r.start(t), Server: behind.Process},
		Timeout: 2 * time.Second,
	}
	if err := p.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestARelayThatChangesNothingShowsNoDifference(t *testing.T) {
	p := relayPair(t, nil, nil)
	g := Generator{Seed: 77, Commands: 300, Users: true}
	for number := range uint64(4) {
		if err := p.Run(g.Sequence(number)); err != nil {
			t.Fatalf("sequence %d: %v", number, err)
		}
	}
}

func TestFaultsAreFound(t *testing.T) {
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(old), []byte(new)) }
	}
	const sequence = `
		a: SET k marked
		a: GET k
		a+ ECHO after
		b: SUBSCRIBE ch
		a: PUBLISH ch news
		c: BLPOP list 0
		a: RPUSH list x
		a: INCR n`
	for _, f := range []struct {
		name           string
		request, reply func([]byte) []byte
		says           string
	}{
		{name: "a changed reply", reply: replace("marked", "mArked"), says: "the replies differ"},
		{name: "a reply that is lost", reply: replace("$5\r\nafter\r\n", ""), says: "no reply through the proxy"},
		{name: "a reply too many", reply: replace("$5\r\nafter\r\n", "$5\r\nafter\r\n+OK\r\n"), says: "the replies differ"},
		{name: "a reply that is none", reply: replace("$5\r\nafter", "?5\r\nafter"), says: "unknown type"},
		{name: "a write that runs twice", request: func(b []byte) []byte {
			incr := "*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
			return bytes.ReplaceAll(b, []byte(incr), []byte("*2\r\n$4\r\nINCR\r\n$1\r\nm\r\n"))
		}, says: "the servers' data differ"},
		{name: "a message that is lost", reply: func(b []byte) []byte {
			if bytes.Contains(b, []byte("message")) {
				return nil
			}
			return b
		}, says: "1 messages from the direct server, 0 through the proxy"},
		{name: "a blocked client that is not", request: replace("$5\r\nBLPOP\r\n$4\r\nlist\r\n$1\r\n0\r\n", "$5\r\nBLPOP\r\n$4\r\nlist\r\n$1\r\nx\r\n"), says: "blocked"},
	} {
		t.Run(f.name, func(t *testing.T) {
			s, err := Parse(sequence)
			if err != nil {
				t.Fatal(err)
			}
			err = relayPair(t, f.request, f.reply).Run(s)
			var d *Difference
			if !errors.As(err, &d) || !strings.Contains(d.Error(), f.says) {
				t.Fatalf("found %v, want a difference that says %q", err, f.says)
			}
		})
	}
}

func TestNamesOfRegressionsAreDistinct(t *testing.T) {
	var names []string
	for _, r := range regressions {
		if slices.Contains(names, r.name) {
			t.Errorf("%q is there twice", r.name)
		}
		names = append(names, r.name)
	}
}
