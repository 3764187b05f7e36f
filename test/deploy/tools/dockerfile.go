package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// stage is what the tests look at in a stage of a Dockerfile.
type stage struct {
	Base         string         `json:"base"`
	Name         string         `json:"name"`
	Instructions []*instruction `json:"instructions"`
}

type instruction struct {
	Name string `json:"name"`
	Line string `json:"line"` // as it is written
}

// printDockerfile reads a Dockerfile with BuildKit's own parser and checks.
func printDockerfile(path string, out io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var problems []error
	for _, w := range parsed.Warnings {
		problems = append(problems, fmt.Errorf("%s: %s", path, w.Short))
	}
	rules := linter.New(&linter.Config{Warn: func(rule, description, _, message string, at []parser.Range) {
		line := 0
		if len(at) > 0 {
			line = at[0].Start.Line
		}
		problems = append(problems, fmt.Errorf("%s:%d: %s: %s (%s)", path, line, rule, message, description))
	}})
	stages, _, err := instructions.Parse(parsed.AST, rules)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	var found []stage
	for _, s := range stages {
		f := stage{Base: s.BaseName, Name: s.Name}
		for _, c := range s.Commands {
			line := c.Name()
			if text, ok := c.(fmt.Stringer); ok {
				line = text.String()
			}
			f.Instructions = append(f.Instructions, &instruction{Name: c.Name(), Line: line})
		}
		found = append(found, f)
	}
	return json.NewEncoder(out).Encode(found)
}
