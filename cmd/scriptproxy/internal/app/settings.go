package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
	"github.com/scriptproxy/scriptproxy/proxy"
	"github.com/scriptproxy/scriptproxy/proxy/edge"
	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// settings are the data plane's choices from a configuration.
func settings(c *config.Config) proxy.Settings {
	s := proxy.Settings{
		ReplicaReads:       c.Routing.Reads == config.RouteReplica,
		ReplicaScriptReads: c.Routing.ScriptReads == config.RouteReplica,
		NoFallback:         c.Routing.Fallback == config.FallbackError,
		MaxLag:             c.Routing.MaxLag,
		MaxLagBytes:        int64(c.Routing.MaxLagBytes),
		PingGrace:          c.PingGrace,
		SlowAfter:          c.Scripts.SlowAfter,
		EvalBelow:          int(c.Scripts.EvalBelow),
		LoosePipelining:    c.Scripts.Pipelining == config.PipeliningFast,
		Normal:             outputLimit(c.Limits.OutputBuffer.Normal),
		PubSub:             outputLimit(c.Limits.OutputBuffer.PubSub),
		QueryBuffer:        int(c.Limits.QueryBuffer),
		Pipeline:           c.Limits.MaxClientPending,
		MaxClients:         c.Limits.MaxClients,
		IdleTimeout:        c.Limits.IdleTimeout,
		KeepAlive:          c.Limits.TCPKeepalive,
		Request:            resp.DefaultLimits,
	}
	if c.Tracing.Endpoint != "" && c.Tracing.OneIn > 0 {
		s.TraceSample = 1 / float64(c.Tracing.OneIn)
	}
	protect(&s, c)
	switch c.Routing.Consistency {
	case config.ConsistencyEventual:
		s.Consistency = proxy.ConsistencyEventual
	case config.ConsistencyStrong:
		s.Consistency = proxy.ConsistencyStrong
	}
	if c.Ping == config.PingLocal {
		s.Ping = proxy.PingLocal
	}
	return s
}

func outputLimit(b config.OutputBuffer) proxy.OutputLimit {
	return proxy.OutputLimit{Hard: int(b.Hard), Soft: int(b.Soft), SoftFor: b.SoftFor}
}

// dedicatedKept is how long an idle dedicated link stays for the next
// session that needs one.
const dedicatedKept = 30 * time.Second

func upstreamOptions(c *config.Config, d *dialer, loops int) upstream.Options {
	each := func(ofNode int) int { return (ofNode + loops - 1) / loops }
	return upstream.Options{
		Dial: d.fd, ConnectTimeout: c.Upstream.ConnectTimeout,
		MaxPending: c.Upstream.Links.MaxPending, MaxUnsent: maxUnsent,
		BackoffMin: c.Upstream.Reconnect.Min, BackoffMax: c.Upstream.Reconnect.Max,
		DedicatedMax: each(c.Upstream.Links.DedicatedMax), DedicatedKeep: each(c.Upstream.Links.DedicatedIdle), DedicatedIdle: dedicatedKept,
	}
}

// maxUnsent is what may wait to be written to a node before sessions that
// feed the link are left waiting.
const maxUnsent = 8 << 20

// dialer connects to nodes, with TLS where configured.
type dialer struct {
	net    *net.Dialer
	tls    *edge.ClientTLS // nil without
	bridge *edge.Bridge
}

func newDialer(u config.Upstream, b *edge.Bridge, logger *slog.Logger) (*dialer, error) {
	d := &dialer{net: loop.Dialer(u.TCPUserTimeout), bridge: b}
	if !u.TLS.Enabled {
		return d, nil
	}
	var err error
	d.tls, err = edge.NewClientTLS(edge.ClientFiles{
		CAFile: u.TLS.CAFile, CertFile: u.TLS.CertFile, KeyFile: u.TLS.KeyFile,
		ServerName: u.TLS.ServerName, InsecureSkipVerify: u.TLS.InsecureSkipVerify,
	}, logger)
	if err != nil {
		return nil, fmt.Errorf("upstream.tls: %w", err)
	}
	return d, nil
}

// conn opens a connection for the control plane.
func (d *dialer) conn(ctx context.Context, addr string) (net.Conn, error) {
	network, address := config.SplitAddress(addr)
	if d.tls == nil {
		return d.net.DialContext(ctx, network, address)
	}
	td := tls.Dialer{NetDialer: d.net, Config: d.tls.For(address)}
	return td.DialContext(ctx, network, address)
}

// fd opens a connection for a loop. ctx bounds the handshake, too.
func (d *dialer) fd(ctx context.Context, addr string) (int, error) {
	if d.tls != nil {
		network, address := config.SplitAddress(addr)
		return d.bridge.Dial(ctx, d.net, network, address, d.tls.For(address))
	}
	c, err := d.conn(ctx, addr)
	if err != nil {
		return -1, err
	}
	return loop.Take(c)
}
