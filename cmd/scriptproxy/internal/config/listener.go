package config

import (
	"strings"
	"time"
)

// Listener is one address that clients connect to.
type Listener struct {
	// Address to listen on, "host:port" or "unix:/path". An empty host means
	// all interfaces.
	Address string `yaml:"address"`
	// Name for rules and logs. Empty means the address.
	Name string `yaml:"name"`
	// Name of the one of upstreams that the clients reach. Empty means upstream.
	Upstream string `yaml:"upstream"`
	// TLS with the clients.
	TLS *ServerTLS `yaml:"tls"`
	// Whether each connection begins with a PROXY protocol version 2 header. A
	// connection without one is closed.
	ProxyProtocol bool `yaml:"proxy_protocol"`
	// Permissions of the unix socket, in octal, such as "0770".
	UnixMode FileMode `yaml:"unix_mode"`
}

// ServerTLS is TLS on a listener. Certificates are read again on a reload.
type ServerTLS struct {
	// File with the certificate and its chain, PEM.
	CertFile string `yaml:"cert_file"`
	// File with the private key, PEM.
	KeyFile string `yaml:"key_file"`
	// More certificates, for other server names. A client is shown the first that
	// is good for the name that it asks for (SNI); without a name, or when none
	// is, that of cert_file, else the first of these.
	Certificates []Certificate `yaml:"certificates"`
	// File with the authorities that client certificates must be signed by, PEM.
	// Empty asks clients for no certificate.
	ClientCAFile string `yaml:"client_ca_file"`
	// Least version that is spoken: "1.2" or "1.3".
	MinVersion TLSVersion `yaml:"min_version"`
	// Longest time a handshake may take.
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
}

// Certificate is a certificate and its key.
type Certificate struct {
	// File with the certificate and its chain, PEM.
	CertFile string `yaml:"cert_file"`
	// File with the private key, PEM.
	KeyFile string `yaml:"key_file"`
}

// All returns every certificate, the one for clients that name none first.
func (t *ServerTLS) All() []Certificate {
	if t.CertFile == "" {
		return t.Certificates
	}
	return append([]Certificate{{t.CertFile, t.KeyFile}}, t.Certificates...)
}

// Network returns the network and the address as net.Dial and net.Listen take
// them.
func (l Listener) Network() (network, address string) { return SplitAddress(l.Address) }

// SplitAddress turns "host:port" or "unix:/path" into the network ("tcp" or
// "unix") and the address that net.Dial and net.Listen take.
func SplitAddress(address string) (network, rest string) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return "unix", path
	}
	return "tcp", address
}
