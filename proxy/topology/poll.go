package topology

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// poller is what the goroutine of one node knows.
type poller struct {
	m         *Monitor
	n         *Node
	client    *redis.Client
	asked     bool // the server, before
	connected bool // since the last look at the server's identity
	runID     string
	silent    int64 // since when nothing was heard
	authAt    int64 // when the server was last asked whether it wants AUTH
}

func (m *Monitor) pollNode(ctx context.Context, n *Node, heard chan<- struct{}) {
	p := &poller{m: m, n: n}
	p.renew()
	defer func() { p.client.Close() }()
	tick := time.NewTicker(m.opts.PollInterval)
	defer tick.Stop()
	first := true
	for {
		p.poll(ctx)
		if first {
			heard <- struct{}{}
			first = false
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// renew makes the poller's client anew. After a few refused connections a
// client tries again only once a second, and a node that has come back would be
// seen late.
func (p *poller) renew() {
	if p.client != nil {
		p.client.Close()
	}
	p.client = p.m.client(p.n.Addr, func() { p.connected = true })
}

func (p *poller) poll(ctx context.Context) {
	started := p.m.opts.Now()
	wasUp, wasBusy, wasRole := p.n.Up(), p.n.Busy(), p.n.Role()
	info, err := p.client.Info(ctx, "replication").Result()
	if ctx.Err() != nil {
		return
	}
	isNew := p.n == p.m.View().Primary && p.n != p.m.greeted.Load()
	if err == nil && (p.connected || p.runID == "" || isNew) {
		p.connected = false
		err = p.identify(ctx)
	}
	if now := p.m.opts.Now(); err == nil && p.n == p.m.View().Primary && time.Duration(now-p.authAt) >= authEvery {
		p.checkAuth(ctx, now)
	}
	switch {
	case err == nil:
		p.silent = 0
		p.n.busySince.Store(0)
		p.n.setUp()
		p.m.take(p.n, parseInfo(info), started)
	case isBusy(err):
		p.silent = 0
		p.busy(started)
	case isTimeout(err):
		if p.silent == 0 {
			p.silent = started
		}
		if p.n.Up() && time.Duration(p.m.opts.Now()-p.silent) < p.m.opts.GoneAfter {
			p.busy(p.silent)
			break
		}
		p.n.failSilently(started, p.silent, fmt.Errorf("no answer for %s", time.Duration(p.m.opts.Now()-p.silent).Round(100*time.Millisecond)))
	default:
		p.silent = 0
		p.n.fail(started, err)
		p.renew()
	}
	p.m.elect()
	if p.n.Up() && !p.n.ready.Load() && !p.n.Busy() {
		p.prepare(ctx)
	}
	if p.m.opts.Changed != nil {
		p.m.opts.Changed(p.m.View(), p.n)
	}
	first := !p.asked
	p.asked = true
	if log := p.m.opts.Logger; log != nil {
		switch {
		case wasUp != p.n.Up() && p.n.Up():
			log.Info("node is up", "node", p.n.Addr, "role", p.n.Role().String())
		case wasUp != p.n.Up(), first && !p.n.Up():
			log.Warn("node is down", "node", p.n.Addr, "error", p.n.LastError())
		case wasBusy != p.n.Busy() && p.n.Busy():
			log.Warn("node is busy", "node", p.n.Addr)
		case wasBusy != p.n.Busy():
			log.Info("node is no longer busy", "node", p.n.Addr)
		case wasRole != p.n.Role() && wasRole != RoleUnknown:
			log.Warn("node changed its role", "node", p.n.Addr, "role", p.n.Role().String())
		}
	}
}

func (p *poller) busy(from int64) {
	p.n.busySince.CompareAndSwap(0, from)
	p.n.setUp()
}

// identify looks at who answers on a new connection: a server that was
// started anew has none of the scripts.
func (p *poller) identify(ctx context.Context) error {
	info, err := p.client.Info(ctx, "server").Result()
	if err != nil {
		return err
	}
	fields := parseInfo(info)
	if id := fields["run_id"]; id != p.runID {
		if p.runID != "" {
			p.n.LostScripts(p.n.Epoch())
		}
		p.runID = id
	}
	version := fields["redis_version"]
	p.n.readScript.Store(majorVersion(version) >= 7)
	hello := &Hello{Server: "redis", Version: version, Mode: fields["redis_mode"]}
	if fields["server_name"] == "valkey" {
		hello.Server, hello.Version = "valkey", fields["valkey_version"]
	}
	if hello.Mode == "" {
		hello.Mode = "standalone"
	}
	hello.ask(ctx, p.client)
	if p.n == p.m.View().Primary {
		p.m.hello.Store(hello)
		p.m.greeted.Store(p.n)
		p.checkAuth(ctx, p.m.opts.Now())
	}
	return nil
}

// authEvery is how often the primary is asked whether it serves who has not
// said AUTH. A password that is set at run time (CONFIG SET requirepass) binds
// those who connect afterwards, and so the proxy's next clients; links made
// before it would still serve them.
const authEvery = time.Second

func (p *poller) checkAuth(ctx context.Context, now int64) {
	p.authAt = now
	if authless, err := p.m.answersAnybody(ctx, p.n.Addr); err == nil {
		p.m.authless.Store(authless)
		p.m.authKnown.Store(true)
	}
}

// answersAnybody tries PING without AUTH.
func (m *Monitor) answersAnybody(ctx context.Context, addr string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, m.opts.ConnectTimeout)
	defer cancel()
	c, err := m.opts.Dial(ctx, addr)
	if err != nil {
		return false, err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		c.SetDeadline(deadline)
	}
	if _, err := io.WriteString(c, "*1\r\n$4\r\nPING\r\n"); err != nil {
		return false, err
	}
	var b [64]byte
	n, err := c.Read(b[:])
	return !strings.HasPrefix(string(b[:n]), "-NOAUTH"), err
}

func (p *poller) prepare(ctx context.Context) {
	if p.m.opts.Prepare == nil {
		p.n.SetReady(true)
		return
	}
	epoch := p.n.Epoch()
	c := p.m.client(p.n.Addr, nil)
	defer c.Close()
	if err := p.m.opts.Prepare(ctx, p.n, c); err != nil {
		if p.m.opts.Logger != nil && ctx.Err() == nil && !errors.Is(err, ErrLater) {
			p.m.opts.Logger.Warn("scripts could not be loaded; trying again", "node", p.n.Addr, "error", err)
		}
		return
	}
	if p.n.Epoch() == epoch {
		p.n.SetReady(true)
	}
}
