package differential

import (
	"strconv"
	"strings"
)

// state is what the direct server keeps for a client, as far as it decides how many replies a command has. It follows
// from the replies alone.
type state struct {
	multi  bool
	queued []Command // since MULTI
	subs   map[string]map[string]bool
	resp3  bool
	// muted is CLIENT REPLY OFF, skip what CLIENT REPLY SKIP leaves behind.
	muted, skip bool
}

// confirmed maps a command that changes subscriptions to the kind of subscription and the direction.
var confirmed = map[string]struct {
	kind string
	add  bool
}{
	"SUBSCRIBE": {"channel", true}, "UNSUBSCRIBE": {"channel", false},
	"PSUBSCRIBE": {"pattern", true}, "PUNSUBSCRIBE": {"pattern", false},
	"SSUBSCRIBE": {"shard", true}, "SUNSUBSCRIBE": {"shard", false},
}

// replies tells how many of those received belong to a command, and whether they are all there.
func (s *state) replies(c *Command, received []*reply) (n int, complete bool) {
	if c.ignored() || s.silences(c) {
		return 0, true
	}
	if len(received) == 0 {
		return 0, false
	}
	n = 1
	change, ok := confirmed[c.Name()]
	switch {
	case c.Name() == "EXEC" && s.multi && received[0].kind == '*':
		// A queued SUBSCRIBE to several channels counts as one element, and has one reply for each.
		for i := range s.queued {
			if _, ok := confirmed[s.queued[i].Name()]; ok {
				n += max(1, len(s.queued[i].Args)-1) - 1
			}
		}
	case ok && !s.multi && received[0].isConfirmation():
		n = len(c.Args) - 1
		if n == 0 {
			n = max(1, len(s.subs[change.kind]))
		}
		for i, r := range received[:min(n, len(received))] {
			if !r.isConfirmation() {
				return i, true // a subscription went in a way that was not seen
			}
		}
	}
	return n, len(received) >= n
}

// follow takes note of a command's replies.
func (s *state) follow(c *Command, replies []*reply) {
	if s.free() {
		s.skip = c.isReply("SKIP") && !s.muted
		s.muted = (s.muted || c.isReply("OFF")) && !c.isReply("ON")
	}
	if len(replies) == 0 {
		return
	}
	r := replies[0]
	switch name := c.Name(); {
	case r.isConfirmation():
		for _, r := range replies {
			if r.isConfirmation() {
				s.confirm(r)
			}
		}
	case s.multi && r.word() == "QUEUED":
		s.queued = append(s.queued, *c)
	case name == "MULTI" && r.word() == "OK":
		s.multi, s.queued = true, nil
	case (name == "EXEC" || name == "DISCARD") && len(c.Args) == 1:
		s.multi = false
		for _, e := range append(r.elems[:len(r.elems):len(r.elems)], r.pushes...) {
			if e.isConfirmation() {
				s.confirm(e)
			}
		}
		for i := range s.queued {
			if s.queued[i].Name() == "HELLO" && i < len(r.elems) && !r.elems[i].isError() {
				s.resp3 = r.elems[i].kind == '%'
			}
		}
		for _, r := range replies[1:] {
			if r.isConfirmation() {
				s.confirm(r)
			}
		}
	case name == "HELLO" && !r.isError():
		s.resp3 = r.kind == '%'
	case name == "RESET" && r.word() == "RESET":
		*s = state{}
	}
}

func (s *state) confirm(r *reply) {
	change := confirmed[strings.ToUpper(r.first())]
	if s.subs == nil {
		s.subs = make(map[string]map[string]bool)
	}
	if s.subs[change.kind] == nil {
		s.subs[change.kind] = make(map[string]bool)
	}
	if name := r.elems[1]; change.add {
		s.subs[change.kind][string(name.text)] = true
	} else if !name.null && name.kind == '$' {
		delete(s.subs[change.kind], string(name.text))
	}
}

// free tells that commands run at once, and that all may be used.
func (s *state) free() bool { return !s.multi && (s.resp3 || !s.subscribed()) }

// silences tells that a command has no reply. Confirmations come all the same: they are pushes to a server, in RESP2
// too.
func (s *state) silences(c *Command) bool {
	if s.free() && (c.isReply("OFF") || c.isReply("SKIP")) {
		return true
	}
	_, confirms := confirmed[c.Name()]
	return (s.muted && !(s.free() && c.isReply("ON")) || s.skip) && !confirms
}

// isReply tells CLIENT REPLY with this argument.
func (c *Command) isReply(arg string) bool {
	return len(c.Args) == 3 && c.Name() == "CLIENT" && c.Sub() == "REPLY" && strings.EqualFold(c.Args[2], arg)
}

func (s *state) subscribed() bool {
	for _, names := range s.subs {
		if len(names) > 0 {
			return true
		}
	}
	return false
}

// ends tells that the server closes the connection after this reply.
func ends(c *Command, replies []*reply) bool {
	if len(replies) == 0 {
		return false
	}
	r := replies[0]
	if r.isError() {
		return strings.HasPrefix(string(r.text), "ERR Protocol error") || string(r.text) == "ERR max number of clients reached"
	}
	return c.Name() == "QUIT" && r.word() == "OK"
}

// longWait is how many seconds a command must be ready to wait to count as one that may block. What waits shorter is
// awaited.
const longWait = 60

// mayBlock tells whether a command may wait until another connection does something.
func (c *Command) mayBlock() bool {
	seconds := func(arg string) bool {
		f, err := strconv.ParseFloat(arg, 64)
		return err == nil && (f == 0 || f >= longWait)
	}
	if len(c.Args) < 3 {
		return false
	}
	switch c.Name() {
	case "BLPOP", "BRPOP", "BZPOPMIN", "BZPOPMAX", "BLMOVE", "BRPOPLPUSH":
		return seconds(c.Args[len(c.Args)-1])
	case "BLMPOP", "BZMPOP":
		return seconds(c.Args[1])
	case "WAIT":
		ms, err := strconv.Atoi(c.Args[2])
		return err == nil && (ms == 0 || ms >= longWait*1000)
	case "XREAD", "XREADGROUP":
		for i, a := range c.Args[:len(c.Args)-1] {
			if strings.EqualFold(a, "BLOCK") {
				ms, err := strconv.Atoi(c.Args[i+1])
				return err == nil && (ms == 0 || ms >= longWait*1000)
			}
		}
	}
	return false
}

// private tells whether a command touches nothing that other connections see, so that it may wait behind one that
// blocks: when it runs is not determined then.
func (c *Command) private() bool { return c.Name() == "ECHO" || c.Name() == "PING" }
