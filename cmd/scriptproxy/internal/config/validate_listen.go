package config

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// maxUnixPath is the longest path of a unix socket on Linux (sun_path, less the
// final zero).
const maxUnixPath = 107

func checkListeners(c *Config, r *report) {
	if len(c.Listen) == 0 {
		r.problem("listen", "is empty; write at least one address")
	}
	used, names := make(map[string]string), make(map[string]string)
	claim := func(path, address string) {
		if !checkAddress(r, path, address, true) {
			return
		}
		if first, twice := used[address]; twice && !strings.HasSuffix(address, ":0") {
			r.problem(path, "%s is used by %s already", address, first)
			return
		}
		used[address] = path
	}
	for i := range c.Listen {
		l, path := &c.Listen[i], fmt.Sprintf("listen[%d]", i)
		claim(path, l.Address)
		if first, twice := names[l.Name]; twice && l.Name != "" && l.Name != l.Address {
			r.problem(path+".name", "%q is the name of %s already", l.Name, first)
		}
		names[l.Name] = path
		if network, _ := l.Network(); l.UnixMode != 0 && network != "unix" {
			r.problem(path+".unix_mode", "is for unix sockets; %s is none", l.Address)
		}
		checkServerTLS(r, path+".tls", l.TLS)
	}
	for _, operators := range []struct{ path, address string }{
		{"admin.listen", c.Admin.Listen},
		{"console.listen", c.Console.Listen},
	} {
		if operators.address == "" {
			continue
		}
		claim(operators.path, operators.address)
		if !local(operators.address) && c.Admin.Tokens.AdminFile == "" && c.Admin.Tokens.Admin.IsZero() {
			r.problem(operators.path, "%s can be reached by other machines; set admin.tokens.admin_file, or listen on 127.0.0.1", operators.address)
		}
	}
	checkServerTLS(r, "admin.tls", c.Admin.TLS)
}

func checkServerTLS(r *report, path string, t *ServerTLS) {
	if t == nil {
		return
	}
	if (t.CertFile == "") != (t.KeyFile == "") || t.CertFile == "" && len(t.Certificates) == 0 {
		r.problem(path, "needs cert_file and key_file")
	}
	for i, c := range t.Certificates {
		if c.CertFile == "" || c.KeyFile == "" {
			r.problem(fmt.Sprintf("%s.certificates[%d]", path, i), "needs cert_file and key_file")
		}
	}
	positive(r, path+".handshake_timeout", t.HandshakeTimeout)
}

// local reports whether only this machine can reach address.
func local(address string) bool {
	network, rest := SplitAddress(address)
	if network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(rest)
	if err != nil {
		return true // reported as no address
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkAddress reports whether address is "host:port" or "unix:/path", and the
// problem when it is not. Port 0, any free port, is for listeners only.
func checkAddress(r *report, path, address string, listener bool) bool {
	network, rest := SplitAddress(address)
	if network == "unix" {
		switch {
		case !filepath.IsAbs(rest):
			r.problem(path, "%q needs an absolute path, such as unix:/run/redis.sock", address)
		case len(rest) > maxUnixPath:
			r.problem(path, "the path has %d bytes; %d is the most for a unix socket", len(rest), maxUnixPath)
		default:
			return true
		}
		return false
	}
	if scheme, after, ok := strings.Cut(address, "://"); ok {
		hint := ""
		if scheme == "rediss" || scheme == "tls" {
			hint = " and switch on tls"
		}
		after = after[strings.LastIndex(after, "@")+1:] // what stands before it may be a password
		after, _, _ = strings.Cut(after, "/")
		r.problem(path, "is a URL; write only host:port%s, such as %q", hint, after)
		return false
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		r.problem(path, "%q is no address; write host:port or unix:/path", address)
		return false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil:
		r.problem(path, "%q has no port from 1 to 65535", address)
	case listener:
		return true
	case number == 0:
		r.problem(path, "%q has no port from 1 to 65535", address)
	case host == "":
		r.problem(path, "%q has no host", address)
	default:
		return true
	}
	return false
}
