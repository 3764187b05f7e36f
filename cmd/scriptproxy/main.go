//go:build linux

// Command scriptproxy is a transparent proxy for Redis that enforces policy on
// Lua scripts.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(cli.Main(ctx, os.Args, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
