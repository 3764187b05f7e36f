package command

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Bounds on what a server may report. Redis 7.0 has 240 commands and 90 kB, Redis 8 with its modules about 500 and
// 250 kB; the longest name of those has 34 bytes.
const (
	maxReplySize = 16 << 20
	maxCommands  = 10_000
	maxNameSize  = 128
	maxKeySpecs  = 64      // per command; MIGRATE, GEORADIUS and SORT have up to 3
	maxPosition  = 1 << 20 // arity and positions; RESP commands have at most this many arguments
)

// Parse reads the reply to COMMAND, in RESP2 or RESP3 as it comes from the wire, of any server from Redis 5 on. The
// reply is not trusted: it may be cut short, huge or malicious, and the answer then is an error that says what is
// wrong with it. The table does not refer to the reply's memory.
//
// Servers before Redis 7 report too little; for commands of theirs that are embedded the rest is taken from Embedded().
// Flags and elements that this package does not know are left out, and so are POST and HOST:, for which every server
// closes the connection.
func Parse(commandReply []byte) (*Table, error) {
	if len(commandReply) > maxReplySize {
		return nil, fmt.Errorf("command table: the reply to COMMAND has %d bytes, more than %d", len(commandReply), maxReplySize)
	}
	r := &replyReader{rest: commandReply}
	cmds, err := r.commands("")
	if err == nil && len(r.rest) > 0 {
		err = fmt.Errorf("%d bytes follow the reply", len(r.rest))
	}
	if err == nil && len(cmds) == 0 {
		err = errors.New("no commands in it")
	}
	if err != nil {
		return nil, fmt.Errorf("command table: reply to COMMAND: %w", err)
	}
	return newTable(cmds), nil
}

// commands reads a list of commands, or of the subcommands of the command named container. Of commands with the same
// name the first counts.
func (r *replyReader) commands(container string) ([]*Command, error) {
	n, err := r.elements()
	if err != nil {
		return nil, err
	}
	if n > maxCommands {
		return nil, fmt.Errorf("%d commands, more than %d", n, maxCommands)
	}
	var cmds []*Command
	seen := make(map[string]bool)
	for range n {
		c, err := r.command(container)
		if err != nil {
			return nil, err
		}
		if c == nil || seen[c.Name] || hangsUp[c.Name] {
			continue
		}
		seen[c.Name] = true
		cmds = append(cmds, c)
	}
	return cmds, nil
}

// command reads one command's entry; it is nil when the entry is empty.
func (r *replyReader) command(container string) (*Command, error) {
	n, err := r.elements()
	if err != nil || n == 0 {
		return nil, err
	}
	if n < 6 {
		return nil, fmt.Errorf("an entry of %d elements instead of 6 or more", n)
	}
	c := &Command{ID: -1}
	if c.Name, err = r.name(container); err != nil {
		return nil, err
	}
	if err := r.properties(c, n, container == ""); err != nil {
		return nil, fmt.Errorf("command %q: %w", c.Name, err)
	}
	if n < 10 && container == "" {
		c.completeFromEmbedded()
	}
	return c, nil
}

func (r *replyReader) name(container string) (string, error) {
	raw, err := r.str()
	if err != nil {
		return "", err
	}
	own := bytes.ToUpper(raw)
	if container != "" {
		var ok bool
		if own, ok = bytes.CutPrefix(own, []byte(container+"|")); !ok {
			return "", fmt.Errorf("%.50q among the subcommands of %q", raw, container)
		}
	}
	if len(own) == 0 || len(own) > maxNameSize || bytes.ContainsFunc(own, notInName) {
		return "", fmt.Errorf("%.50q is not a command's name", raw)
	}
	if container != "" {
		return container + "|" + string(own), nil
	}
	return string(own), nil
}

func notInName(r rune) bool { return r <= ' ' || r >= 0x7f || r == '|' }

// properties reads the n-1 elements after the name.
func (r *replyReader) properties(c *Command, n int, topLevel bool) (err error) {
	if c.Arity, err = r.integer(maxPosition); err != nil {
		return err
	}
	if c.Arity == 0 {
		return errors.New("arity 0")
	}
	err = r.each(func(name string) { c.Flags |= parseFlag(name) })
	for _, into := range []*int{&c.FirstKey, &c.LastKey, &c.Step} {
		if err == nil {
			*into, err = r.integer(maxPosition)
		}
	}
	for i := 6; i < n && err == nil; i++ {
		switch {
		case i == 6:
			err = r.each(func(name string) { c.Categories = append(c.Categories, strings.TrimPrefix(name, "@")) })
		case i == 8:
			err = r.keySpecs(c)
		case i == 9 && topLevel:
			c.subs, err = r.commands(c.Name)
		default: // 7: hints for clients
			err = r.skip()
		}
	}
	return err
}

// each reads a list of strings.
func (r *replyReader) each(do func(string)) error {
	n, err := r.elements()
	if err != nil {
		return err
	}
	for range n {
		s, err := r.str()
		if err != nil {
			return err
		}
		do(string(s))
	}
	return nil
}

// completeFromEmbedded replaces what a server before Redis 7 reports of a command by what is embedded for that name,
// but for the arity, the key range and additional flags: such a server gives neither key specs nor subcommands nor
// the flag blocking, and calls TIME, ROLE and the like readonly.
func (c *Command) completeFromEmbedded() {
	known := Embedded().Lookup([]byte(c.Name))
	if known == nil || c.Flags&Module != 0 {
		return
	}
	c.Flags = known.Flags | c.Flags&^ReadOnly
	c.Categories = known.Categories
	c.KeySpecs = known.KeySpecs
	c.subs = mergeAll(nil, known.subs)
}

// hangsUp names what servers before Redis 7 report as commands, and all servers answer by closing the connection, as a
// defence against HTTP requests made by browsers. The table leaves them unknown, so that they get a connection of
// their own.
var hangsUp = map[string]bool{"POST": true, "HOST:": true}
