package cli

import (
	"context"
	"io"
	"log/slog"

	urfave "github.com/urfave/cli/v3"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/app"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
)

func serveCommand(streams Streams) *urfave.Command {
	return &urfave.Command{
		Name:  "serve",
		Usage: "run the proxy",
		Description: "Serves until SIGTERM or SIGINT, then answers what it has accepted and ends;\n" +
			"a second signal ends it at once. The log goes to standard error.",
		Flags: []urfave.Flag{configFlag()},
		Action: func(ctx context.Context, cmd *urfave.Command) error {
			path, err := configPath(cmd)
			if err != nil {
				return err
			}
			cfg, warnings, err := config.Load(path)
			if err != nil {
				warn(streams.Err, warnings)
				return err
			}
			logger := newLogger(streams.Err, cfg.Log)
			for _, w := range warnings {
				logger.Warn(w.Text, "file", w.File, "line", w.Line, "key", w.Path)
			}
			return app.Run(ctx, cfg, logger, app.Options{ConfigPath: path, Version: readBuildInfo().Version})
		},
	}
}

// newLogger returns the program's log, written to w as cfg says.
func newLogger(w io.Writer, cfg config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level.Level()}
	if cfg.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
