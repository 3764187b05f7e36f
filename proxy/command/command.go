package command

import (
	"slices"
	"strings"
)

// Command is one command or subcommand. It belongs to a Table and never changes; any goroutine may read it.
type Command struct {
	// Name is in upper case: "GET"; that of a subcommand has its container's in front: "CLIENT|LIST".
	Name string
	// ID is the command's index in its table: dense, from 0 to Table.Len()-1, subcommands included. Table.Merge keeps
	// it, so counters indexed by it stay right across refreshes.
	ID int
	// Arity counts the name (and the container's name): exactly that many arguments, or at least -Arity when negative.
	Arity int
	Flags Flags
	Class Class
	Op    Op
	// Blocks says that the command may hold its connection until something happens elsewhere, whatever its arguments.
	// It is false for XREAD and XREADGROUP; ask BlocksWith.
	Blocks bool
	// Absent says that the server does not have the command: it is known from the embedded table only. It is passed
	// on like any other, and the server answers with its own error.
	Absent bool
	// Categories are the ACL categories without the at sign.
	Categories []string
	KeySpecs   []KeySpec
	// FirstKey, LastKey and Step are COMMAND's older description of the keys, all 0 when there is none. Use Keys.
	FirstKey, LastKey, Step int

	replicaOK bool
	finder    finder
	subs      []*Command
	subIndex  index
}

// Sub returns the subcommand called name in any case, or nil. It does not allocate.
func (c *Command) Sub(name []byte) *Command {
	if len(c.subs) == 0 {
		return nil
	}
	return c.subIndex.find(name)
}

// Subs returns the subcommands in the order of their names.
func (c *Command) Subs() []*Command { return slices.Clone(c.subs) }

// IsContainer reports whether the command has subcommands.
func (c *Command) IsContainer() bool { return len(c.subs) > 0 }

// ArityOK reports whether n arguments, the command's name included, are as many as the command takes.
func (c *Command) ArityOK(n int) bool {
	if c.Arity >= 0 {
		return n == c.Arity
	}
	return n >= -c.Arity
}

// ReplicaOK reports whether a replica may answer the command as well as the primary could, but for lag. It is true
// for commands that the server calls readonly, except those whose answer belongs to one node, such as SCAN's cursors
// and OBJECT IDLETIME; it is false for reads that only the primary can answer, such as PUBSUB and TIME, and for
// scripts, whose route is decided elsewhere.
func (c *Command) ReplicaOK() bool { return c.replicaOK }

// BlocksWith reports whether the command with these arguments may hold its connection: Blocks, or XREAD and XREADGROUP
// with BLOCK. arg gives argument i of n, the name being argument 0. It does not allocate.
func (c *Command) BlocksWith(n int, arg func(int) []byte) bool {
	if c.Op != OpXRead {
		return c.Blocks
	}
	for i := 1; i < n; i++ {
		switch option := arg(i); {
		case equalFold(option, "BLOCK"):
			return true
		case equalFold(option, "STREAMS"):
			return false
		case equalFold(option, "COUNT"), equalFold(option, "CLAIM"):
			i++
		case equalFold(option, "GROUP"):
			i += 2
		}
	}
	return false
}

// key is the name that the command is looked up by in its table or container.
func (c *Command) key() string {
	if i := strings.IndexByte(c.Name, '|'); i >= 0 {
		return c.Name[i+1:]
	}
	return c.Name
}

func (c *Command) hasCategory(name string) bool { return slices.Contains(c.Categories, name) }

// finish derives what follows from the name, the flags and the key specs, for c and its subcommands. container is the
// Op of the command that c is a subcommand of, or OpNone.
func (c *Command) finish(container Op) {
	c.Op = container
	if op, ok := opByName[c.Name]; ok {
		c.Op = op
	}
	for _, s := range c.subs {
		s.finish(c.Op)
	}
	c.Class = classify(c)
	c.Blocks = c.Op == OpWait || c.Flags&Blocking != 0 && c.Op != OpXRead
	c.replicaOK = c.Class == ClassRead && c.Flags&ReadOnly != 0 && !nodeBound[c.Name]
	c.finder = finderOf(c)
	c.subIndex = newIndex(c.subs)
}

// equalFold compares b with an upper-case ASCII word in any case.
func equalFold(b []byte, upper string) bool {
	if len(b) != len(upper) {
		return false
	}
	for i := range len(b) {
		x := b[i]
		if x >= 'a' && x <= 'z' {
			x -= 'a' - 'A'
		}
		if x != upper[i] {
			return false
		}
	}
	return true
}
