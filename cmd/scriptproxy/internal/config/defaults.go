package config

import "time"

// Default returns the configuration of an empty file.
func Default() *Config {
	return &Config{
		Listen: []Listener{{Address: "127.0.0.1:6380", Name: "127.0.0.1:6380"}},
		Admin:  Admin{Listen: "127.0.0.1:9380"},
		Upstream: Upstream{
			Primary:        "127.0.0.1:6379",
			ConnectTimeout: time.Second,
			TCPUserTimeout: 10 * time.Second,
			PollInterval:   100 * time.Millisecond,
			Reconnect:      Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second},
			Links:          Links{MaxPending: 16384, DedicatedMax: 5000, DedicatedIdle: 16},
		},
		Auth: Auth{Mode: AuthPassthrough},
		Routing: Routing{
			Reads:       RoutePrimary,
			ScriptReads: RouteReplica,
			MaxLag:      time.Second,
			Consistency: ConsistencySession,
			Fallback:    FallbackPrimary,
		},
		Ping:      PingUpstream,
		PingGrace: 5 * time.Second,
		Limits: Limits{
			MaxClients:       10000,
			MaxClientPending: 1024,
			QueryBuffer:      1 << 30,
			OutputBuffer: OutputBuffers{
				PubSub: OutputBuffer{Hard: 32 << 20, Soft: 8 << 20, SoftFor: time.Minute},
			},
			TCPKeepalive:  300 * time.Second,
			BusyWait:      time.Second,
			DrainTimeout:  30 * time.Second,
			AcceptBacklog: 511,
		},
		Scripts: Scripts{
			SlowAfter:      100 * time.Millisecond,
			MaxQueue:       128,
			Breaker:        Breaker{Kills: 5, Window: time.Minute, OpenFor: 30 * time.Second, Fallback: BreakerNone},
			EvalBelow:      1 << 10,
			Pipelining:     PipeliningStrict,
			MaxCached:      10000,
			MaxCachedBytes: 64 << 20,
			Compact:        Compact{Keep: time.Hour, CheckInterval: 10 * time.Second},
		},
		Registry: Registry{
			Store:     StoreFile,
			AuditSize: 1000,
			Redis:     RegistryRedis{Namespace: "scriptproxy", PollInterval: time.Second},
		},
		Policy:  Policy{Mode: PolicyOff},
		Slowlog: Slowlog{Size: 128},
		Log:     Log{Level: LogInfo, Format: LogText},
		Metrics: Metrics{ScriptCalls: true, MaxScripts: 10000, NativeHistograms: true},
		Tracing: Tracing{Service: "scriptproxy", OneIn: 100},
	}
}

// setDefaults is called on every element of a list or optional section before it
// is decoded.
func (t *ServerTLS) setDefaults() {
	t.MinVersion = TLS12
	t.HandshakeTimeout = 5 * time.Second
}

func (s *Script) setDefaults() { s.Class, s.Priority = ClassAuto, PriorityNormal }
