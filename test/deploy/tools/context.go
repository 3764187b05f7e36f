package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// printContext writes the files of the present directory that a build with this Dockerfile would be sent, one a line: all that
// Dockerfile.dockerignore beside it leaves.
func printContext(dockerfile string, out io.Writer) error {
	file, err := os.Open(dockerfile + ".dockerignore")
	if err != nil {
		return err
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil {
		return fmt.Errorf("%s: %w", file.Name(), err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return fmt.Errorf("%s: %w", file.Name(), err)
	}
	return filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		ignored, err := matcher.MatchesOrParentMatches(path)
		if err == nil && !ignored {
			fmt.Fprintln(out, path)
		}
		return err
	})
}
