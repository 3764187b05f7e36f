package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"sigs.k8s.io/yaml"
)

// printJSON writes each YAML document of a file, or of standard input, as one line of JSON. Keys that are given twice are
// errors; documents without content are left out.
func printJSON(path string, out io.Writer) error {
	text, err := readAll(path)
	if err != nil {
		return err
	}
	for i, document := range documents(text) {
		line, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return fmt.Errorf("%s: document %d: %w", path, i+1, err)
		}
		if string(line) != "null" {
			fmt.Fprintf(out, "%s\n", line)
		}
	}
	return nil
}

// documents splits a YAML stream at the lines that begin with three hyphens.
func documents(text []byte) [][]byte {
	return bytes.Split(append([]byte("\n"), text...), []byte("\n---"))
}

// printYAML writes each line of JSON of a file, or of standard input, as a YAML document.
func printYAML(path string, out io.Writer) error {
	text, err := readAll(path)
	if err != nil {
		return err
	}
	separator := ""
	for line := range bytes.Lines(text) {
		document, err := yaml.JSONToYAML(line)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fmt.Fprintf(out, "%s%s", separator, document)
		separator = "---\n"
	}
	return nil
}

func readAll(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(path)
}
