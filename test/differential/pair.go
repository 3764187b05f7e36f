package differential

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// Side is one of the two ways to a server.
type Side struct {
	// Addr is where the sequence's connections go.
	Addr string
	// Server is the server itself, asked for what its state is.
	Server *redisserver.Process

	name    string
	control *redisserver.Client
}

// Pair runs sequences on both sides. It is for one goroutine.
type Pair struct {
	Direct, Proxied *Side
	// Timeout bounds the wait for a reply.
	Timeout time.Duration
	// Skipped counts the commands that were not sent, because their connection was blocked.
	Skipped int
	// Refused counts the sequences that ended early with a command that the proxy says it does not pass on.
	Refused int

	clients [26]*client
	step    int
}

// client is a connection of a sequence, on both sides.
type client struct {
	name             string
	direct, proxied  *conn
	state            state
	queue            []Command // sent, and not answered by the direct server
	answered         []answer
	awaited          int // replies that the direct server gave and the proxy owes
	end              bool
	hadSubscriptions bool
}

// answer is the direct server's replies to one command.
type answer struct {
	cmd     Command
	queued  []Command
	replies []*reply
}

// Difference is what a sequence shows of the two sides that is not the same.
type Difference struct {
	// Step is the index of the step at which it was seen, the sequence's length at its end.
	Step            int
	What            string
	Command         string
	Direct, Proxied string
}

func (d *Difference) Error() string {
	text := fmt.Sprintf("step %d: %s", d.Step, d.What)
	if d.Command != "" {
		text += "\n  command: " + d.Command
	}
	if d.Direct != "" || d.Proxied != "" {
		text += "\n  direct:  " + d.Direct + "\n  proxied: " + d.Proxied
	}
	return text
}

// Broken is an error of the tester's own: a server that can't be reached, or a direct server that doesn't answer.
type Broken struct{ Err error }

func (b *Broken) Error() string { return "the differential tester can't go on: " + b.Err.Error() }

func broken(format string, args ...any) { panic(&Broken{fmt.Errorf(format, args...)}) }

// Open connects to the servers.
func (p *Pair) Open() (err error) {
	p.Direct.name, p.Proxied.name = "direct", "proxied"
	for _, s := range []*Side{p.Direct, p.Proxied} {
		if s.control, err = s.Server.Dial(); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the connections.
func (p *Pair) Close() {
	p.closeAll()
	for _, s := range []*Side{p.Direct, p.Proxied} {
		if s.control != nil {
			s.control.Close()
		}
	}
}

// Run runs a sequence from a clean start. It returns a *Difference, a *Broken, or nil.
func (p *Pair) Run(s Sequence) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *Difference:
			err = r
		case *Broken:
			err = r
		case notPassedOn:
			p.Refused++
		default:
			panic(r)
		}
	}()
	p.clean()
	for i := range s {
		p.step = i
		p.runStep(&s[i])
	}
	p.step = len(s)
	p.finish()
	return nil
}

// notPassedOn ends a sequence: nothing that follows has to be the same.
type notPassedOn struct{}

// saidNo tells that the proxy has refused a command which docs/differences.md says it does not pass on. The generator makes
// these by chance only, as when a MULTI is among words that are wrong on purpose.
func saidNo(cmd *Command, got []*reply) bool {
	_, subscription := confirmed[cmd.Name()]
	return subscription && len(got) > 0 && bytes.HasPrefix(got[0].raw, []byte("-ERR scriptproxy passes "+cmd.Name()+" on inside MULTI only in RESP2 and for one channel"))
}

func (p *Pair) differ(c *client, cmd *Command, what, direct, proxied string) {
	d := &Difference{Step: p.step, What: what, Direct: direct, Proxied: proxied}
	if c != nil {
		d.What = "connection " + c.name + ": " + what
	}
	if cmd != nil {
		d.Command = cmd.String()
	}
	panic(d)
}

func (p *Pair) deadline() time.Time { return time.Now().Add(p.Timeout) }

func (p *Pair) client(i int) *client {
	c := p.clients[i]
	if c != nil {
		return c
	}
	c = &client{name: string(rune('a' + i))}
	var err error
	if c.direct, err = dial(p.Direct.Addr, p.Timeout); err != nil {
		broken("connect to the direct server: %w", err)
	}
	if c.proxied, err = dial(p.Proxied.Addr, p.Timeout); err != nil {
		c.direct.close()
		p.differ(c, nil, "the proxy can't be connected to: "+err.Error(), "", "")
	}
	p.clients[i] = c
	return c
}

func (p *Pair) runStep(s *Step) {
	if s.Close {
		if c := p.clients[s.Conn]; c != nil {
			p.leave(s.Conn)
		}
		return
	}
	c := p.client(s.Conn)
	if len(c.queue) > 0 && slices.ContainsFunc(s.Cmds, func(c Command) bool { return !c.private() }) {
		p.Skipped += len(s.Cmds)
		return
	}
	var b []byte
	for i := range s.Cmds {
		b = s.Cmds[i].append(b)
	}
	c.queue = append(c.queue, s.Cmds...)
	c.direct.write(b, s.Pieces, p.Timeout)
	c.proxied.write(b, s.Pieces, p.Timeout)
	p.settle(c)
	p.compare()
	for i, c := range p.clients {
		if c != nil && c.end {
			p.gone(i)
		}
	}
}

// settle receives until every client has its replies, or is blocked on both sides.
func (p *Pair) settle(c *client) {
	deadline := p.deadline()
	if !slices.ContainsFunc(c.queue, func(c Command) bool { return c.mayBlock() }) {
		for len(c.queue) > 0 {
			if !p.advance(c, deadline) {
				broken("step %d: no reply of the direct server to %s", p.step, c.queue[0])
			}
		}
	}
	if p.waiting() > 0 {
		p.settleBlocked(deadline)
	}
	deadline = p.deadline()
	for _, c := range p.clients {
		if c != nil {
			p.catchUp(c, deadline)
		}
	}
	if n := p.waiting(); n > 0 {
		p.awaitBlocked(n)
	}
}

// waiting is the number of clients that wait for replies of the direct server.
func (p *Pair) waiting() int {
	n := 0
	for _, c := range p.clients {
		if c != nil && len(c.queue) > 0 {
			n++
		}
	}
	return n
}

// settleBlocked receives from the direct server until as many clients are blocked there as wait for replies.
func (p *Pair) settleBlocked(deadline time.Time) {
	for {
		for _, c := range p.clients {
			if c == nil {
				continue
			}
			for len(c.queue) > 0 && p.advance(c, time.Now().Add(200*time.Microsecond)) {
			}
		}
		n := p.waiting()
		if n == 0 || p.blocked(p.Direct) == n {
			// What was sent before the count was taken is here now.
			for _, c := range p.clients {
				for c != nil && len(c.queue) > 0 && p.advance(c, time.Now().Add(200*time.Microsecond)) {
				}
			}
			if p.waiting() == n {
				return
			}
		}
		if time.Now().After(deadline) {
			broken("step %d: the direct server neither answers nor blocks", p.step)
		}
	}
}

// awaitBlocked waits until n clients are blocked on the proxy's server as well.
func (p *Pair) awaitBlocked(n int) {
	deadline := p.deadline()
	for p.blocked(p.Proxied) != n {
		if time.Now().After(deadline) {
			p.differ(nil, nil, fmt.Sprintf("%d clients are blocked on the direct server, %d on the proxy's", n, p.blocked(p.Proxied)), "", "")
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// advance receives the next reply of the direct server, and reports whether it came before the deadline.
func (p *Pair) advance(c *client, deadline time.Time) bool {
	for {
		n, complete := c.state.replies(&c.queue[0], c.direct.replies)
		if complete {
			p.note(c, n)
			return true
		}
		switch err := c.direct.receive(deadline); err {
		case nil:
		case errSilent:
			return false
		case io.EOF:
			c.end, c.queue = true, nil
			return true
		default:
			broken("step %d: the direct server's reply to %s: %w", p.step, c.queue[0], err)
		}
	}
}

// note takes the n replies to the oldest command in the queue.
func (p *Pair) note(c *client, n int) {
	a := answer{cmd: c.queue[0], queued: c.state.queued, replies: c.direct.take(n)}
	c.state.follow(&a.cmd, a.replies)
	c.hadSubscriptions = c.hadSubscriptions || c.state.subscribed()
	c.answered = append(c.answered, a)
	c.awaited += n
	c.queue = c.queue[1:]
	if ends(&a.cmd, a.replies) {
		if err := c.direct.awaitEnd(p.deadline()); err != nil {
			broken("step %d: the direct server does not close after %s: %w", p.step, a.cmd, err)
		}
		c.end, c.queue = true, nil
	}
}

// catchUp receives what the proxy owes a client.
func (p *Pair) catchUp(c *client, deadline time.Time) {
	err := c.proxied.await(c.awaited, deadline)
	if err == nil && c.end {
		if err = c.proxied.awaitEnd(deadline); err != nil {
			p.compareAnswers(c)
			p.differ(c, nil, "the direct server closed the connection, the proxy did not: "+err.Error(), "", "")
		}
	}
	if err != nil {
		have := len(c.proxied.replies)
		p.compareAnswers(c)
		what := "no reply through the proxy"
		if err == io.EOF {
			what = "the proxy closed the connection"
		} else if err != errSilent {
			what = "through the proxy: " + err.Error()
		}
		for i := range c.answered {
			if have -= len(c.answered[i].replies); have < 0 {
				p.differ(c, &c.answered[i].cmd, what, text(c.answered[i].replies), text(c.proxied.replies))
			}
		}
		p.differ(c, nil, what, "", "")
	}
}

// compare compares what was answered since it was called last.
func (p *Pair) compare() {
	for _, c := range p.clients {
		if c == nil {
			continue
		}
		p.compareAnswers(c)
		if len(c.proxied.replies) > 0 {
			p.differ(c, nil, "a reply that was not asked for", "", text(c.proxied.replies))
		}
	}
}

func (p *Pair) compareAnswers(c *client) {
	for len(c.answered) > 0 {
		a := &c.answered[0]
		n := len(a.replies)
		if len(c.proxied.replies) < n {
			return
		}
		got := c.proxied.take(n)
		c.awaited -= n
		if what := compareAll(a, got); what != "" {
			if saidNo(&a.cmd, got) {
				panic(notPassedOn{})
			}
			p.differ(c, &a.cmd, what, text(a.replies), text(got))
		}
		c.answered = c.answered[1:]
	}
}

func text(replies []*reply) string {
	var b bytes.Buffer
	for _, r := range replies {
		b.Write(r.raw)
	}
	return fmt.Sprintf("%q", clip(b.Bytes()))
}

// control sends a command to a side's server.
func (s *Side) do(args ...any) any {
	r, err := s.control.Do(args...)
	if err != nil {
		broken("the %s server does not answer %v: %w", s.name, args, err)
	}
	return r
}

// blocked is the number of clients that are blocked on a side's server.
func (p *Pair) blocked(s *Side) int {
	info, _ := s.do("INFO", "clients").(string)
	_, after, _ := strings.Cut(info, "blocked_clients:")
	count, _, _ := strings.Cut(after, "\r")
	n, err := strconv.Atoi(count)
	if err != nil {
		broken("the %s server's INFO has no blocked_clients", s.name)
	}
	return n
}
