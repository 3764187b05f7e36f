package command

import "slices"

// Merge returns the table that a server's COMMAND reply makes of t. Commands that the server has are as newer has
// them; those of t that it lacks stay, marked Absent, so that they are still classed when they are passed on for the
// server's own error. Commands keep the IDs they have in t, and new ones get IDs behind them: merge into the table in
// use, starting from Embedded(), and counters indexed by ID stay right. Neither t nor newer changes.
func (t *Table) Merge(newer *Table) *Table {
	return newTable(mergeAll(t.topLevel(), newer.topLevel()))
}

func (t *Table) topLevel() []*Command {
	var top []*Command
	for i := 0; i < len(t.byName); i += 1 + len(t.byName[i].subs) {
		top = append(top, t.byName[i])
	}
	return top
}

// unlisted is the command that Redis before 7.0 has and does not list (server.c, processCommand).
const unlisted = "QUIT"

// mergeAll returns unfinished copies of the union of two lists of commands or of subcommands.
func mergeAll(ours, theirs []*Command) []*Command {
	merged := make([]*Command, 0, max(len(ours), len(theirs)))
	theirsByName := make(map[string]*Command, len(theirs))
	for _, c := range theirs {
		theirsByName[c.Name] = c
	}
	for _, our := range ours {
		their, ok := theirsByName[our.Name]
		if !ok {
			their = our
		}
		c := their.copyFor(our.ID)
		c.Absent = c.Absent || !ok && our.Name != unlisted
		c.subs = mergeAll(our.subs, theirsOf(their, ok))
		merged = append(merged, c)
		delete(theirsByName, our.Name)
	}
	for _, their := range theirs {
		if theirsByName[their.Name] == nil {
			continue
		}
		c := their.copyFor(-1)
		c.subs = mergeAll(nil, their.subs)
		merged = append(merged, c)
	}
	return merged
}

func theirsOf(their *Command, ok bool) []*Command {
	if !ok {
		return nil
	}
	return their.subs
}

// copyFor returns an unfinished copy of c, without its subcommands, for a table in which it has the given ID.
func (c *Command) copyFor(id int) *Command {
	return &Command{
		Name: c.Name, ID: id, Arity: c.Arity, Flags: c.Flags, Absent: c.Absent,
		Categories: slices.Clone(c.Categories), KeySpecs: slices.Clone(c.KeySpecs),
		FirstKey: c.FirstKey, LastKey: c.LastKey, Step: c.Step,
	}
}
