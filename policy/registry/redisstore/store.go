package redisstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

const (
	defaultPoll      = time.Second
	defaultHeartbeat = time.Second
	defaultAudit     = 10_000
	missedBeats      = 4                // heartbeats after which a proxy counts as away
	forgetInstance   = 10 * time.Minute // after which a proxy that is away is not listed any more
)

// Options configure a Store. Redis must name an address.
type Options struct {
	// Redis says how to reach the server; "unix:/path" is an address too. That the server belongs to
	// a Cluster is found out. Timeouts that are zero become 1 s to connect and 3 s to read or write.
	Redis redis.UniversalOptions

	Namespace string        // prefix of all keys: letters, digits and . _ : -; empty means "scriptproxy"
	Instance  string        // this proxy's name, unique in the fleet; empty: a random one
	Address   string        // this proxy's address, for those who look at the fleet
	Poll      time.Duration // between looks at the revision, besides announcements; 0 means 1 s
	Heartbeat time.Duration // between signs of life; 0 means 1 s
	Audit     int           // changes kept, about; 0 means 10,000
	Cache     string        // file for a copy of the state, for a start without the store; empty: none
	Logger    *slog.Logger  // nil: nothing is logged
}

// Store implements registry.Store. Its methods may be called by any goroutine.
type Store struct {
	conn      *connection
	log       *slog.Logger
	namespace string
	keys      []string // state, bodies, changed, audit
	instances string
	channel   string
	poll      time.Duration
	heartbeat time.Duration
	audit     int
	self      beat
	serving   atomic.Uint64
	beatNow   chan struct{}
	cache     *cache

	mu    sync.Mutex
	known *registry.Snapshot // of the store; the basis of the next delta
}

// Open makes a store without connecting: the server may be away.
func Open(o Options) (*Store, error) {
	if len(o.Redis.Addrs) == 0 {
		return nil, fmt.Errorf("registry: the redis store has no address")
	}
	namespace := o.Namespace
	if namespace == "" {
		namespace = "scriptproxy"
	}
	if err := validateNamespace(namespace); err != nil {
		return nil, err
	}
	prefix := "{" + namespace + "}:"
	s := &Store{
		log: o.Logger, namespace: namespace, instances: prefix + "instances", channel: prefix + "announce",
		keys: []string{prefix + "state", prefix + "bodies", prefix + "changed", prefix + "audit"},
		poll: o.Poll, heartbeat: o.Heartbeat, audit: o.Audit, beatNow: make(chan struct{}, 1),
		known: registry.NewSnapshot(0, "", time.Time{}, nil),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.poll <= 0 {
		s.poll = defaultPoll
	}
	if s.heartbeat <= 0 {
		s.heartbeat = defaultHeartbeat
	}
	if s.audit <= 0 {
		s.audit = defaultAudit
	}
	s.self = beat{ID: o.Instance, Address: o.Address, Started: time.Now().UTC(), Every: s.heartbeat}
	if s.self.ID == "" {
		s.self.ID = randomName()
	}
	name := fmt.Sprintf("redis %s, namespace %s", strings.Join(o.Redis.Addrs, ","), namespace)
	s.conn = connect(o.Redis, name, s.log)
	if o.Cache != "" {
		s.cache = newCache(o.Cache, name, s.log)
	}
	return s, nil
}

func validateNamespace(ns string) error {
	for _, c := range ns {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-", c) {
			return fmt.Errorf("registry: namespace %q: %q is not allowed; use letters, digits and . _ : -", ns, c)
		}
	}
	return nil
}

func randomName() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand
	return hex.EncodeToString(b[:])
}

// dialOptions completes o: one attempt to connect and no repetition below this package, which
// must know whether a commit may have been sent.
func dialOptions(o redis.UniversalOptions) redis.UniversalOptions {
	o.Addrs = append([]string(nil), o.Addrs...)
	for i, a := range o.Addrs {
		o.Addrs[i] = strings.TrimPrefix(a, "unix:")
	}
	if o.ClientName == "" {
		o.ClientName = "scriptproxy-registry"
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = time.Second
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 3 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 3 * time.Second
	}
	o.Protocol = 2
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o
}

// Shared is true.
func (s *Store) Shared() bool { return true }

// String names the server and the namespace.
func (s *Store) String() string { return s.conn.name }

// Health tells whether the last attempt to reach the server succeeded.
func (s *Store) Health() registry.Health { return s.conn.health() }

// Close takes this proxy out of the fleet and closes the connections.
func (s *Store) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if !s.conn.health().Away {
		// Best effort: otherwise the fleet notices by the missing heartbeats.
		_ = s.conn.once(ctx, func(c redis.UniversalClient) error { return c.HDel(ctx, s.instances, s.self.ID).Err() })
	}
	return s.conn.close()
}
