// Package metrics is what the proxy counts and how Prometheus reads it.
//
// The data plane runs on event loops, and counting must cost them next to
// nothing. So a loop counts into a [Shard] that is its own: plain integers, no
// atomics, no locks, no allocation once warm. A scrape asks every loop for what
// it counted; the loop answers from [Shard.Tick] by exchanging two pointers, and
// the scrape adds what it got to the totals. A scrape never makes a loop wait,
// and a loop that does not answer in time does not make a scrape wait: its
// counts come with a later one, and scriptproxy_scrape_incomplete_total says so.
//
// Everything that is rare (a session, a link, a kill, a reload) is set from any
// goroutine through the methods of [Metrics].
//
// Labels are bounded: scripts, nodes and rules are registered first and are
// counted by a small integer; past a limit they are all counted as "other".
// Keys, arguments and the shas of unregistered scripts are never labels.
package metrics

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

//go:generate go run ./internal/gendoc -o ../docs/metrics.md

const (
	// DefaultMaxScripts is the number of (script, version) label sets unless
	// Options says otherwise.
	DefaultMaxScripts = 10_000
	// DefaultHandOverWait is how long a scrape waits for the loops unless
	// Options says otherwise. A loop iteration takes well under a millisecond;
	// a loop which does not answer for this long is stuck or overloaded, and
	// the usual scrape timeout of 10 s is still far away.
	DefaultHandOverWait = 250 * time.Millisecond

	// maxNodes and maxRules bound labels that come from the configuration or
	// from a cluster's topology: a Redis Cluster has at most 1,000 nodes.
	maxNodes = 1_000
	maxRules = 1_000
)

// Options configure New. The zero value is usable.
type Options struct {
	Version, Revision string // of the program, for build_info

	// MaxScripts is the number of (script, version) pairs that get labels of
	// their own; those registered later are counted as "other". 0 means
	// DefaultMaxScripts.
	MaxScripts int

	// Uncounted leaves script calls out: none of their series exists.
	Uncounted bool

	// Wake makes the loop whose shard has this Index run an iteration soon, so
	// that it calls Tick. It is called by scrapes, may be called once more
	// after the shard's Close, must not block, and may be nil when the loops
	// never sleep for long.
	Wake func(shard int)

	// HandOverWait bounds how long a scrape waits for loops. 0 means
	// DefaultHandOverWait.
	HandOverWait time.Duration

	// NativeHistograms adds native (exponential, schema 3: buckets 9 % wide)
	// buckets to script_duration_seconds. Prometheus reads them only in the
	// protobuf format; the classic buckets remain.
	NativeHistograms bool
}

// Metrics holds every metric of one proxy. All its methods may be called from
// any goroutine; a Shard belongs to its loop.
type Metrics struct {
	opts     Options
	created  time.Time
	registry *prometheus.Registry // everything
	light    *prometheus.Registry // everything but the script families, for Handler

	ids    ids
	totals totals
	state  state

	// syncMu serialises the gathering of shards; it is never taken by a loop
	// in the steady state.
	syncMu     sync.Mutex
	shards     []*Shard // guarded by syncMu
	nextShard  atomic.Int32
	incomplete atomic.Uint64
}

// New returns the metrics of one proxy, on a registry of their own, with the
// collectors of the Go runtime and of the process.
func New(o Options) *Metrics {
	if o.MaxScripts <= 0 {
		o.MaxScripts = DefaultMaxScripts
	}
	if o.HandOverWait <= 0 {
		o.HandOverWait = DefaultHandOverWait
	}
	m := &Metrics{
		opts:     o,
		created:  time.Now(),
		registry: prometheus.NewRegistry(),
		light:    prometheus.NewRegistry(),
	}
	m.ids.init(o.MaxScripts)
	m.registry.MustRegister(&collector{m: m, scripts: true})
	m.light.MustRegister(&collector{m: m})
	m.Register(collectors.NewGoCollector())
	m.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Register adds a collector of another package to what is exposed. It panics
// when the collector's metrics collide with those already there, which is an
// error in the program.
func (m *Metrics) Register(c prometheus.Collector) {
	m.registry.MustRegister(c)
	m.light.MustRegister(c)
}

// Registry gathers everything. Add collectors with Register: what is registered
// here directly is not served by Handler's text format.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Handler serves /metrics: the text format, and protobuf for those who ask for
// it. The answer is not compressed: with thousands of scripts compression
// would cost several times what everything else does.
func (m *Metrics) Handler() http.Handler { return newHandler(m) }
