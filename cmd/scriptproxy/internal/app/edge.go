package app

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/proxy"
	"github.com/scriptproxy/scriptproxy/proxy/edge"
	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// flushTime is how long TLS connections get, when everything else has ended,
// for the last bytes that were written to them.
const flushTime = time.Second

// listenerTLS reads the certificates of the listeners; nil stands for one
// without TLS.
func listenerTLS(listeners []config.Listener, logger *slog.Logger) ([]*edge.ServerTLS, error) {
	all := make([]*edge.ServerTLS, len(listeners))
	for i, l := range listeners {
		if l.TLS == nil {
			continue
		}
		t, err := edge.NewServerTLS(edge.ServerFiles{
			Pairs:        certificates(l.TLS),
			ClientCAFile: l.TLS.ClientCAFile, MinVersion: l.TLS.MinVersion.ID(),
		}, logger.With("listener", l.Name))
		if err != nil {
			return nil, fmt.Errorf("listen[%d].tls: %w", i, err)
		}
		all[i] = t
	}
	return all, nil
}

// certificates are those that a listener shows.
func certificates(t *config.ServerTLS) []edge.Pair {
	var pairs []edge.Pair
	for _, c := range t.All() {
		pairs = append(pairs, edge.Pair(c))
	}
	return pairs
}

// newFronts makes what stands before the listeners that speak more than plain
// RESP; nil stands for one that doesn't.
func (a *App) newFronts(listeners []config.Listener) ([]*edge.Front, error) {
	secured, err := listenerTLS(listeners, a.log)
	if err != nil {
		return nil, err
	}
	fronts := make([]*edge.Front, len(listeners))
	for i, l := range listeners {
		if l.TLS == nil && !l.ProxyProtocol {
			continue
		}
		fronts[i] = edge.NewFront(edge.Options{
			ProxyProtocol: l.ProxyProtocol, TLS: secured[i], Timeout: handshakeTimeout(l), Bridge: &a.bridge,
			Adopt: func(fd int, isUnix bool, addr, laddr string) { a.server.Adopt(fd, i, isUnix, addr, laddr) },
			Full:  a.server.Full, KeepAlive: a.server.KeepAlive, Refused: a.metrics.SessionRejected,
			Logger: a.log.With("listener", l.Name),
		})
	}
	return fronts, nil
}

// handshakeTimeout is 0, the default, for a listener without TLS.
func handshakeTimeout(l config.Listener) time.Duration {
	if l.TLS == nil {
		return 0
	}
	return l.TLS.HandshakeTimeout
}

// accept serves a listener until it is closed.
func (a *App) accept(ln *loop.Listener, i int) {
	if front := a.fronts[i]; front != nil {
		front.Serve(ln)
		return
	}
	a.server.Serve(ln, i)
}

// secure has the listeners that were started go by the certificates of a new
// configuration. secured belongs to next.
func (a *App) secure(next []config.Listener, secured []*edge.ServerTLS) {
	for i, old := range a.listeners {
		k := samePlace(next, i, old.Address)
		if k < 0 {
			continue // only a restart closes a listener
		}
		l := next[k]
		if (l.TLS == nil) != (old.TLS == nil) || l.ProxyProtocol != old.ProxyProtocol {
			a.log.Warn("tls and proxy_protocol are switched on or off by a restart only; the listener stays as it was", "listener", old.Name)
			continue
		}
		if l.TLS != nil {
			a.fronts[i].Secure(secured[k], handshakeTimeout(l))
		}
	}
}

// samePlace finds the listener with an address, the one at i before others.
func samePlace(listeners []config.Listener, i int, address string) int {
	if i < len(listeners) && listeners[i].Address == address {
		return i
	}
	for k := range listeners {
		if listeners[k].Address == address {
			return k
		}
	}
	return -1
}

// users are those of service mode, nil in passthrough.
func users(c *config.Config) (*proxy.Users, error) {
	if c.Auth.Mode != config.AuthService {
		return nil, nil
	}
	list := make([]proxy.User, len(c.Auth.Users))
	for i, u := range c.Auth.Users {
		digest, err := hex.DecodeString(u.PasswordSHA256.Reveal())
		if err != nil || len(digest) != sha256.Size {
			return nil, fmt.Errorf("auth.users[%d].password_sha256 is not 64 hexadecimal digits", i)
		}
		list[i] = proxy.User{
			Name: u.Name, Password: [sha256.Size]byte(digest),
			Identity: upstream.NewIdentity(u.UpstreamUsername, u.UpstreamPassword.Reveal()),
		}
		if u.Upstream != "" {
			place := c.SetIndex(u.Upstream)
			list[i].Upstream = &place
		}
	}
	return proxy.NewUsers(list), nil
}

// settings are those of the current configuration.
func (a *App) settings() proxy.Settings {
	s := settings(a.cfg)
	s.Users = a.users
	return s
}
