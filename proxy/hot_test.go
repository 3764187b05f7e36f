//go:build linux

package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy"
	"github.com/scriptproxy/scriptproxy/proxy/command"
	"github.com/scriptproxy/scriptproxy/proxy/loop"
	"github.com/scriptproxy/scriptproxy/proxy/resp"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// hotScript is registered as "counter".
const hotScript = "return redis.call('INCRBY', KEYS[1], ARGV[1])"

// serveHot runs the data plane in this process in front of a real server,
// with nothing polling meanwhile, and returns a connected client.
func serveHot(tb testing.TB) net.Conn {
	tb.Helper()
	return startHot(tb).dial(tb)
}

// hot is a data plane that runs in this process.
type hot struct {
	server   *proxy.Server
	redis    *redisserver.Server
	settings proxy.Settings
	table    *proxy.ScriptTable
	addr     string
}

// dial returns a connected client.
func (h *hot) dial(tb testing.TB) net.Conn {
	tb.Helper()
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

func startHot(tb testing.TB) *hot {
	tb.Helper()
	redis := redisserver.Start(tb)
	quiet := slog.New(slog.DiscardHandler)
	monitor := topology.New(topology.Options{
		Primary: redis.Addr(), PollInterval: time.Hour, SilentAfter: time.Second, GoneAfter: time.Hour,
		ConnectTimeout: 5 * time.Second, Now: loop.Now, Logger: quiet,
	})
	m := metrics.New(metrics.Options{})
	script := proxy.NewScript("counter", "v1", []byte(hotScript), proxy.ClassWrite, m.Script("counter", "v1"), 1)
	entry := &proxy.Entry{Script: script}
	table := proxy.NewScriptTable(map[string]*proxy.Entry{"counter": entry}, map[string]*proxy.Entry{script.SHA: entry}, []*proxy.Script{script})
	set := proxy.Settings{EvalBelow: 1 << 10, Pipeline: 10000, PingGrace: time.Hour, SlowAfter: time.Hour, Request: resp.DefaultLimits}
	server, err := proxy.New(proxy.Options{
		Loops: 1, Upstreams: []proxy.Upstream{{Topology: monitor}}, Metrics: m, SlowLog: metrics.NewSlowLog(0, false), Service: true,
		First: proxy.NewGeneration(1, set, command.Embedded(), table), KnownScripts: 10, KnownBytes: 1 << 20, Logger: quiet,
		Upstream: upstream.Options{
			Dial: func(ctx context.Context, addr string) (int, error) {
				var d net.Dialer
				c, err := d.DialContext(ctx, "tcp", addr)
				if err != nil {
					return -1, err
				}
				return loop.Take(c)
			},
			ConnectTimeout: 5 * time.Second, MaxPending: 65536, MaxUnsent: 8 << 20, BackoffMin: time.Millisecond, BackoffMax: time.Second,
			DedicatedMax: 10, DedicatedIdle: time.Minute,
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	monitor.Start(ctx)
	tb.Cleanup(monitor.Close)
	ln, err := server.Listen("127.0.0.1:0", 0)
	if err != nil {
		tb.Fatal(err)
	}
	go server.Serve(ln, 0)
	return &hot{server, redis, set, table, ln.Addr().String()}
}

// exchange sends a request n times over and reads the replies, of a size
// known ahead.
func exchange(tb testing.TB, c net.Conn, requests, replies []byte) {
	if _, err := c.Write(requests); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.ReadFull(c, replies); err != nil {
		tb.Fatal(err)
	}
}

// hotCalls are the requests of the hot paths, with replies of equal length.
var hotCalls = []struct {
	name, request, reply string
	depth                int
}{
	{"GET", "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", "$5\r\nvalue\r\n", 1},
	{"GETPipelined", "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", "$5\r\nvalue\r\n", 16},
	{"PING", "*1\r\n$4\r\nPING\r\n", "+PONG\r\n", 1},
	{"ScriptByName", "*5\r\n$7\r\nEVALSHA\r\n$7\r\ncounter\r\n$1\r\n1\r\n$1\r\nn\r\n$1\r\n0\r\n", ":7\r\n", 1},
	{"ScriptPipelined", "*5\r\n$7\r\nEVALSHA\r\n$7\r\ncounter\r\n$1\r\n1\r\n$1\r\nn\r\n$1\r\n0\r\n", ":7\r\n", 16},
	{"EvalBody", fmt.Sprintf("*5\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n1\r\n$1\r\nn\r\n$1\r\n0\r\n", len(hotScript), hotScript), ":7\r\n", 1},
}

func prepareHot(tb testing.TB, c net.Conn) {
	exchange(tb, c, []byte("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*3\r\n$3\r\nSET\r\n$1\r\nn\r\n$1\r\n7\r\n"), make([]byte, 10))
}

func TestRequestsDoNotAllocateInTheSteadyState(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates; only the replies are checked")
	}
	allocateNothing(t, serveHot(t))
}

// allocateNothing has every hot path exercised by a client that waits for its
// replies.
func allocateNothing(t *testing.T, c net.Conn) {
	t.Helper()
	prepareHot(t, c)
	for _, h := range hotCalls {
		requests := []byte(strings.Repeat(h.request, h.depth))
		want := strings.Repeat(h.reply, h.depth)
		replies := make([]byte, len(want))
		for range 200 {
			exchange(t, c, requests, replies)
		}
		if string(replies) != want {
			t.Fatalf("%s: answered %q", h.name, replies)
		}
		const rounds = 2000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			exchange(t, c, requests, replies)
		}
		runtime.ReadMemStats(&after)
		// The runtime allocates a little by itself: timers, the poller.
		if each := float64(after.Mallocs-before.Mallocs) / rounds; each > 0.5 && !raceEnabled {
			t.Errorf("%s: %.2f allocations for each exchange of %d", h.name, each, h.depth)
		}
	}
}

func TestProtectionDoesNotAllocateInTheSteadyState(t *testing.T) {
	h := startHot(t)
	for _, s := range h.table.All() {
		s.SetProtection(proxy.Protection{
			Deadline: time.Second, MaxConcurrent: 100, MaxQueue: 100, Rank: watchdog.RankHigh,
			Breaker: watchdog.BreakerSettings{Kills: 3, Window: time.Minute, OpenFor: time.Second},
		}, watchdog.NewGate(100, 100))
	}
	allocateNothing(t, h.dial(t))
}

func BenchmarkExchange(b *testing.B) {
	for _, h := range hotCalls {
		b.Run(h.name, func(b *testing.B) {
			c := serveHot(b)
			prepareHot(b, c)
			requests := []byte(strings.Repeat(h.request, h.depth))
			replies := make([]byte, len(h.reply)*h.depth)
			b.ReportAllocs()
			for b.Loop() {
				exchange(b, c, requests, replies)
			}
		})
	}
}
