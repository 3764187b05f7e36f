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
	var text []byte
	var err error
	if path == "-" {
		text, err = io.ReadAll(os.Stdin)
	} else {
		text, err = os.ReadFile(path)
	}
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
