package config

import "time"

// Limits bound what clients may take.
type Limits struct {
	// Clients at a time. One more gets Redis's "max number of clients reached".
	MaxClients int `yaml:"max_clients"`
	// Requests of one client that may be waiting for replies. Beyond it the
	// proxy stops reading from that client until some have been answered.
	MaxClientPending int `yaml:"max_client_pending"`
	// Most bytes of requests that are held for one client, as Redis's
	// client-query-buffer-limit. Beyond it the client is closed.
	QueryBuffer Size `yaml:"query_buffer"`
	// Most bytes of replies that are held for one client which does not read
	// them, as Redis's client-output-buffer-limit.
	OutputBuffer OutputBuffers `yaml:"output_buffer"`
	// A client that has been idle for this long is closed; one that subscribes
	// or blocks is not idle. 0 means never.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// Time after which TCP asks a silent client whether it is still there. 0
	// switches it off.
	TCPKeepalive time.Duration `yaml:"tcp_keepalive"`
	// How long a request waits for a node that is busy with a script before it
	// is refused with -BUSY.
	BusyWait time.Duration `yaml:"busy_wait"`
	// Longest time the proxy takes to end: accepted requests are answered, then
	// what is left is closed.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
	// Connections that may wait to be accepted, as Redis's tcp-backlog. The
	// kernel bounds it by net.core.somaxconn.
	AcceptBacklog int `yaml:"accept_backlog"`
}

// OutputBuffers are the bounds on unread replies by kind of client.
type OutputBuffers struct {
	// Clients in the ordinary state.
	Normal OutputBuffer `yaml:"normal"`
	// Clients that subscribe.
	PubSub OutputBuffer `yaml:"pubsub"`
}

// OutputBuffer bounds the unread replies of one client.
type OutputBuffer struct {
	// The client is closed as soon as it passes this. 0 means no bound.
	Hard Size `yaml:"hard"`
	// The client is closed when it stays above this for soft_for. 0 means no
	// bound.
	Soft Size `yaml:"soft"`
	// Time for soft.
	SoftFor time.Duration `yaml:"soft_for"`
}
