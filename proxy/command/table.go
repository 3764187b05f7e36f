package command

import (
	"cmp"
	"iter"
	"slices"
	"strings"
)

// Table is a set of commands. It never changes once it is made, so any number of goroutines may use it; publish a
// newer one by swapping the pointer.
type Table struct {
	top    index
	byID   []*Command
	byName []*Command // all, subcommands behind their container
}

// newTable finishes the top-level commands, gives IDs to those that have none yet (ID -1), and indexes them. The
// names must be distinct, and the IDs given must be dense.
func newTable(cmds []*Command) *Table {
	slices.SortFunc(cmds, func(a, b *Command) int { return cmp.Compare(a.Name, b.Name) })
	t := &Table{top: newIndex(cmds)}
	next := 0
	for _, c := range cmds {
		slices.SortFunc(c.subs, func(a, b *Command) int { return cmp.Compare(a.Name, b.Name) })
		c.finish(OpNone)
		t.byName = append(append(t.byName, c), c.subs...)
	}
	for _, c := range t.byName {
		next = max(next, c.ID+1)
	}
	t.byID = make([]*Command, len(t.byName))
	for _, c := range t.byName {
		if c.ID < 0 {
			c.ID = next
			next++
		}
		t.byID[c.ID] = c
	}
	return t
}

// Lookup returns the top-level command called name in any case, or nil when the table does not have it: such a
// command must be treated as a write on a connection of its own. It does not allocate.
func (t *Table) Lookup(name []byte) *Command { return t.top.find(name) }

// LookupString is Lookup for a string, and finds subcommands by their full name, such as "client|list", too.
func (t *Table) LookupString(name string) *Command {
	container, sub, isSub := strings.Cut(name, "|")
	c := t.top.find([]byte(container))
	if c != nil && isSub {
		return c.Sub([]byte(sub))
	}
	return c
}

// Resolve returns the subcommand sub of the command name when there is one, else the command itself, or nil when the
// table does not have it. sub is the command's first argument, or nil. It does not allocate.
func (t *Table) Resolve(name, sub []byte) *Command {
	c := t.top.find(name)
	if c == nil || len(c.subs) == 0 {
		return c
	}
	if s := c.subIndex.find(sub); s != nil {
		return s
	}
	return c
}

// All yields every command in the order of names, subcommands behind their container.
func (t *Table) All() iter.Seq[*Command] { return slices.Values(t.byName) }

// ByID returns the command with this ID, which must be at least 0 and less than Len.
func (t *Table) ByID(id int) *Command { return t.byID[id] }

// Len returns the number of commands, subcommands included.
func (t *Table) Len() int { return len(t.byID) }
