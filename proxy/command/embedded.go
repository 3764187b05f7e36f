package command

import (
	_ "embed"
	"maps"
	"slices"
	"sync"
)

//go:generate go run ./internal/gen -o commands.txt

// commandsText is what internal/gen wrote from a real server's COMMAND.
//
//go:embed commands.txt
var commandsText string

// supplementText has the commands of newer servers.
//
//go:embed supplement.txt
var supplementText string

// Embedded returns the table that is built into the program: that of the server from which commands.txt was generated,
// and the commands of newer ones. It is built once, on the first call.
func Embedded() *Table { return embedded() }

var embedded = sync.OnceValue(buildEmbedded)

func buildEmbedded() *Table {
	cmds := make(map[string]*Command, 512)
	if err := readText("commands.txt", commandsText, cmds); err != nil {
		panic("command: embedded table: " + err.Error())
	}
	if err := readText("supplement.txt", supplementText, cmds); err != nil {
		panic("command: embedded table: " + err.Error())
	}
	return newTable(slices.Collect(maps.Values(cmds)))
}
