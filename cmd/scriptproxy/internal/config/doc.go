// Package config reads scriptproxy's configuration file.
//
// Load turns a file into a Config in which everything is resolved: defaults
// filled in, secrets and script bodies read, relative paths made absolute,
// per-script settings inherited. It either succeeds or returns Problems, which
// lists every mistake of the file at once, each with its line:
//
//	config.yaml:12: upstream.primry: unknown key; did you mean "primary"?
//
// A Config is a value to read: nothing in the program changes one after Load,
// and a reload makes a new one. The package is the only importer of a YAML
// library. docs/configuration.md is generated from the comments of the types
// here, so a field's comment is written for operators.
package config
