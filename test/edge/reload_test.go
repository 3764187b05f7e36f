//go:build linux

package edge

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/certificates"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// reloaded is a proxy whose configuration, scripts and certificate are ConfigMaps, and what stands in them.
type reloaded struct {
	*proxy
	config, scripts, secret configMap

	active     int // version of the script step; all up to it are there
	fresh      int // scripts called fresh that were added
	denied     bool
	maxClients int
	slowAfter  string
	primary    string
	replicas   []string
	pair       certificates.Pair
}

// write swaps the ConfigMaps whose content has changed.
func (r *reloaded) write() {
	r.t.Helper()
	scripts := map[string]string{
		"look/v1.lua":  "return redis.call('GET', KEYS[1])",
		"guest/v1.lua": "return 'guest'",
	}
	for v := 1; v <= r.active; v++ {
		scripts[fmt.Sprintf("step/v%d.lua", v)] = fmt.Sprintf("redis.call('INCR', KEYS[1]) return %d", v)
	}
	for n := 1; n <= r.fresh; n++ {
		scripts[fmt.Sprintf("fresh%d/v1.lua", n)] = fmt.Sprintf("return %d", n)
	}
	rules := "rules: []\n"
	if r.denied {
		rules = "rules:\n  - {name: no-guests, match: {scripts: [guest]}, action: deny}\n"
	}
	replicas := ""
	if len(r.replicas) > 0 {
		replicas = ", replicas: [\"" + strings.Join(r.replicas, `", "`) + `"]`
	}
	config := r.complete(fmt.Sprintf(`
listen:
  - {address: "127.0.0.1:PORT", tls: {cert_file: %q, key_file: %q}}
  - "unix:%s"
upstream: {primary: %q%s}
policy: {mode: enforce, rules_file: rules.yaml}
limits: {max_clients: %d}
scripts:
  dir: %q
  slow_after: %s
  list: [{name: step, active: v%d}]
`, filepath.Join(r.secret.dir, "tls.crt"), filepath.Join(r.secret.dir, "tls.key"), r.socket(), r.primary, replicas, r.maxClients, r.scripts.dir, r.slowAfter, r.active))
	r.scripts.swap(r.t, scripts)
	r.secret.swap(r.t, map[string]string{"tls.crt": string(r.pair.Cert), "tls.key": string(r.pair.Key)})
	r.config.swap(r.t, map[string]string{"proxy.yaml": config, "rules.yaml": rules})
}

// socket is the listener without TLS.
func (r *reloaded) socket() string { return filepath.Join(r.dir, "redis.sock") }

// post reloads over HTTP, and fails the test when it is refused.
func (r *reloaded) post() {
	r.t.Helper()
	if status, body := r.Post("/-/reload"); status != http.StatusOK {
		r.t.Fatalf("POST /-/reload is answered %d %s", status, body)
	}
}

// proxyClients is how many connections a server has whose line in CLIENT LIST holds text, without those of replication and the
// test's own.
func proxyClients(s *redisserver.Server, text string) int {
	n := 0
	for line := range strings.Lines(s.Do("CLIENT", "LIST", "TYPE", "normal").(string)) {
		if strings.Contains(line, text) && !strings.Contains(line, "cmd=client") {
			n++
		}
	}
	return n
}

// readCalls is how often a server was asked for scripts in the form that replicas are.
func readCalls(s *redisserver.Server) int {
	n := 0
	fmt.Sscanf(s.Info("commandstats")["cmdstat_evalsha_ro"], "calls=%d,", &n)
	return n
}

// welcomes tells whether one client more is served.
func (r *reloaded) welcomes() bool {
	nc := r.raw("unix", r.socket())
	defer nc.Close()
	reply, err := redisserver.NewClient(nc).Do("PING")
	return err == nil && reply == "PONG"
}

// countsAsSlow tells whether one more call of the newest fresh script is counted as slow.
func (r *reloaded) countsAsSlow(c *client) bool {
	series := fmt.Sprintf("scriptproxy_slow_scripts_total{script=\"fresh%d\"}", r.fresh)
	before, _ := r.series(series)
	c.do("EVALSHA", fmt.Sprintf("fresh%d", r.fresh), 0)
	after, _ := r.series(series)
	return after > before
}

// TestReloadsOfEveryKindUnder500BusyClientsCostNobodyAnError changes each thing that a reload may change, by each way of asking for
// one. Every reply of every client is looked at, and no connection may end.
func TestReloadsOfEveryKindUnder500BusyClientsCostNobodyAnError(t *testing.T) {
	primary, replica := redisserver.StartPair(t, redisserver.UnixSocket())
	ca, otherCA := certificates.NewAuthority(t, "ca"), certificates.NewAuthority(t, "other")
	trusted := trust(ca)
	trusted.RootCAs.AppendCertsFromPEM(otherCA.PEM())

	dir := t.TempDir()
	r := &reloaded{
		proxy:  &proxy{t: t, dir: dir, port: redisserver.FreePort(t), adminPort: redisserver.FreePort(t)},
		config: configMap{dir: t.TempDir()}, scripts: configMap{dir: t.TempDir()}, secret: configMap{dir: t.TempDir()},
		active: 1, maxClients: 10000, slowAfter: "10s", primary: primary.Addr(), replicas: []string{replica.Addr()}, pair: ca.Issue("localhost"),
	}
	r.write()
	r.run(filepath.Join(r.config.dir, "proxy.yaml"))
	own := newClient(t, r.raw("unix", r.socket()))
	own.conn.SetDeadline(time.Time{})

	load := startLoad(t, r, 500, trusted)
	load.everybodyIsServed("at first")

	issuer := ca
	kinds := []struct {
		what   string
		change func()
		done   func() bool
	}{
		{"the active version", func() { r.active++; load.active.Store(int64(r.active)) }, func() bool {
			return own.do("EVALSHA", "step", 1, "own") == int64(r.active)
		}},
		{"a new script", func() { r.fresh++ }, func() bool {
			return own.do("EVALSHA", fmt.Sprintf("fresh%d", r.fresh), 0) == int64(r.fresh)
		}},
		{"a rule of the policy", func() { r.denied = !r.denied }, func() bool {
			reply, isError := own.do("EVALSHA", "guest", 0).(redisserver.Error)
			return isError == r.denied && (!isError || strings.HasPrefix(string(reply), "DENIED "))
		}},
		{"the certificate", func() {
			if issuer == ca {
				issuer = otherCA
			} else {
				issuer = ca
			}
			r.pair = issuer.Issue("localhost")
		}, func() bool {
			tc := tls.Client(r.raw("tcp", r.Addr), trusted)
			defer tc.Close()
			must(t, tc.Handshake())
			_, err := tc.ConnectionState().PeerCertificates[0].Verify(x509.VerifyOptions{Roots: issuer.Pool(), DNSName: "localhost"})
			return err == nil
		}},
		{"the limit on clients to fewer than there are", func() { r.maxClients = 10 }, func() bool { return !r.welcomes() }},
		{"the limit on clients to more", func() { r.maxClients = 10000 }, r.welcomes},
		{"slow_after to less than a call takes", func() { r.slowAfter = "1us" }, func() bool { return r.countsAsSlow(own) }},
		{"slow_after to more", func() { r.slowAfter = "10s" }, func() bool { return !r.countsAsSlow(own) }},
		{"the replica, taken away", func() { r.replicas = nil }, func() bool { return proxyClients(replica, "") == 0 }},
		{"the replica, added", func() { r.replicas = []string{replica.Addr()} }, func() bool {
			before := readCalls(replica)
			own.do("EVALSHA", "look", 1, "nothing") // others have always just written
			return readCalls(replica) > before
		}},
		{"the primary's address, to a socket", func() { r.primary = "unix:" + primary.Socket() }, func() bool { return proxyClients(primary, "addr=127.0.0.1:") == 0 }},
		{"the primary's address, to a port", func() { r.primary = primary.Addr() }, func() bool { return proxyClients(primary, "addr="+primary.Socket()) == 0 }},
	}
	ways := []struct {
		name string
		ask  func()
	}{
		{"SIGHUP", func() { must(t, r.Cmd.Process.Signal(syscall.SIGHUP)) }},
		{"POST /-/reload", r.post},
		{"the change of files", func() {}},
	}
	for _, way := range ways {
		for _, kind := range kinds {
			what := kind.what + ", by " + way.name
			reloads := strings.Count(r.Log(), `msg="configuration reloaded"`)
			kind.change()
			r.write()
			way.ask()
			r.waitFor("no reload of "+what, func() bool { return strings.Count(r.Log(), `msg="configuration reloaded"`) > reloads })
			r.waitFor("no effect of a change of "+what, kind.done)
			load.everybodyIsServed("after a change of " + what)
		}
	}
	load.stop()
	if strings.Contains(r.Log(), "was not reloaded") {
		t.Error("a reload failed")
	}
}

// load is clients that never stop.
type load struct {
	t      *testing.T
	r      *reloaded
	calls  []atomic.Int64 // of each client
	active atomic.Int64   // the newest version of step that may answer
	ended  chan struct{}
	done   sync.WaitGroup
	stop   func()
}

// startLoad connects the clients, a fifth of them with TLS, and has them begin.
func startLoad(t *testing.T, r *reloaded, clients int, trusted *tls.Config) *load {
	t.Helper()
	l := &load{t: t, r: r, calls: make([]atomic.Int64, clients), ended: make(chan struct{})}
	l.active.Store(int64(r.active))
	l.stop = sync.OnceFunc(func() {
		close(l.ended)
		l.done.Wait()
		var calls int64
		for i := range l.calls {
			calls += l.calls[i].Load()
		}
		t.Logf("%d clients made %d calls", clients, calls)
	})
	for i := range clients {
		var nc net.Conn
		if i%5 == 0 {
			tc := tls.Client(r.raw("tcp", r.Addr), trusted)
			must(t, tc.Handshake())
			nc = tc
		} else {
			nc = r.raw("unix", r.socket())
		}
		must(t, nc.SetDeadline(time.Time{}))
		c := &busy{l: l, id: i, c: redisserver.NewClient(nc), nc: nc}
		l.done.Go(c.run)
	}
	t.Cleanup(l.stop) // before the connections are closed
	return l
}

// everybodyIsServed waits until each client has made two rounds more.
func (l *load) everybodyIsServed(when string) {
	l.t.Helper()
	from := make([]int64, len(l.calls))
	for i := range l.calls {
		from[i] = l.calls[i].Load()
	}
	slowest := 0
	l.r.waitFor("not everybody is served "+when, func() bool {
		if l.t.Failed() {
			l.t.FailNow()
		}
		for ; slowest < len(from) && l.calls[slowest].Load() >= from[slowest]+2; slowest++ {
		}
		return slowest == len(from)
	})
}

// busy is one client of the load. Its keys are its own, so that it knows every reply.
type busy struct {
	l       *load
	id      int
	c       *redisserver.Client
	nc      net.Conn
	steps   int64
	version int64 // of step, that answered last
}

func (b *busy) run() {
	value, counter := fmt.Sprintf("value:%d", b.id), fmt.Sprintf("counter:%d", b.id)
	for n := int64(1); ; n++ {
		select {
		case <-b.l.ended:
			return
		default:
		}
		var err error
		switch n % 4 {
		case 0:
			err = b.transaction(counter)
		case 1:
			err = b.pipeline(value, counter, n)
		case 2:
			err = b.step(counter)
		case 3:
			err = b.want("PONG", "PING")
		}
		if err != nil {
			b.l.t.Errorf("client %d, round %d: %v", b.id, n, err)
			return
		}
		b.l.calls[b.id].Add(1)
	}
}

// step calls the script whose version changes. A version that was there before another has answered must not come back.
func (b *busy) step(counter string) error {
	if err := b.c.Send("EVALSHA", "step", 1, counter); err != nil {
		return err
	}
	return b.stepped()
}

func (b *busy) stepped() error {
	b.steps++
	reply, err := b.c.Receive()
	version, ok := reply.(int64)
	if err != nil || !ok || version < b.version || version > b.l.active.Load() {
		return fmt.Errorf("step, after version %d: %v, %v", b.version, reply, err)
	}
	b.version = version
	return nil
}

// pipeline sends writes and reads of plain commands and of scripts at once.
func (b *busy) pipeline(value, counter string, n int64) error {
	text := fmt.Sprint(n)
	var out []byte
	out = redisserver.AppendCommand(out, "SET", value, text)
	out = redisserver.AppendCommand(out, "GET", value)
	out = redisserver.AppendCommand(out, "EVALSHA", "step", 1, counter)
	out = redisserver.AppendCommand(out, "EVALSHA", "look", 1, value)
	out = redisserver.AppendCommand(out, "GET", counter)
	if _, err := b.nc.Write(out); err != nil {
		return err
	}
	if err := b.expect("OK"); err != nil {
		return err
	}
	if err := b.expect(text); err != nil {
		return err
	}
	if err := b.stepped(); err != nil {
		return err
	}
	if err := b.expect(text); err != nil {
		return err
	}
	return b.expect(fmt.Sprint(b.steps))
}

// transaction has a connection of its own to the server while it lasts.
func (b *busy) transaction(counter string) error {
	if err := b.want("OK", "MULTI"); err != nil {
		return err
	}
	if err := b.want("QUEUED", "INCR", counter); err != nil {
		return err
	}
	b.steps++
	reply, err := b.c.Do("EXEC")
	if list, ok := reply.([]any); err != nil || !ok || len(list) != 1 || list[0] != b.steps {
		return fmt.Errorf("EXEC: %v, %v, want %d", reply, err, b.steps)
	}
	return nil
}

func (b *busy) want(reply any, args ...any) error {
	if err := b.c.Send(args...); err != nil {
		return err
	}
	return b.expect(reply)
}

func (b *busy) expect(want any) error {
	if reply, err := b.c.Receive(); err != nil || reply != want {
		return fmt.Errorf("got %v, %v, want %v", reply, err, want)
	}
	return nil
}
