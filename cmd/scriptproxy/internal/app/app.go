// Package app runs the proxy.
package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
)

// Options are what Run needs beside the configuration.
type Options struct {
	ConfigPath string               // the file of the configuration, for reloads
	Version    string               // of the program
	Ready      func(addrs []string) // called when clients are accepted, may be nil
}

// Run serves until ctx is cancelled.
func Run(context.Context, *config.Config, *slog.Logger, Options) error {
	return errors.New("this build has no proxy")
}
