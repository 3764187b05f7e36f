package differential

import (
	"fmt"
	"strconv"
	"strings"
)

// Command is one command of a sequence.
type Command struct {
	Args []string
	// Raw, when not empty, is sent instead of the RESP form of Args: an inline command, or what is no command.
	Raw string
}

// Name is the command's name in upper case.
func (c *Command) Name() string {
	if len(c.Args) == 0 {
		return ""
	}
	return strings.ToUpper(c.Args[0])
}

// Sub is the first argument in upper case, empty if there is none.
func (c *Command) Sub() string {
	if len(c.Args) < 2 {
		return ""
	}
	return strings.ToUpper(c.Args[1])
}

// ignored tells what is no command and has no reply: an empty line, an array without elements.
func (c *Command) ignored() bool {
	return c.Raw == "\r\n" || c.Raw == "*0\r\n" || c.Raw == "*-1\r\n"
}

// append adds the command as it is sent.
func (c *Command) append(b []byte) []byte {
	if c.Raw != "" {
		return append(b, c.Raw...)
	}
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(len(c.Args)), 10)
	b = append(b, "\r\n"...)
	for _, a := range c.Args {
		b = append(b, '$')
		b = strconv.AppendInt(b, int64(len(a)), 10)
		b = append(b, "\r\n"...)
		b = append(b, a...)
		b = append(b, "\r\n"...)
	}
	return b
}

// Step is a pipeline: commands that one connection sends in one write, and whose replies are awaited before the next
// step begins, unless one blocks.
type Step struct {
	// Conn is the connection, from 0. One that is not open is opened first.
	Conn int
	Cmds []Command
	// Close closes the connection instead, as a client that leaves does.
	Close bool
	// Pieces is into how many writes the pipeline is cut; 0 and 1 are one.
	Pieces int
}

// Sequence is what runs on both sides.
type Sequence []Step

// Commands is the number of commands.
func (s Sequence) Commands() int {
	n := 0
	for _, step := range s {
		n += len(step.Cmds)
	}
	return n
}

// String writes the sequence in the notation that Parse reads: a line for each command,
//
//	a: GET k         connection a, a new pipeline
//	a+ GET k         the same pipeline goes on
//	a~ "PING\r\n"    sent as it stands, a new pipeline; a& goes on with one
//	a%3 GET k        a new pipeline that is cut into 3 writes
//	a/               the connection is closed
//
// Arguments are bare words, or quoted as in Go; @1000 is a text of 1000 bytes. Empty lines and those that begin with # say
// nothing.
func (s Sequence) String() string {
	var b strings.Builder
	for _, step := range s {
		name := string(rune('a' + step.Conn))
		if step.Close {
			b.WriteString(name + "/\n")
			continue
		}
		for i, c := range step.Cmds {
			mark := ":"
			switch {
			case c.Raw != "" && i > 0:
				mark = "&"
			case c.Raw != "":
				mark = "~"
			case i > 0:
				mark = "+"
			case step.Pieces > 1:
				mark = "%" + strconv.Itoa(step.Pieces)
			}
			b.WriteString(name + mark + " " + c.String() + "\n")
		}
	}
	return b.String()
}

func (c Command) String() string {
	if c.Raw != "" {
		return strconv.Quote(c.Raw)
	}
	words := make([]string, len(c.Args))
	for i, a := range c.Args {
		words[i] = quoteArg(a)
	}
	return strings.Join(words, " ")
}

// quoteFrom is the length from which a filler is written as @length.
const quoteFrom = 64

func quoteArg(a string) string {
	if len(a) >= quoteFrom && a == filler(len(a)) {
		return "@" + strconv.Itoa(len(a))
	}
	if a == "" || a[0] == '@' {
		return strconv.Quote(a)
	}
	for i := range len(a) {
		if a[i] <= ' ' || a[i] > '~' || a[i] == '"' || a[i] == '\\' || a[i] == '`' {
			return strconv.Quote(a)
		}
	}
	return a
}

// filler is a text of n bytes in which no two neighbouring kilobytes are alike, so that bytes out of place show.
func filler(n int) string {
	b := make([]byte, 0, n+8)
	for i := 0; len(b) < n; i++ {
		b = strconv.AppendInt(b, int64(i), 36)
		b = append(b, '.')
	}
	return string(b[:n])
}

// Parse reads what String writes.
func Parse(text string) (Sequence, error) {
	var s Sequence
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := s.parseLine(line); err != nil {
			return nil, fmt.Errorf("line %d: %w: %s", number, err, line)
		}
	}
	return s, nil
}

func (s *Sequence) parseLine(line string) error {
	if len(line) < 2 || line[0] < 'a' || line[0] > 'z' {
		return fmt.Errorf("a line begins with a connection's letter and one of : + ~ & %% /")
	}
	step := Step{Conn: int(line[0] - 'a')}
	mark, rest := line[1], line[2:]
	if mark == '/' {
		step.Close = true
		*s = append(*s, step)
		return nil
	}
	if mark == '%' {
		count, after, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(count)
		if err != nil {
			return fmt.Errorf("the number of pieces: %w", err)
		}
		step.Pieces, rest, mark = n, after, ':'
	}
	args, err := splitArgs(rest)
	if err != nil {
		return err
	}
	c := Command{Args: args}
	if mark == '~' || mark == '&' {
		if len(args) != 1 {
			return fmt.Errorf("one quoted text is sent as it stands")
		}
		c = Command{Raw: args[0], Args: strings.Fields(args[0])}
	}
	if mark == ':' || mark == '~' {
		step.Cmds = []Command{c}
		*s = append(*s, step)
		return nil
	}
	if len(*s) == 0 || (*s)[len(*s)-1].Conn != step.Conn || (*s)[len(*s)-1].Close {
		return fmt.Errorf("there is no pipeline to go on with")
	}
	last := &(*s)[len(*s)-1]
	last.Cmds = append(last.Cmds, c)
	return nil
}

func splitArgs(line string) ([]string, error) {
	var args []string
	for {
		line = strings.TrimLeft(line, " ")
		if line == "" {
			return args, nil
		}
		var word string
		switch line[0] {
		case '"', '`':
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("a quoted argument: %w", err)
			}
			if word, err = strconv.Unquote(quoted); err != nil {
				return nil, fmt.Errorf("a quoted argument: %w", err)
			}
			line = line[len(quoted):]
		case '@':
			count, after, _ := strings.Cut(line[1:], " ")
			n, err := strconv.Atoi(count)
			if err != nil {
				return nil, fmt.Errorf("the length of a text: %w", err)
			}
			word, line = filler(n), after
		default:
			word, line, _ = strings.Cut(line, " ")
		}
		args = append(args, word)
	}
}
