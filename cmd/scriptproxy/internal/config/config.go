package config

import "time"

// Config is the whole configuration. Every key may be left out; an empty file
// serves 127.0.0.1:6380 in front of 127.0.0.1:6379.
type Config struct {
	// Addresses that clients connect to. An entry is an address, "host:port" or
	// "unix:/path", or a mapping that gives the address and more.
	Listen []Listener `yaml:"listen"`
	// The HTTP listener for metrics, health, the API and the page.
	Admin Admin `yaml:"admin"`
	// The operators' RESP console, for redis-cli.
	Console Console `yaml:"console"`
	// The Redis servers behind the proxy and the connections to them.
	Upstream Upstream `yaml:"upstream"`
	// More sets of servers, each a primary with its replicas, when one proxy
	// stands in front of several. A listener, or a user of the auth mode
	// "service", names the one it leads to; without a name it leads to upstream.
	// Registered scripts are kept on all of them.
	Upstreams []NamedUpstream `yaml:"upstreams"`
	// Who checks the passwords of clients.
	Auth Auth `yaml:"auth"`
	// Which node a request goes to.
	Routing Routing `yaml:"routing"`
	// Who answers PING: "upstream" says PONG while the primary is reachable or
	// busy with a script, and an error when it has been unreachable for longer
	// than ping_grace; "local" always says PONG.
	Ping PingMode `yaml:"ping"`
	// How long PING stays PONG after the primary became unreachable.
	PingGrace time.Duration `yaml:"ping_grace"`
	// Bounds on what clients may take.
	Limits Limits `yaml:"limits"`
	// Number of event loops. 0 means one for each CPU that Go may use
	// (GOMAXPROCS).
	Loops int `yaml:"loops"`
	// The scripts that the proxy knows by name, and how script calls are
	// treated.
	Scripts Scripts `yaml:"scripts"`
	// Where activations and other changes made at run time are kept.
	Registry Registry `yaml:"registry"`
	// Who may run what.
	Policy Policy `yaml:"policy"`
	// The log of slow script calls, kept in memory and read through the API.
	Slowlog Slowlog `yaml:"slowlog"`
	// The program's own log, on standard error.
	Log Log `yaml:"log"`
	// Ends scripts which have passed their deadline.
	Watchdog Watchdog `yaml:"watchdog"`
	// What is exported at /metrics.
	Metrics Metrics `yaml:"metrics"`
	// Traces of script calls, by OTLP over HTTP.
	Tracing Tracing `yaml:"tracing"`

	files        []string // for Files
	inlineSecret bool     // whether a password stands in the file itself
}

// Admin is the HTTP listener for operators.
type Admin struct {
	// Address of the HTTP listener, "host:port" or "unix:/path". Empty switches
	// it off. An address that other machines can reach needs tokens.admin_file.
	Listen string `yaml:"listen"`
	// Bearer tokens. Without any, whoever reaches the address may do everything.
	Tokens Tokens `yaml:"tokens"`
	// TLS on the HTTP listener.
	TLS *ServerTLS `yaml:"tls"`
}

// Tokens are the bearer tokens of the admin listener.
type Tokens struct {
	// File with the token that may read: metrics, the API's GET requests.
	ReadFile string `yaml:"read_file"`
	// File with the token that may also change things: activate, roll back,
	// reload.
	AdminFile string `yaml:"admin_file"`

	// Read is the content of ReadFile, empty when there is none.
	Read Secret `yaml:"-"`
	// Admin is the content of AdminFile, empty when there is none.
	Admin Secret `yaml:"-"`
}

// Console is the operators' RESP console.
type Console struct {
	// Address of the console, "host:port" or "unix:/path". Empty switches it
	// off. Operators authenticate with AUTH and one of admin.tokens; an address
	// that other machines can reach needs admin.tokens.admin_file.
	Listen string `yaml:"listen"`
}

// Auth says who checks the passwords of clients.
type Auth struct {
	// "passthrough": the Redis server checks every client's AUTH, and each
	// user's commands travel on connections of that user, so that ACLs hold.
	// "service": the proxy checks clients against users, and speaks to Redis
	// with upstream.username.
	Mode AuthMode `yaml:"mode"`
	// Users of the mode "service". A client that gives only a password is the
	// user "default".
	Users []User `yaml:"users"`
}

// User is one user of the service mode.
type User struct {
	// Name the client gives in AUTH or HELLO.
	Name string `yaml:"name"`
	// SHA-256 of the password, 64 hexadecimal digits, as
	// "printf %s PASSWORD | sha256sum" prints it.
	PasswordSHA256 Secret `yaml:"password_sha256"`
	// User of the Redis server on whose behalf this user's commands run. Empty
	// means upstream.username.
	UpstreamUsername string `yaml:"upstream_username"`
	// File with that user's password. Needed with upstream_username.
	UpstreamPasswordFile string `yaml:"upstream_password_file"`
	// Name of the one of upstreams that this user's commands go to. Empty means
	// that of the listener.
	Upstream string `yaml:"upstream"`

	// UpstreamPassword is the content of UpstreamPasswordFile.
	UpstreamPassword Secret `yaml:"-"`
}

// Routing chooses the node of a request.
type Routing struct {
	// Where plain commands that only read go: "primary" or "replica".
	Reads Route `yaml:"reads"`
	// Where scripts that only read go: "replica" or "primary".
	ScriptReads Route `yaml:"script_reads"`
	// A replica whose data is older than this gets no reads. 0 means no bound.
	MaxLag time.Duration `yaml:"max_lag"`
	// A replica that is behind the primary by more than this many bytes of the
	// replication stream gets no reads. 0 means no bound.
	MaxLagBytes Size `yaml:"max_lag_bytes"`
	// What a read may miss. "session": a client reads its own writes, from a
	// replica that has them or else from the primary. "eventual": any replica
	// within max_lag. "strong": every read goes to the primary.
	Consistency Consistency `yaml:"consistency"`
	// What happens to a read for which no replica will do: "primary" sends it
	// there, "error" refuses it.
	Fallback Fallback `yaml:"fallback"`
}

// Registry keeps what was changed at run time: activations, rollbacks, loaded
// versions.
type Registry struct {
	// "file" keeps changes in state_file, for one proxy. "redis" shares them
	// among a fleet through a Redis server.
	Store Store `yaml:"store"`
	// File for the store "file", written atomically. Empty keeps changes in
	// memory only: a restart returns to the configuration.
	StateFile string `yaml:"state_file"`
	// Changes kept in the audit log. The oldest go first.
	AuditSize int `yaml:"audit_size"`
	// Server for the store "redis".
	Redis RegistryRedis `yaml:"redis"`
}

// RegistryRedis is the server of the store "redis".
type RegistryRedis struct {
	// Address, "host:port" or "unix:/path". It may be the server that is
	// proxied.
	Address string `yaml:"address"`
	// User for AUTH. Empty with a password means the default user.
	Username string `yaml:"username"`
	// File with the password.
	PasswordFile string `yaml:"password_file"`
	// TLS to the server.
	TLS ClientTLS `yaml:"tls"`
	// Prefix of every key and channel, so that several fleets can share one
	// server.
	Namespace string `yaml:"namespace"`
	// How often the revision is read, beside the announcements, which normally
	// come first.
	PollInterval time.Duration `yaml:"poll_interval"`
	// File for a copy of the registry, for a start while the server is away.
	// Empty keeps none: such a start begins with the configuration alone.
	CacheFile string `yaml:"cache_file"`

	// Password is the content of PasswordFile.
	Password Secret `yaml:"-"`
}

// Policy decides who may run what.
type Policy struct {
	// "off" checks nothing, "audit" counts and logs what would have been denied,
	// "enforce" denies it.
	Mode PolicyMode `yaml:"mode"`
	// File with the rules. Needed for "audit" and "enforce".
	RulesFile string `yaml:"rules_file"`
}

// Slowlog is the log of slow script calls.
type Slowlog struct {
	// Number of calls kept. 0 switches the log off.
	Size int `yaml:"size"`
	// Whether the keys and arguments of the calls are kept too. They may hold
	// personal data.
	Arguments bool `yaml:"arguments"`
}

// Log is the program's own log.
type Log struct {
	// Least severity that is written: "debug", "info", "warn" or "error".
	Level LogLevel `yaml:"level"`
	// "text" or "json".
	Format LogFormat `yaml:"format"`
}

// Watchdog ends scripts which have passed their deadline.
type Watchdog struct {
	// Whether the proxy sets busy-reply-threshold (before Redis 7.0
	// lua-time-limit) on the servers to the smallest deadline. Redis acts on a
	// kill only after that threshold. Without it the proxy warns when the
	// threshold is above a deadline.
	ManageBusyThreshold bool `yaml:"manage_busy_threshold"`
	// User at the Sentinels that watch the primary, which are asked after which
	// time they take it for down. Empty with a password means the default user.
	SentinelUsername string `yaml:"sentinel_username"`
	// File with the Sentinels' password. Empty means that they want none.
	SentinelPasswordFile string `yaml:"sentinel_password_file"`

	// SentinelPassword is the content of SentinelPasswordFile.
	SentinelPassword Secret `yaml:"-"`
}

// Metrics says what is exported at /metrics.
type Metrics struct {
	// Whether script calls are counted, by script, version, route and outcome,
	// with their durations. Without them dashboards and alerts have nothing to
	// say of scripts, and the API counts no calls; docs/sizing.md has what they
	// cost.
	ScriptCalls bool `yaml:"script_calls"`
	// Number of distinct script names that get time series of their own. The
	// calls of any others are counted together.
	MaxScripts int `yaml:"max_scripts"`
	// Whether durations are exported as native histograms beside the classic
	// buckets.
	NativeHistograms bool `yaml:"native_histograms"`
}

// Tracing is what is exported of script calls as spans: name, version, node,
// route and outcome; nothing of keys or arguments.
type Tracing struct {
	// URL of an OTLP collector that speaks HTTP, such as http://127.0.0.1:4318.
	// Empty switches tracing off.
	Endpoint string `yaml:"endpoint"`
	// Name of this service in the traces.
	Service string `yaml:"service"`
	// One call in so many is traced.
	OneIn int `yaml:"one_in"`
}
