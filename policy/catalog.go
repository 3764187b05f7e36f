package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Class says what a call may do to the data.
type Class uint8

// The zero value is ClassWrite: what is not known otherwise is a write.
const (
	ClassWrite Class = iota
	ClassRead
	ClassAdmin
	ClassScript // SCRIPT and FUNCTION commands; a script call itself is read or write
	numClasses
)

var classNames = [numClasses]string{"write", "read", "admin", "script"}

// ParseClass reads read, write, admin or script.
func ParseClass(text string) (Class, error) {
	for i, name := range classNames {
		if text == name {
			return Class(i), nil
		}
	}
	return 0, fmt.Errorf("unknown class '%s': use read, write, admin or script", text)
}

func (c Class) String() string { return classNames[c] }

// Level is how bad a lint finding is.
type Level uint8

const (
	Note Level = iota
	Warning
	Error
)

var levelNames = [...]string{"note", "warning", "error"}

func (l Level) String() string { return levelNames[l] }

// parseLevel reads note, warning or error.
func parseLevel(text string) (Level, bool) {
	for i, name := range levelNames {
		if text == name {
			return Level(i), true
		}
	}
	return 0, false
}

// Finding is what the static analysis holds against a script.
type Finding struct {
	ID    string
	Level Level
}

// Script is what rules can know of one version of a script, beforehand.
type Script struct {
	Name     string // empty when it is not registered
	Version  string
	SHA      string // 40 lowercase hex digits; may be empty for functions
	Function string // the function's name when it is called by FCALL
	Tags     []string
	Commands []string // used inside, in any case, subcommands as config|set; nil when it was not analysed
	Findings []Finding
}

// Command is a command of the server.
type Command struct {
	Name       string   // in any case, subcommands as config|set
	Categories []string // the server's ACL categories, in any case and without the @
}

// Catalog describes everything that a policy can speak of. The order of Scripts and Listeners is the
// caller's; Request refers to both by index. An empty list of Commands, Listeners or Findings means that
// they are not known, and that names in rules cannot be checked against them.
type Catalog struct {
	Scripts   []Script  // one entry for each version of each registered script
	Commands  []Command // containers and their subcommands
	Listeners []string
	Findings  []Finding // every lint rule there is, with its level
}

// ScriptRef is an index into Catalog.Scripts, or Unregistered.
type ScriptRef int32

// Unregistered is the ScriptRef of every script that the catalog does not hold.
const Unregistered ScriptRef = -1

// CommandName joins a command and its subcommand as the catalog and the rules write them: lower case,
// "config|set". sub may be empty.
func CommandName(name, sub string) string {
	if sub == "" {
		return strings.ToLower(name)
	}
	return strings.ToLower(name + "|" + sub)
}

// folded returns the catalog with commands, categories and shas in lower case, as rules are compared with
// them. What needs no change is shared.
func (c Catalog) folded() Catalog {
	c.Scripts, c.Commands = slices.Clone(c.Scripts), slices.Clone(c.Commands)
	for i := range c.Scripts {
		c.Scripts[i] = c.Scripts[i].folded()
	}
	for i := range c.Commands {
		c.Commands[i].Name = strings.ToLower(c.Commands[i].Name)
		c.Commands[i].Categories = lower(c.Commands[i].Categories)
	}
	return c
}

func (s Script) folded() Script {
	s.SHA, s.Commands = strings.ToLower(s.SHA), lower(s.Commands)
	return s
}
