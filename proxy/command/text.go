package command

import (
	"fmt"
	"strconv"
	"strings"
)

// The embedded files have one command a line, subcommands behind their container, with six fields:
//
//	name  arity  flags  categories  firstkey,lastkey,step  keyspec;keyspec…
//
// An empty field is a minus sign. A key spec is flags:begin:find, where begin is an index, or KEYWORD>startfrom, or a
// question mark, and find is lastkey/step/limit, or #keynumidx/firstkey/step, or a question mark. Empty lines and
// lines that begin with # say nothing.

// readText adds the commands of a file to cmds, which maps the names of top-level commands. A line for a command that
// is there already is an error, as is anything else that is not as it should be.
func readText(file, text string, cmds map[string]*Command) error {
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		c, err := parseLine(line)
		if err == nil {
			err = addTo(cmds, c)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", file, number, err)
		}
	}
	return nil
}

func addTo(cmds map[string]*Command, c *Command) error {
	container, _, isSub := strings.Cut(c.Name, "|")
	if !isSub {
		if cmds[c.Name] != nil {
			return fmt.Errorf("%s is there twice", c.Name)
		}
		cmds[c.Name] = c
		return nil
	}
	parent := cmds[container]
	if parent == nil {
		return fmt.Errorf("%s comes before its container %s", c.Name, container)
	}
	for _, s := range parent.subs {
		if s.Name == c.Name {
			return fmt.Errorf("%s is there twice", c.Name)
		}
	}
	parent.subs = append(parent.subs, c)
	return nil
}

func parseLine(line string) (*Command, error) {
	fields := strings.Fields(line)
	if len(fields) != 6 {
		return nil, fmt.Errorf("%d fields instead of 6", len(fields))
	}
	arity, err := strconv.Atoi(fields[1])
	if err != nil {
		return nil, fmt.Errorf("arity: %w", err)
	}
	c := &Command{Name: strings.ToUpper(fields[0]), ID: -1, Arity: arity, Categories: list(fields[3], ",")}
	for _, name := range list(fields[2], ",") {
		flag := parseFlag(name)
		if flag == 0 {
			return nil, fmt.Errorf("unknown flag %q", name)
		}
		c.Flags |= flag
	}
	if fields[4] != "-" {
		if err := numbers(fields[4], ",", &c.FirstKey, &c.LastKey, &c.Step); err != nil {
			return nil, fmt.Errorf("key range: %w", err)
		}
	}
	for _, text := range list(fields[5], ";") {
		spec, err := parseSpec(text)
		if err != nil {
			return nil, fmt.Errorf("key spec %q: %w", text, err)
		}
		c.KeySpecs = append(c.KeySpecs, spec)
	}
	return c, nil
}

func parseSpec(text string) (s KeySpec, err error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return s, fmt.Errorf("%d parts instead of 3", len(parts))
	}
	for _, name := range list(parts[0], ",") {
		flag := parseKeyFlag(name)
		if flag == 0 {
			return s, fmt.Errorf("unknown flag %q", name)
		}
		s.Flags |= flag
	}
	keyword, pos, isKeyword := strings.Cut(parts[1], ">")
	switch {
	case parts[1] == "?":
	case isKeyword:
		s.Begin, s.Keyword = BeginKeyword, keyword
		err = numbers(pos, "/", &s.Pos)
	default:
		s.Begin = BeginIndex
		err = numbers(parts[1], "/", &s.Pos)
	}
	if err != nil {
		return s, err
	}
	keynum, isKeyNum := strings.CutPrefix(parts[2], "#")
	switch {
	case parts[2] == "?":
	case isKeyNum:
		s.Find = FindKeyNum
		err = numbers(keynum, "/", &s.KeyNumIdx, &s.FirstKey, &s.Step)
	default:
		s.Find = FindRange
		err = numbers(parts[2], "/", &s.LastKey, &s.Step, &s.Limit)
	}
	return s, err
}

func list(field, sep string) []string {
	if field == "-" || field == "" {
		return nil
	}
	return strings.Split(field, sep)
}

func numbers(text, sep string, into ...*int) error {
	parts := strings.Split(text, sep)
	if len(parts) != len(into) {
		return fmt.Errorf("%q has %d numbers instead of %d", text, len(parts), len(into))
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil {
			return err
		}
		*into[i] = n
	}
	return nil
}
