// Command gendoc writes the reference of all metrics.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"

	"github.com/scriptproxy/scriptproxy/metrics"
)

func main() {
	out := flag.String("o", "docs/metrics.md", "file to write")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "gendoc: error:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	var b bytes.Buffer
	if err := metrics.WriteReference(&b); err != nil {
		return err
	}
	return os.WriteFile(out, b.Bytes(), 0o644)
}
