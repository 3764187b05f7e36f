package config

import (
	"cmp"
	"slices"
	"time"
)

// Upstream names the Redis servers behind the proxy.
type Upstream struct {
	// Address of the primary, "host:port" or "unix:/path".
	Primary string `yaml:"primary"`
	// Addresses of the replicas.
	Replicas []string `yaml:"replicas"`
	// User of the proxy's own connections: health, preloading, kills, and in
	// the auth mode "service" the clients' commands. Empty with a password means
	// the default user.
	Username string `yaml:"username"`
	// Password of that user. Prefer password_file.
	Password Secret `yaml:"password"`
	// File with the password.
	PasswordFile string `yaml:"password_file"`
	// TLS to the servers.
	TLS ClientTLS `yaml:"tls"`
	// Longest time to connect, with TLS and AUTH.
	ConnectTimeout time.Duration `yaml:"connect_timeout"`
	// Longest time in which the server's machine acknowledges nothing, neither a
	// request nor a probe of a connection that is silent. Then the connection is
	// lost, and who waits on it is told. A server that is only slow is not meant:
	// its kernel answers. 0 leaves it to the kernel, which takes 15 minutes or more.
	TCPUserTimeout time.Duration `yaml:"tcp_user_timeout"`
	// How often each node is asked for its role, its offset and its health.
	PollInterval time.Duration `yaml:"poll_interval"`
	// Waits between attempts to connect again. They double from min to max,
	// with jitter.
	Reconnect Backoff `yaml:"reconnect"`
	// Connections to the servers.
	Links Links `yaml:"links"`
}

// NamedUpstream is one more set of servers. What it does not give is as in
// upstream: TLS, times, and bounds.
type NamedUpstream struct {
	// Name that listeners and users give. "default" is that of upstream.
	Name string `yaml:"name"`
	// Address of the primary, "host:port" or "unix:/path".
	Primary string `yaml:"primary"`
	// Addresses of the replicas.
	Replicas []string `yaml:"replicas"`
	// User of the proxy's own connections to these servers. Empty with a
	// password means the default user.
	Username string `yaml:"username"`
	// File with the password.
	PasswordFile string `yaml:"password_file"`

	// Password is the content of PasswordFile.
	Password Secret `yaml:"-"`
}

// DefaultUpstream is the name of Config.Upstream among several.
const DefaultUpstream = "default"

// Set is one set of servers that the configuration puts the proxy in front of.
type Set struct {
	Name string
	Upstream
}

// Sets lists the sets of servers. Upstream is the first of them, unless there
// are others and no listener leads to it.
func (c *Config) Sets() []Set {
	var sets []Set
	if len(c.Upstreams) == 0 || slices.ContainsFunc(c.Listen, func(l Listener) bool { return l.Upstream == "" || l.Upstream == DefaultUpstream }) {
		sets = append(sets, Set{Name: DefaultUpstream, Upstream: c.Upstream})
	}
	for _, named := range c.Upstreams {
		u := c.Upstream
		u.Primary, u.Replicas = named.Primary, named.Replicas
		u.Username, u.PasswordFile, u.Password = named.Username, named.PasswordFile, named.Password
		sets = append(sets, Set{Name: named.Name, Upstream: u})
	}
	return sets
}

// SetIndex is the place in Sets of the one that a listener or a user names; -1
// when there is none.
func (c *Config) SetIndex(name string) int {
	if name == "" {
		name = DefaultUpstream
	}
	return slices.IndexFunc(c.Sets(), func(s Set) bool { return s.Name == name })
}

// For is the configuration as one set of servers sees it: its own servers as
// Upstream, and the users whose commands go there.
func (c *Config) For(set Set) *Config {
	if len(c.Upstreams) == 0 {
		return c
	}
	one := *c
	one.Upstream = set.Upstream
	reached := slices.ContainsFunc(c.Listen, func(l Listener) bool { return cmp.Or(l.Upstream, DefaultUpstream) == set.Name })
	one.Auth.Users = nil
	for _, u := range c.Auth.Users {
		if u.Upstream == set.Name || u.Upstream == "" && reached {
			one.Auth.Users = append(one.Auth.Users, u)
		}
	}
	return &one
}

// ClientTLS is TLS towards a server.
type ClientTLS struct {
	// Whether TLS is spoken.
	Enabled bool `yaml:"enabled"`
	// File with the authorities that the server's certificate must be signed by,
	// PEM. Empty means those of the system.
	CAFile string `yaml:"ca_file"`
	// File with the certificate to show to the server, PEM.
	CertFile string `yaml:"cert_file"`
	// File with the private key of that certificate, PEM.
	KeyFile string `yaml:"key_file"`
	// Name that the server's certificate must have. Empty means the host of the
	// address.
	ServerName string `yaml:"server_name"`
	// Whether the server's certificate is not checked at all. For tests only:
	// anybody in between can then read and change everything.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify"`
}

// Backoff is a range of waits.
type Backoff struct {
	// First wait.
	Min time.Duration `yaml:"min"`
	// Longest wait.
	Max time.Duration `yaml:"max"`
}

// Links are the connections to the servers.
type Links struct {
	// Requests that may be waiting for their replies on one shared connection.
	// Beyond it the proxy stops reading from the clients that feed it.
	MaxPending int `yaml:"max_pending"`
	// Dedicated connections to one node: those of clients which are in a
	// transaction, block, subscribe, or have other state on the server.
	DedicatedMax int `yaml:"dedicated_max"`
	// Dedicated connections to one node that stay open, unused, for the next
	// client that needs one: so many for each user and database. What is unused
	// beyond them is closed after 30 s. This and dedicated_max are shared out
	// among the event loops.
	DedicatedIdle int `yaml:"dedicated_idle"`
}
