// Command tools is what the tests of deploy/ need beside Debian's packages and the programs that go.mod names as tools (helm,
// kustomize, kubeconform). It is a module of its own, so that none of this is a dependency of scriptproxy.
//
//	tools json FILE|-             each YAML document of a file as one line of JSON
//	tools yaml FILE|-             each line of JSON as a YAML document
//	tools selectors EXPR          the vector selectors of a PromQL expression, without ranges and offsets, one a line
//	tools schemas DIR             JSON schemas of Kubernetes and of Prometheus's operator, for kubeconform
//	tools dockerfile FILE         a Dockerfile as BuildKit understands it, as JSON; fails on errors and on BuildKit's warnings
//	tools context FILE            the files of the present directory that a build with this Dockerfile gets
//	tools compose FILE            a compose file as docker compose understands it, as JSON
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tools: error:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: tools json|yaml|selectors|schemas|dockerfile|context|compose ARGUMENT")
	}
	commands := map[string]func(string, io.Writer) error{
		"json":       printJSON,
		"yaml":       printYAML,
		"selectors":  printSelectors,
		"schemas":    writeSchemas,
		"dockerfile": printDockerfile,
		"context":    printContext,
		"compose":    printCompose,
	}
	command, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("there is no command %q", args[0])
	}
	return command(args[1], out)
}
