package console

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/redcon"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/api"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/operate"
	"github.com/scriptproxy/scriptproxy/policy/registry"
)

// command is one command of the console.
type command struct {
	name    string
	arity   int    // as in COMMAND: with the name; negative: at least
	params  string // as redis-cli shows them
	needs   rights
	summary string
	run     func(s *session, c redcon.Conn, args []string)
}

func (c *command) arityOK(n int) bool { return n == c.arity || c.arity < 0 && n >= -c.arity }

func (c *command) usage() string { return strings.TrimSpace(c.name + " " + c.params) }

// commands are all there are, in the order in which HELP lists them. It is filled
// by init, since HELP and COMMAND refer to it.
var commands []*command

func init() {
	const options = "[FORCE] [IF revision] [WHY text]"
	commands = []*command{
		{"SCRIPTS", -1, "[tag ...]", mayRead, "list the scripts, or those with all the tags", runScripts},
		{"SHOW", -2, "name [version]", mayRead, "show a script and its versions, or the body of a version", runShow},
		{"LOAD", -4, "name version|* [CLASS auto|read|write] [IF revision] [WHY text] body", mayAll, "add a version, which nothing runs until it is activated", runLoad},
		{"ACTIVATE", -3, "name version " + options, mayAll, "make a version the active one, on every proxy", runActivate},
		{"ROLLBACK", -2, "name [version] " + options, mayAll, "take the latest change back: end a canary, or make the version before active", runRollback},
		{"CANARY", -3, "name version percent [BY key|client] " + options + " | name PROMOTE | name ABORT", mayAll, "send a share of the calls to a version, make it the active one, or end it", runCanary},
		{"AUDIT", -1, "[count]", mayRead, "list the latest changes", runAudit},
		{"WAIT", -1, "[revision] [milliseconds]", mayRead, "wait until every proxy of the fleet serves a revision", runWait},
		{"HELP", -1, "[command]", mayNothing, "explain the commands", runHelp},
		{"COMMAND", -1, "[COUNT | LIST | INFO [name ...] | DOCS [name ...]]", mayNothing, "describe the commands to programs", runCommand},
		{"AUTH", -2, "[user] token", mayNothing, "say one of the tokens of the configuration", runAuth},
		{"HELLO", -1, "[2 [AUTH user token] [SETNAME name]]", mayNothing, "say which protocol is spoken", runHello},
		{"CLIENT", -2, "SETNAME name | SETINFO attribute value | GETNAME", mayNothing, "name this connection, for the audit log", runClient},
		{"PING", -1, "[message]", mayNothing, "answer", runPing},
		{"QUIT", -1, "", mayNothing, "end the connection", runQuit},
	}
}

// opTime bounds one operation.
const opTime = 30 * time.Second

// options are the trailing words of a change: FORCE, IF revision, WHY text, and
// those in extra, each with one value.
func (s *session) options(args []string, extra map[string]*string) (registry.Op, error) {
	op := registry.Op{Who: s.who()}
	for len(args) > 0 {
		word := strings.ToUpper(args[0])
		if word == "FORCE" {
			op.Force = true
			args = args[1:]
			continue
		}
		into, known := extra[word]
		if word != "IF" && word != "WHY" && !known {
			return op, fmt.Errorf("%q is not expected here", clip(args[0]))
		}
		if len(args) < 2 {
			return op, fmt.Errorf("%s needs a value", word)
		}
		switch value := args[1]; word {
		case "IF":
			n, err := strconv.ParseUint(value, 10, 64)
			if err != nil || n == 0 {
				return op, fmt.Errorf("IF %s: give a revision, a whole number", clip(value))
			}
			op.IfRevision = n
		case "WHY":
			op.Why = value
		default:
			*into = value
		}
		args = args[2:]
	}
	return op, nil
}

// change runs an operation and answers what it did.
func (s *session) change(c redcon.Conn, do func(ctx context.Context, d *operate.Desk) (*api.Result, error)) {
	ctx, cancel := context.WithTimeout(context.Background(), opTime)
	defer cancel()
	r, err := do(ctx, s.srv.opts.Desk)
	if err != nil {
		writeError(c, err)
		return
	}
	text := describe(r)
	for _, w := range r.Warnings {
		text += "; warning: " + w
	}
	c.WriteString(clean(text))
}

// describe says what a change did, in one line.
func describe(r *api.Result) string {
	if r.Unchanged {
		return fmt.Sprintf("unchanged at revision %d", r.Revision)
	}
	c := r.Change
	text := fmt.Sprintf("%s %s", c.Name, c.Action)
	switch {
	case c.From != "" && c.To != "":
		text += fmt.Sprintf(": %s -> %s", c.From, c.To)
	case c.To != "":
		text += ": " + c.To
	case c.From != "":
		text += ": " + c.From
	}
	if c.Note != "" {
		text += ", " + c.Note
	}
	return fmt.Sprintf("%s, revision %d", text, c.Revision)
}

// codes are the first words of errors.
var codes = map[string]string{
	api.CodeConflict: "CONFLICT", api.CodeNotFound: "NOTFOUND", api.CodeInvalid: "INVALID", api.CodeContract: "CONTRACT",
	api.CodeNotLoaded: "NOTLOADED", api.CodeUnavailable: "UNAVAILABLE", api.CodeTimeout: "TIMEOUT", api.CodeBroken: "BROKEN",
}

func writeError(c redcon.Conn, err error) {
	e := operate.Explain(err)
	code := codes[e.Code]
	if code == "" {
		code = "ERR"
	}
	c.WriteError(code + " " + clean(e.Message))
}

func usageError(c redcon.Conn, err error) { c.WriteError("ERR " + clean(err.Error())) }

func runLoad(s *session, c redcon.Conn, args []string) {
	var class string
	body := []byte(args[len(args)-1])
	op, err := s.options(args[2:len(args)-1], map[string]*string{"CLASS": &class})
	if err != nil {
		usageError(c, err)
		return
	}
	l := registry.Load{Name: args[0], Version: args[1], Body: body, Kind: operate.KindOf(body)}
	if l.Version == "*" {
		l.Version = ""
	}
	if err := l.Class.UnmarshalText([]byte(strings.ToLower(class))); err != nil {
		usageError(c, err)
		return
	}
	s.change(c, func(ctx context.Context, d *operate.Desk) (*api.Result, error) { return d.Load(ctx, op, l) })
}

func runActivate(s *session, c redcon.Conn, args []string) {
	op, err := s.options(args[2:], nil)
	if err != nil {
		usageError(c, err)
		return
	}
	s.change(c, func(ctx context.Context, d *operate.Desk) (*api.Result, error) {
		return d.Activate(ctx, op, args[0], args[1])
	})
}

func runRollback(s *session, c redcon.Conn, args []string) {
	name, to, rest := args[0], "", args[1:]
	if len(rest) > 0 && !isOption(rest[0]) {
		to, rest = rest[0], rest[1:]
	}
	op, err := s.options(rest, nil)
	if err != nil {
		usageError(c, err)
		return
	}
	s.change(c, func(ctx context.Context, d *operate.Desk) (*api.Result, error) { return d.Rollback(ctx, op, name, to) })
}

// isOption tells an option from a version: options are in capitals here, because a
// version may be called "force".
func isOption(word string) bool { return word == "FORCE" || word == "IF" || word == "WHY" }

func runCanary(s *session, c redcon.Conn, args []string) {
	name := args[0]
	end := map[string]func(ctx context.Context, d *operate.Desk, op registry.Op) (*api.Result, error){
		"PROMOTE": func(ctx context.Context, d *operate.Desk, op registry.Op) (*api.Result, error) {
			return d.Promote(ctx, op, name)
		},
		"ABORT": func(ctx context.Context, d *operate.Desk, op registry.Op) (*api.Result, error) {
			return d.Abort(ctx, op, name)
		},
	}[strings.ToUpper(args[1])]
	if end != nil && (len(args) == 2 || isOption(args[2])) {
		op, err := s.options(args[2:], nil)
		if err != nil {
			usageError(c, err)
			return
		}
		s.change(c, func(ctx context.Context, d *operate.Desk) (*api.Result, error) { return end(ctx, d, op) })
		return
	}
	if len(args) < 3 {
		usageError(c, fmt.Errorf("the share is missing; use: %s", s.srv.byName["CANARY"].usage()))
		return
	}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(args[2], "%"), 64)
	if err != nil {
		usageError(c, fmt.Errorf("the share is %q; write a percentage such as 5", clip(args[2])))
		return
	}
	var by string
	op, err := s.options(args[3:], map[string]*string{"BY": &by})
	if err != nil {
		usageError(c, err)
		return
	}
	s.change(c, func(ctx context.Context, d *operate.Desk) (*api.Result, error) {
		return d.Canary(ctx, op, name, args[1], percent, strings.ToLower(by))
	})
}
