package redisserver

import (
	"os"
	"strconv"
	"strings"
)

// Directive is one line of a server's configuration file: Value is written as it is, quotes included.
type Directive struct{ Name, Value string }

// Config says how StartProcess starts a server. Its zero value is a primary on a free port.
type Config struct {
	// Launcher is the command line to which the configuration file's path is appended. Empty: the one in
	// SCRIPTPROXY_TEST_REDIS, else redis-server.
	Launcher []string
	// Port is the port on 127.0.0.1; 0 takes a free one.
	Port int
	// Password is the default user's; replicas and the package's own clients use it.
	Password string
	// UnixSocket adds a unix socket, at Process.Socket.
	UnixSocket bool
	// Directives are written after the package's own, and so prevail over them.
	Directives []Directive

	sentinel bool
}

// Option changes how Start starts a server.
type Option func(*Config)

// Args adds configuration directives as pairs of name and value: Args("maxmemory", "10mb", "loglevel", "debug").
func Args(pairs ...string) Option {
	if len(pairs)%2 != 0 {
		panic("redisserver: Args needs pairs of a directive's name and its value")
	}
	return func(c *Config) {
		for i := 0; i < len(pairs); i += 2 {
			c.Directives = append(c.Directives, Directive{pairs[i], pairs[i+1]})
		}
	}
}

// AOF keeps an append-only file that is written and synced before a command is answered (appendfsync always), so that every
// write that was answered survives Kill and is there after Restart. With everysec a write may wait in
// memory for a sync that is running.
func AOF() Option { return Args("appendonly", "yes", "appendfsync", "always") }

// ReplicaOf makes the server a replica of primary, with primary's password. Use WaitReplica before relying on its data.
func ReplicaOf(primary *Server) Option {
	return func(c *Config) {
		c.Directives = append(c.Directives, Directive{"replicaof", "127.0.0.1 " + strconv.Itoa(primary.Port())})
		if pass := primary.Password(); pass != "" {
			c.Directives = append(c.Directives, Directive{"masterauth", strconv.Quote(pass)})
		}
	}
}

// Password sets the default user's password (requirepass). Do and Client use it by themselves.
func Password(password string) Option { return func(c *Config) { c.Password = password } }

// ACL adds users, each as in an ACL file without the word "user": ACL("alice on >secret ~* +@read").
func ACL(users ...string) Option {
	return func(c *Config) {
		for _, u := range users {
			c.Directives = append(c.Directives, Directive{"user", u})
		}
	}
}

// Port fixes the port, for a server that takes the place of another one.
func Port(port int) Option { return func(c *Config) { c.Port = port } }

// UnixSocket adds a unix socket to the TCP port; Socket returns its path.
func UnixSocket() Option { return func(c *Config) { c.UnixSocket = true } }

// LuaTimeLimit sets after how many milliseconds a running script makes the server answer BUSY (busy-reply-threshold
// by its name before Redis 7, which later servers still take; 5000 unless set, 0 never).
func LuaTimeLimit(ms int) Option { return Args("lua-time-limit", strconv.Itoa(ms)) }

// Binary starts the server with another program, as SCRIPTPROXY_TEST_REDIS does for all of them.
func Binary(launcher ...string) Option { return func(c *Config) { c.Launcher = launcher } }

// launcher returns the command line to start a server with.
func (c *Config) launcher() []string {
	if len(c.Launcher) > 0 {
		return c.Launcher
	}
	if words := strings.Fields(os.Getenv("SCRIPTPROXY_TEST_REDIS")); len(words) > 0 {
		return words
	}
	return []string{"redis-server"}
}

// file returns the text of the configuration file for a server at port in dir.
func (c *Config) file(dir string, port int, socket string) string {
	var b strings.Builder
	line := func(name, value string) { b.WriteString(name + " " + value + "\n") }
	line("bind", "127.0.0.1")
	line("port", strconv.Itoa(port))
	line("dir", strconv.Quote(dir))
	line("daemonize", "no")
	line("logfile", `""`)
	if !c.sentinel {
		line("save", `""`)
		line("appendonly", "no")
		// A replica attaches at once instead of after the 5 seconds in which others may join.
		line("repl-diskless-sync", "yes")
		line("repl-diskless-sync-delay", "0")
	}
	if socket != "" {
		line("unixsocket", strconv.Quote(socket))
	}
	if c.Password != "" {
		line("requirepass", strconv.Quote(c.Password))
	}
	for _, d := range c.Directives {
		line(d.Name, d.Value)
	}
	return b.String()
}
