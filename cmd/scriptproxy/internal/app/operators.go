package app

import (
	"crypto/tls"
	"fmt"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/admin"
	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/console"
	"github.com/scriptproxy/scriptproxy/proxy/edge"
)

// openOperators opens the listeners for operators, and returns the addresses
// they listen on.
func (a *App) openOperators() ([]string, error) {
	var addrs []string
	tokens := a.cfg.Admin.Tokens
	if a.cfg.Admin.Listen != "" {
		secure, err := a.adminTLS()
		if err != nil {
			return nil, err
		}
		a.admin = admin.New(admin.Options{
			Metrics: a.metrics, SlowLog: a.slow, Ready: a.ready, Warnings: a.warnings, Reload: a.Reload, Desk: a.desk, Policy: a.policyDesk(),
			ReadToken: tokens.Read.Reveal(), AdminToken: tokens.Admin.Reveal(), TLS: secure, Logger: a.log,
		})
		addr, err := a.admin.Listen(a.cfg.Admin.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", a.cfg.Admin.Listen, err)
		}
		addrs = append(addrs, addr)
	}
	if a.cfg.Console.Listen != "" {
		a.console = console.New(console.Options{
			Desk: a.desk, Version: a.opts.Version, ReadToken: tokens.Read.Reveal(), AdminToken: tokens.Admin.Reveal(), Logger: a.log,
		})
		addr, err := a.console.Listen(a.cfg.Console.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", a.cfg.Console.Listen, err)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// adminTLS is the TLS of the admin listener, whose files may change while it
// runs; nil is none.
func (a *App) adminTLS() (*tls.Config, error) {
	c := a.cfg.Admin.TLS
	if c == nil {
		return nil, nil
	}
	t, err := edge.NewServerTLS(edge.ServerFiles{
		Pairs: certificates(c), ClientCAFile: c.ClientCAFile, MinVersion: c.MinVersion.ID(),
	}, a.log)
	if err != nil {
		return nil, fmt.Errorf("admin.tls: %w", err)
	}
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return t.Config(), nil }}, nil
}
