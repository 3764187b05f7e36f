package differential

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// send runs a command of the tester's own on a client, as a step would.
func (p *Pair) send(c *client, args ...string) {
	cmd := Command{Args: args}
	b := cmd.append(nil)
	c.queue = append(c.queue, cmd)
	c.direct.write(b, 1, p.Timeout)
	c.proxied.write(b, 1, p.Timeout)
	p.settle(c)
	p.compare()
}

// flush makes sure that everything that is on its way to a client has arrived, and compares the messages. A blocked client's
// can't be waited for.
func (p *Pair) flush(c *client) {
	if len(c.queue) > 0 {
		return
	}
	if c.state.multi {
		p.send(c, "DISCARD")
	}
	if c.state.subscribed() && !c.end {
		// The confirmation comes behind the messages; PING's answer may overtake them.
		p.send(c, "UNSUBSCRIBE", "\x00end")
	}
	if !c.end {
		p.send(c, "ECHO", "end")
	}
	p.compareMessages(c)
}

// compareMessages compares what a client's subscriptions brought. A message that fits several of its patterns comes
// once for each, in the order of a hash table.
func (p *Pair) compareMessages(c *client) {
	direct, proxied := sortPatterns(c.direct.messages), sortPatterns(c.proxied.messages)
	for i := range min(len(direct), len(proxied)) {
		if !bytes.Equal(direct[i].raw, proxied[i].raw) {
			p.differ(c, nil, fmt.Sprintf("message %d differs", i), text(direct[i:i+1]), text(proxied[i:i+1]))
		}
	}
	if len(direct) != len(proxied) {
		p.differ(c, nil, fmt.Sprintf("%d messages from the direct server, %d through the proxy", len(direct), len(proxied)), text(direct), text(proxied))
	}
	c.direct.messages, c.proxied.messages = nil, nil
}

// sortPatterns orders the messages that are next to each other and differ in the pattern only.
func sortPatterns(messages []*reply) []*reply {
	sameMessage := func(a, b *reply) bool {
		return len(a.elems) == 4 && len(b.elems) == 4 && bytes.Equal(a.elems[2].raw, b.elems[2].raw) && bytes.Equal(a.elems[3].raw, b.elems[3].raw)
	}
	for from := 0; from < len(messages); {
		to := from + 1
		for to < len(messages) && sameMessage(messages[from], messages[to]) {
			to++
		}
		slices.SortFunc(messages[from:to], func(a, b *reply) int { return bytes.Compare(a.raw, b.raw) })
		from = to
	}
	return messages
}

// leave closes a client as the client itself would, and waits until both servers have forgotten it.
func (p *Pair) leave(i int) {
	p.flush(p.clients[i])
	p.gone(i)
}

// gone takes a client whose connections have ended, or are to end, off the list.
func (p *Pair) gone(i int) {
	c := p.clients[i]
	if c.end {
		p.compareMessages(c)
	}
	wasBlocked := len(c.queue) > 0
	c.direct.close()
	c.proxied.close()
	p.clients[i] = nil
	if wasBlocked {
		n := p.waiting()
		deadline := p.deadline()
		for p.blocked(p.Direct) != n {
			if time.Now().After(deadline) {
				broken("step %d: a client that left is still blocked on the direct server", p.step)
			}
		}
		p.awaitBlocked(n)
	}
	if c.hadSubscriptions {
		p.awaitSubscriptions()
	}
}

// awaitSubscriptions waits until the proxy's server has the subscriptions that the direct one has.
func (p *Pair) awaitSubscriptions() {
	p.Direct.subscriptions() // the server has seen the end of the connection when it has answered this
	want := p.Direct.subscriptions()
	deadline := p.deadline()
	for {
		got := p.Proxied.subscriptions()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			p.differ(nil, nil, "the subscriptions of clients that left are not gone", want, got)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// subscriptions describes what a server's clients are subscribed to.
func (s *Side) subscriptions() string {
	var b strings.Builder
	for _, kind := range []struct{ list, count string }{{"CHANNELS", "NUMSUB"}, {"SHARDCHANNELS", "SHARDNUMSUB"}} {
		names, _ := s.do("PUBSUB", kind.list).([]any)
		args := []any{"PUBSUB", kind.count}
		slices.SortFunc(names, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		fmt.Fprintf(&b, "%s %q ", kind.count, s.do(append(args, names...)...))
	}
	fmt.Fprintf(&b, "patterns %v", s.do("PUBSUB", "NUMPAT"))
	return b.String()
}

// finish compares what is left to be compared at the end of a sequence.
func (p *Pair) finish() {
	for _, c := range p.clients {
		if c != nil {
			p.flush(c)
		}
	}
	p.closeAll()
	deadline := p.deadline()
	for p.blocked(p.Direct) > 0 {
		if time.Now().After(deadline) {
			broken("clients that left are still blocked on the direct server")
		}
	}
	p.awaitBlocked(0)
	p.awaitSubscriptions()
	direct, proxied := p.Direct.do("DEBUG", "DIGEST"), p.Proxied.do("DEBUG", "DIGEST")
	if _, isError := direct.(redisserver.Error); isError {
		broken("DEBUG DIGEST: %v", direct)
	}
	if direct != proxied {
		a, b := p.Direct.data(), p.Proxied.data()
		p.differ(nil, nil, "the servers' data differ", without(slices.Clone(a), b), without(b, a))
	}
}

// without lists what is in a and not in b.
func without(a, b []string) string {
	return strings.Join(slices.DeleteFunc(a, func(line string) bool { return slices.Contains(b, line) }), "; ")
}

// data lists a server's keys with a digest of each.
func (s *Side) data() []string {
	var lines []string
	for db := range 16 {
		s.do("SELECT", db)
		keys, _ := s.do("KEYS", "*").([]any)
		for _, k := range keys {
			digest, _ := s.do("DEBUG", "DIGEST-VALUE", k).([]any)
			lines = append(lines, fmt.Sprintf("%d %q %v", db, k, digest))
		}
	}
	s.do("SELECT", 0)
	return lines
}

func (p *Pair) closeAll() {
	for i, c := range p.clients {
		if c != nil {
			c.direct.close()
			c.proxied.close()
			p.clients[i] = nil
		}
	}
}

// clean makes both servers, and the proxy, forget the sequence before.
func (p *Pair) clean() {
	p.closeAll()
	deadline := p.deadline()
	for _, s := range []*Side{p.Direct, p.Proxied} {
		for p.blocked(s) > 0 && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		s.do("FLUSHALL", "SYNC")
		s.do("SCRIPT", "FLUSH", "SYNC")
		s.do("FUNCTION", "FLUSH", "SYNC")
		users, _ := s.do("ACL", "USERS").([]any)
		for _, u := range users {
			if u != "default" {
				s.do("ACL", "DELUSER", u)
			}
		}
	}
	c, err := redisserver.DialClient(p.Proxied.Addr, p.Proxied.Server.Password())
	if err != nil {
		p.differ(nil, nil, "the proxy can't be connected to: "+err.Error(), "", "")
	}
	defer c.Close()
	if r, err := c.Do("SCRIPT", "FLUSH", "SYNC"); err != nil || r != "OK" {
		p.differ(nil, nil, fmt.Sprintf("SCRIPT FLUSH through the proxy: %v %v", r, err), "", "")
	}
}
