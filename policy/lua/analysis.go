// Package lua reads the bodies of Redis scripts without running them: which commands a script calls, whether it can
// write, how many keys and arguments it uses, and what is wrong with it.
//
// The class it gives is safe to route by: Read is said only of a script in which every call of a command was found
// and every such command is a known read. Whatever the analysis does not understand makes the script a Write. It is
// no wall against a malicious author, whom only the server's ACL stops.
//
// Bodies are text from strangers. Analyse never panics and stays inside its limits of time and memory for any input.
package lua

import (
	"fmt"
	"time"
)

// Class says what a script may do to the data set.
type Class uint8

const (
	Auto  Class = iota // nothing declared: the analysis decides
	Read               // no write can happen
	Write              // a write may happen
)

func (c Class) String() string {
	switch c {
	case Read:
		return "read"
	case Write:
		return "write"
	}
	return "auto"
}

// CommandInfo tells what a command does.
type CommandInfo struct {
	Known bool // the table has the command
	Write bool // it may change the data set, or must run on a primary
}

// Commands looks a command up by its upper-case name. For a container (XGROUP, OBJECT, SCRIPT …) sub is the
// upper-case subcommand; else it is empty. It is called from Analyse only, on the caller's goroutine.
type Commands func(name, sub string) CommandInfo

// Options are the circumstances of one analysis. The zero value is usable.
type Options struct {
	Commands      Commands      // nil: the commands of Redis 7.0
	DeclaredClass Class         // what the configuration says of the script
	Name          string        // the script's registered name, if it has one; a hint for some rules
	Timeout       time.Duration // 0: 50 ms
	MaxBytes      int           // longest body that is looked at; 0: 1 MiB
	ClassOnly     bool          // leave out the lint: Findings holds nothing
}

// Contract is what a caller must pass. Min counts only what every run of the script uses, so that a call with fewer
// is surely wrong; the Variable fields say that the number used depends on the call (#KEYS, KEYS[i], unpack(ARGV)).
type Contract struct {
	MinKeys, MinArgs           int
	VariableKeys, VariableArgs bool
}

// Analysis is what was found in one body. It refers to nothing of the body and may be kept.
type Analysis struct {
	Class    Class    // Read or Write, never Auto
	Shebang  bool     // the body begins with #!
	Engine   string   // of the shebang: "lua"
	Library  string   // name= of the shebang: the body is a function library for FUNCTION LOAD
	Flags    []string // flags= of the shebang, as written
	NoWrites bool     // Flags has no-writes: the server itself refuses writes, whatever Class says
	Commands []string // sorted, unique, upper case; a container's as XGROUP|CREATE
	Dynamic  bool     // a command's name, the code itself, or who calls redis.call can't be seen
	Analysed bool     // false: see Why; Class is Write then
	Why      string   // why it could not be analysed

	MaxKey, MaxArg int // highest literal index of KEYS and ARGV; 0 when none
	Contract       Contract

	Findings []Finding // in the order of their positions
}

// Analyse reads a script's body. It never panics, and its cost is bounded: see Options and the limits in limits.go.
// A body that can't be analysed (not Lua 5.1, too large, too deep, out of time) is said to be so, and is a Write.
// It may be called from any goroutine, but is too slow for an event loop: about 0.1 ms for a kilobyte.
func Analyse(body []byte, opt Options) (a *Analysis) {
	a = &Analysis{Class: Write}
	b := newBudget(opt)
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exhausted:
			a.unanalysed(opt, string(r))
		default:
			a.unanalysed(opt, fmt.Sprintf("the analysis failed: %v", r))
		}
	}()
	if len(body) > b.maxBytes {
		a.unanalysed(opt, fmt.Sprintf("the body is %d bytes long, the limit is %d", len(body), b.maxBytes))
		return a
	}
	head := readShebang(body)
	head.describe(a)

	u, err := parseBody(body, head.length, b)
	if err != nil {
		a.unanalysed(opt, err.Error())
		if !opt.ClassOnly {
			a.addSyntax(u, err)
			a.addShebang(head)
		}
		return a
	}
	m := resolve(u, b)
	m.propagate()
	m.trace()
	m.commands = opt.Commands
	if m.commands == nil {
		m.commands = builtinCommands
	}
	m.classify(a)
	m.contract(a)
	a.Analysed = true
	if !opt.ClassOnly {
		lint(m, a, head, opt)
	}
	return a
}

// unanalysed records why nothing more is known of the body than that it may write.
func (a *Analysis) unanalysed(opt Options, why string) {
	a.Class, a.Analysed, a.Why = Write, false, why
	a.Commands, a.Findings, a.Contract, a.MaxKey, a.MaxArg = nil, nil, Contract{}, 0, 0
	a.Dynamic = false
	if !opt.ClassOnly {
		a.addUnanalysed(why)
	}
}
