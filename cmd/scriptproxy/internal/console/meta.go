package console

import (
	"fmt"
	"strings"

	"github.com/tidwall/redcon"
)

func runHelp(s *session, c redcon.Conn, args []string) {
	if len(args) > 0 {
		cmd := s.srv.byName[strings.ToUpper(args[0])]
		if cmd == nil {
			usageError(c, fmt.Errorf("there is no command %q; HELP lists them", clip(args[0])))
			return
		}
		c.WriteArray(2)
		c.WriteString(cmd.usage())
		c.WriteString("  " + cmd.summary)
		return
	}
	c.WriteArray(2 * len(s.srv.commands))
	for _, cmd := range s.srv.commands {
		c.WriteString(cmd.usage())
		c.WriteString("    " + cmd.summary)
	}
}

// runCommand answers as Redis does, so that redis-cli completes the commands:
// redis-cli before 7.2 asks COMMAND, later ones COMMAND DOCS.
func runCommand(s *session, c redcon.Conn, args []string) {
	all := s.srv.commands
	if len(args) == 0 {
		c.WriteArray(len(all))
		for _, cmd := range all {
			writeInfo(c, cmd)
		}
		return
	}
	named := all
	if len(args) > 1 {
		named = nil
		for _, name := range args[1:] {
			named = append(named, s.srv.byName[strings.ToUpper(name)])
		}
	}
	switch strings.ToUpper(args[0]) {
	case "COUNT":
		c.WriteInt(len(all))
	case "LIST":
		c.WriteArray(len(all))
		for _, cmd := range all {
			c.WriteBulkString(strings.ToLower(cmd.name))
		}
	case "INFO":
		c.WriteArray(len(named))
		for _, cmd := range named {
			if cmd == nil {
				c.WriteNull()
			} else {
				writeInfo(c, cmd)
			}
		}
	case "DOCS":
		known := named[:0:0]
		for _, cmd := range named {
			if cmd != nil {
				known = append(known, cmd)
			}
		}
		c.WriteArray(2 * len(known))
		for _, cmd := range known {
			writeDocs(c, cmd)
		}
	default:
		usageError(c, fmt.Errorf("unknown subcommand %q; use: %s", clip(args[0]), s.srv.byName["COMMAND"].usage()))
	}
}

// writeInfo answers name, arity, flags, first key, last key, step, categories,
// tips, key specifications and subcommands.
func writeInfo(c redcon.Conn, cmd *command) {
	c.WriteArray(10)
	c.WriteBulkString(strings.ToLower(cmd.name))
	c.WriteInt(cmd.arity)
	c.WriteArray(1)
	flag := "readonly"
	if cmd.needs == mayAll {
		flag = "write"
	}
	c.WriteString(flag)
	for range 3 {
		c.WriteInt(0)
	}
	for range 4 {
		c.WriteArray(0)
	}
}

func writeDocs(c redcon.Conn, cmd *command) {
	c.WriteBulkString(strings.ToLower(cmd.name))
	arguments := strings.Fields(cmd.params)
	c.WriteArray(6 + 2*min(1, len(arguments)))
	for _, pair := range [][2]string{{"summary", cmd.summary}, {"since", "1.0.0"}, {"group", "scripting"}} {
		c.WriteBulkString(pair[0])
		c.WriteBulkString(pair[1])
	}
	if len(arguments) == 0 {
		return
	}
	c.WriteBulkString("arguments")
	c.WriteArray(1)
	c.WriteArray(6)
	for _, pair := range [][2]string{{"name", cmd.params}, {"type", "string"}, {"display_text", cmd.params}} {
		c.WriteBulkString(pair[0])
		c.WriteBulkString(pair[1])
	}
}

func runAuth(s *session, c redcon.Conn, args []string) {
	if len(args) > 2 {
		usageError(c, fmt.Errorf("use: %s", s.srv.byName["AUTH"].usage()))
		return
	}
	o := &s.srv.opts
	switch {
	case s.auth(args[len(args)-1]):
		c.WriteString("OK")
	case o.ReadToken == "" && o.AdminToken == "":
		c.WriteError("ERR AUTH called, and the configuration has no admin.tokens: everybody who reaches the console may do everything")
	default:
		c.WriteError("WRONGPASS this is none of admin.tokens")
	}
}

func runHello(s *session, c redcon.Conn, args []string) {
	if len(args) > 0 && args[0] != "2" {
		c.WriteError("NOPROTO this console speaks RESP2")
		return
	}
	for rest := args[min(1, len(args)):]; len(rest) > 0; {
		switch word := strings.ToUpper(rest[0]); {
		case word == "AUTH" && len(rest) >= 3:
			if !s.auth(rest[2]) {
				c.WriteError("WRONGPASS this is none of admin.tokens")
				return
			}
			rest = rest[3:]
		case word == "SETNAME" && len(rest) >= 2:
			s.name = clean(clip(rest[1]))
			rest = rest[2:]
		default:
			usageError(c, fmt.Errorf("use: %s", s.srv.byName["HELLO"].usage()))
			return
		}
	}
	pairs := []string{"server", "scriptproxy", "version", s.srv.opts.Version, "mode", "console"}
	c.WriteArray(len(pairs) + 2)
	for _, p := range pairs {
		c.WriteBulkString(p)
	}
	c.WriteBulkString("proto")
	c.WriteInt(2)
}

func runClient(s *session, c redcon.Conn, args []string) {
	switch sub := strings.ToUpper(args[0]); {
	case sub == "SETNAME" && len(args) == 2:
		s.name = clean(clip(args[1]))
		c.WriteString("OK")
	case sub == "GETNAME" && len(args) == 1:
		c.WriteBulkString(s.name)
	case sub == "SETINFO" && len(args) == 3:
		c.WriteString("OK")
	default:
		usageError(c, fmt.Errorf("use: %s", s.srv.byName["CLIENT"].usage()))
	}
}

func runPing(_ *session, c redcon.Conn, args []string) {
	if len(args) > 0 {
		c.WriteBulkString(args[0])
		return
	}
	c.WriteString("PONG")
}

func runQuit(_ *session, c redcon.Conn, _ []string) {
	c.WriteString("OK")
	_ = c.Close() // after the reply
}
