package differential

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Generator makes sequences.
type Generator struct {
	Seed uint64
	// Commands is how long a sequence is, about.
	Commands int
	// Large is how often in percent a long text is larger than 20 kB.
	Large int
	// Users adds ACL users, AUTH, and commands that they may not use.
	Users bool
	// Password is the default user's, for servers that ask for it.
	Password string
	// Dumps and FunctionDump are what the server's DUMP and FUNCTION DUMP give, for RESTORE.
	Dumps        []string
	FunctionDump string
}

// connections is how many connections a sequence has at most at a time.
const connections = 4

// Sequence makes the sequence with a number. The same Generator makes the same every time.
func (o Generator) Sequence(number uint64) Sequence {
	g := &generator{Generator: o, r: rand.New(rand.NewPCG(o.Seed, number)), swaps: number%2 == 0}
	var s Sequence
	for s.Commands() < o.Commands {
		s = append(s, g.step()...)
	}
	return s
}

// generator is at work on one sequence. What it believes of the connections only makes what it generates more useful: no
// command is wrong in any state.
type generator struct {
	Generator
	r        *rand.Rand
	conns    [connections]belief
	streamID int
	swaps    bool // SWAPDB comes in the sequence; see blocking
}

// belief is what a connection's state probably is.
type belief struct {
	open, multi, resp3 bool
	anonymous          bool // where the server asks for a password
	tracked            bool // ever, also before RESET
	subs               int
	blocked            int // for so many more steps
}

var parsed, totalWeight = parseTemplates()

type weighted struct {
	upTo int
	seq  []node
}

func parseTemplates() (all []weighted, total int) {
	for _, group := range templates {
		for line := range strings.Lines(group.lines) {
			if line = strings.TrimSpace(line); line != "" {
				total += group.weight
				all = append(all, weighted{total, parseTemplate(line)})
			}
		}
	}
	return all, total
}

func (g *generator) fromTemplate() []string {
	at := g.r.IntN(totalWeight)
	for i := range parsed {
		if at < parsed[i].upTo {
			return g.expand(parsed[i].seq, nil)
		}
	}
	panic("unreachable")
}

func (g *generator) from(templates []string) []string {
	return g.expand(parseTemplate(templates[g.r.IntN(len(templates))]), nil)
}

// chance is true in n of a hundred cases.
func (g *generator) chance(n int) bool { return g.r.IntN(100) < n }

// step makes the next step, or a few that belong together.
func (g *generator) step() []Step {
	i := g.r.IntN(connections)
	b := &g.conns[i]
	if !b.open {
		*b = g.opened()
	}
	if b.anonymous {
		return []Step{g.strange(i)}
	}
	if b.blocked > 0 {
		b.blocked--
		switch {
		case g.chance(10):
			*b = belief{}
			return []Step{{Conn: i, Close: true}}
		case g.chance(10):
			return []Step{{Conn: i, Cmds: []Command{words("ECHO", g.text())}}}
		}
		return g.wake(i)
	}
	switch n := g.r.IntN(100); {
	case n < 5 && !b.multi && (b.subs == 0 || b.resp3):
		return g.block(i)
	case n < 6:
		*b = belief{}
		return []Step{{Conn: i, Close: true}}
	case n < 7 && g.chance(50):
		return g.breakProtocol(i)
	case n < 8 && g.Password != "":
		*b = g.wasReset(b)
		return []Step{{Conn: i, Cmds: []Command{words("RESET")}}}
	}
	return []Step{g.pipeline(i)}
}

// opened is a new connection.
func (g *generator) opened() belief { return belief{open: true, anonymous: g.Password != ""} }

// wasReset is a connection that said RESET.
func (g *generator) wasReset(b *belief) belief {
	return belief{open: true, anonymous: g.Password != "", tracked: b.tracked}
}

// strange makes a step of a connection that has not said AUTH where it must. It is short: a server may close such a connection
// that has more than 1 kB of replies waiting, and when they are waiting is a matter of chance.
func (g *generator) strange(i int) Step {
	if g.chance(70) {
		g.conns[i].anonymous = false
		return Step{Conn: i, Cmds: []Command{words("AUTH", g.Password)}}
	}
	s := Step{Conn: i, Cmds: []Command{g.plain()}}
	if g.chance(30) {
		s.Cmds = append(s.Cmds, g.hello(&belief{anonymous: true}), words(g.pick("MULTI", "EXEC", "RESET", "SUBSCRIBE", "QUIT"), "x")) // all of which are wrong
	}
	return s
}

// block makes a connection wait, perhaps, with something behind that no other connection sees.
func (g *generator) block(i int) []Step {
	s := Step{Conn: i}
	for g.chance(30) {
		s.Cmds = append(s.Cmds, g.plain())
	}
	s.Cmds = append(s.Cmds, Command{Args: g.blocking()})
	for g.chance(30) {
		s.Cmds = append(s.Cmds, words(g.pick("ECHO", "PING"), g.text()))
	}
	g.conns[i].blocked = 4
	return []Step{s}
}

// blocking makes a command that waits. SWAPDB makes keys ready in the order of a hash table, which shows where one client waits for
// several; so a sequence has the one or the other.
func (g *generator) blocking() []string {
	if g.swaps {
		return g.from(blockingOnOne)
	}
	return g.from(blockingTemplates)
}

// wake has another connection do what a blocked one may wait for.
func (g *generator) wake(blocked int) []Step {
	i := (blocked + 1 + g.r.IntN(connections-1)) % connections
	b := &g.conns[i]
	if b.blocked > 0 || b.multi || b.subs > 0 {
		return nil
	}
	if !b.open || b.anonymous {
		return nil
	}
	s := Step{Conn: i}
	for range 1 + g.r.IntN(3) {
		s.Cmds = append(s.Cmds, Command{Args: g.from(wakingTemplates)})
		if g.swaps && g.chance(5) {
			s.Cmds = append(s.Cmds, words("SWAPDB", "0", "1"))
		}
		if g.chance(30) {
			s.Cmds = append(s.Cmds, g.plain())
		}
	}
	return []Step{s}
}

// breakProtocol sends what ends the connection.
func (g *generator) breakProtocol(i int) []Step {
	s := Step{Conn: i}
	for g.chance(50) {
		s.Cmds = append(s.Cmds, g.plain())
	}
	raw := g.pick("*abc\r\n", "*1\r\n:1\r\n", "*1\r\n$-5\r\n", "*2\r\n$3\r\nGET\r\n$abc\r\n", "SET \"unbalanced\r\n", "*2147483648\r\n",
		"*1\r\n$536870913\r\n", "GET 'a'b\r\n", "*9223372036854775808\r\n")
	s.Cmds = append(s.Cmds, Command{Raw: raw, Args: strings.Fields(raw)})
	g.conns[i] = belief{}
	return []Step{s}
}

// pipeline makes a step of some commands.
func (g *generator) pipeline(i int) Step {
	n := 1
	switch k := g.r.IntN(1000); {
	case k < 300:
	case k < 990:
		n = 2 + g.r.IntN(24)
	case k < 999:
		n = 50 + g.r.IntN(200)
	default:
		n = 1500
	}
	s := Step{Conn: i}
	for len(s.Cmds) < n && g.conns[i].open && !g.conns[i].anonymous {
		s.Cmds = append(s.Cmds, g.fragment(&g.conns[i])...)
	}
	if g.chance(3) {
		s.Pieces = 2 + g.r.IntN(4)
	}
	return s
}

// fragment makes a command, or some that belong together.
func (g *generator) fragment(b *belief) []Command {
	if b.multi {
		return g.inMulti(b)
	}
	if b.subs > 0 && !b.resp3 {
		return g.inSubscriber(b)
	}
	switch n := g.r.IntN(1000); {
	case n < 30:
		return g.transaction(b)
	case n < 45:
		return []Command{words("SELECT", g.pick("0", "0", "0", "1", "2", "3", "15", "16", "-1", "x", "99999999999"))}
	case n < 55:
		return []Command{g.hello(b)}
	case n < 65:
		return []Command{g.subscribe(b)}
	case n < 72:
		return []Command{words(g.pick("EXEC", "DISCARD", "UNWATCH", "WATCH"))}
	case n < 78:
		return []Command{words("WATCH", g.value("k"))}
	case n < 81:
		return g.reset(b)
	case n < 82:
		*b = belief{}
		return []Command{words("QUIT")}
	case n < 92 && g.Users:
		return g.users()
	case n < 95:
		return []Command{g.unsubscribe(b)}
	case n < 105:
		return g.muted()
	case n < 112 && b.resp3:
		return g.tracking(b)
	case n < 135:
		return []Command{inline(g.plain())}
	case n < 138:
		raw := g.pick("\r\n", "*0\r\n", "*-1\r\n")
		return []Command{{Raw: raw}}
	}
	return []Command{g.plain()}
}

// reset makes a RESET. Where it takes the user away it comes alone, in strange's steps, for the reason given there.
func (g *generator) reset(b *belief) []Command {
	if g.Password != "" {
		return []Command{g.plain()}
	}
	*b = g.wasReset(b)
	return []Command{words("RESET")}
}

// muted makes commands that are not answered, and one that is, by which their end is seen.
func (g *generator) muted() []Command {
	if g.chance(50) {
		return []Command{words("CLIENT", "REPLY", "SKIP"), g.plain(), words("ECHO", g.text())}
	}
	all := []Command{words("CLIENT", "REPLY", "OFF")}
	for g.chance(75) {
		all = append(all, g.plain())
	}
	return append(all, words("CLIENT", "REPLY", "ON"))
}

// tracking makes use of client-side caching, whose invalidations come as pushes. Not BCAST, which gathers them for as
// long as an iteration of the server's loop happens to last; and once for a connection: a server that was told to stop
// does not forget what the connection read, and goes on with it when it is told to begin again.
func (g *generator) tracking(b *belief) []Command {
	switch n := g.r.IntN(5); {
	case n == 0:
		return []Command{words("CLIENT", "TRACKING", "OFF")}
	case n == 1 || b.tracked:
		caching := words("CLIENT", "CACHING", g.pick("YES", "NO"))
		if g.chance(40) {
			return append([]Command{caching}, g.transaction(b)...)
		}
		return []Command{caching, g.plain()}
	}
	b.tracked = true
	switch g.r.IntN(3) {
	case 0:
		return []Command{words("CLIENT", "TRACKING", "ON", g.pick("OPTIN", "OPTOUT")), words("CLIENT", "CACHING", g.pick("YES", "NO")), g.plain()}
	case 1:
		return []Command{words("CLIENT", "TRACKING", "ON", "NOLOOP"), g.plain()}
	}
	return []Command{words("CLIENT", "TRACKING", "ON")}
}

// transaction makes a whole one, or leaves it open.
func (g *generator) transaction(b *belief) []Command {
	var all []Command
	if g.chance(40) {
		all = append(all, words("WATCH", g.value("k")))
		if g.chance(20) {
			all = append(all, words("UNWATCH"))
		}
		for g.chance(30) {
			all = append(all, g.plain())
		}
	}
	all = append(all, words("MULTI"))
	b.multi = true
	if g.chance(20) {
		return all
	}
	for b.multi {
		all = append(all, g.inMulti(b)...)
	}
	return all
}

func (g *generator) inMulti(b *belief) []Command {
	switch n := g.r.IntN(100); {
	case n < 18:
		b.multi = false
		return []Command{words("EXEC")}
	case n < 22:
		b.multi = false
		return []Command{words("DISCARD")}
	case n < 23:
		return []Command{words("MULTI")}
	case n < 24:
		return []Command{words("WATCH", g.value("k"))}
	case n < 26:
		return []Command{words("SELECT", g.pick("0", "1", "2", "16", "x"))}
	case n < 27:
		return []Command{g.hello(b)}
	case n < 29:
		return []Command{{Args: g.blocking()}}
	case n == 29 && g.chance(20):
		return g.reset(b)
	}
	return []Command{g.plain()}
}

func (g *generator) hello(b *belief) Command {
	name, resp3 := "HELLO", b.resp3
	args := []string{name}
	switch g.r.IntN(10) {
	case 0:
	case 1:
		args = append(args, g.pick("4", "x", "1", "0"))
	default:
		resp3 = g.chance(60)
		args = append(args, map[bool]string{false: "2", true: "3"}[resp3])
		// Redis before 7.2 sets the name before it finds that something else is wrong.
		if g.chance(20) && !b.anonymous {
			args = append(args, "SETNAME", g.value("name"))
		} else if g.chance(5) {
			args = append(args, g.pick("NONSENSE", "SETNAME", "AUTH"))
		}
	}
	b.resp3 = resp3
	return Command{Args: args}
}

func (g *generator) subscribe(b *belief) Command {
	b.subs++
	args := []string{g.pick("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE")}
	for range 1 + g.r.IntN(3) {
		if args[0] == "PSUBSCRIBE" {
			args = append(args, g.value("chpat"))
		} else {
			args = append(args, g.value("ch"))
		}
	}
	return Command{Args: args}
}

func (g *generator) unsubscribe(b *belief) Command {
	args := []string{g.pick("UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE")}
	for g.chance(40) {
		args = append(args, g.value("ch"))
	}
	b.subs = max(0, b.subs-1)
	return Command{Args: args}
}

// inSubscriber is for RESP2 connections that take little else than SUBSCRIBE.
func (g *generator) inSubscriber(b *belief) []Command {
	switch n := g.r.IntN(100); {
	case n < 25:
		return []Command{g.subscribe(b)}
	case n < 55:
		return []Command{g.unsubscribe(b)}
	case n < 70:
		b.subs = 0
		return []Command{words("UNSUBSCRIBE"), words("PUNSUBSCRIBE"), words("SUNSUBSCRIBE")}
	case n < 85:
		if g.chance(50) {
			return []Command{words("PING")}
		}
		return []Command{words("PING", g.text())}
	case n < 87:
		return g.reset(b)
	case n < 88:
		*b = belief{}
		return []Command{words("QUIT")}
	case n < 91:
		return []Command{g.hello(&belief{})}
	}
	return []Command{g.plain()}
}

// The users of a sequence always have the same rights, since those who are connected keep what they have.
var userRules = [][]string{
	{"writer", "on", ">secret", "~*", "&*", "+@all"},
	{"reader", "on", ">secret", "~s*", "~l*", "&ch*", "+@read", "+@connection", "+@transaction", "+eval", "+eval_ro", "+evalsha", "+evalsha_ro",
		"+script|load", "+subscribe", "+unsubscribe", "-keys"},
	{"caller", "on", ">secret", "~*", "+@read", "+@write", "+@connection", "+@transaction", "+evalsha"},
	{"bodier", "on", ">secret", "~*", "+@read", "+@write", "+@connection", "+@transaction", "+eval"},
}

func (g *generator) users() []Command {
	switch g.r.IntN(5) {
	case 0, 1:
		return []Command{{Args: append([]string{"ACL", "SETUSER"}, userRules[g.r.IntN(len(userRules))]...)}}
	case 2:
		return []Command{words("AUTH", g.value("user"), g.pick("secret", "secret", "secret", "wrong")), words("ACL", "WHOAMI")}
	case 3:
		return []Command{words("HELLO", g.pick("2", "3"), "AUTH", g.value("user"), g.pick("secret", "secret", "secret", "wrong"))}
	}
	return []Command{words("AUTH", g.pick("secret", "wrong"))}
}

// plain makes a command from a template, now and then with a mistake.
func (g *generator) plain() Command {
	args := g.fromTemplate()
	for args[0] == "SWAPDB" && !g.swaps {
		args = g.fromTemplate()
	}
	if g.chance(6) {
		args[0] = g.spell(args[0])
	}
	if g.chance(4) {
		if m := g.mutate(args); safe(m) {
			args = m
		}
	}
	return Command{Args: args}
}

func (g *generator) spell(name string) string {
	if g.chance(80) {
		return strings.ToLower(name)
	}
	if len(name) > 1 && g.chance(80) {
		return strings.ToLower(name[:1]) + name[1:]
	}
	return g.pick("NOSUCHCOMMAND", "", "get\r\n", "\x00", "GETS", "hget ", name+"x")
}

func (g *generator) mutate(args []string) []string {
	m := append([]string(nil), args...)
	i := g.r.IntN(len(m))
	switch g.r.IntN(4) {
	case 0:
		return m[:max(1, len(m)-1)]
	case 1:
		return append(m, g.value("junk"))
	case 2:
		if i > 0 {
			m[i] = g.value("junk")
		}
		return m
	}
	return append(m[:i:i], append([]string{m[i]}, m[i:]...)...)
}

func words(args ...string) Command { return Command{Args: args} }

// inline writes a command in the form for people with telnet, where that can be.
func inline(c Command) Command {
	words := make([]string, len(c.Args))
	for i, a := range c.Args {
		words[i] = a
		if a == "" || strings.ContainsFunc(a, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\'' || r == '\\' }) {
			var b strings.Builder
			b.WriteByte('"')
			for _, x := range []byte(a) {
				fmt.Fprintf(&b, "\\x%02x", x)
			}
			words[i] = b.String() + `"`
		}
	}
	raw := strings.Join(words, " ") + "\r\n"
	if len(raw) > 60_000 || strings.ContainsAny(c.Args[0], " \r\n\x00") || c.Args[0] == "" {
		return c
	}
	return Command{Args: c.Args, Raw: raw}
}
