//go:build linux

package edge

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/certificates"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// tlsServer is a Redis that speaks TLS at port only with clients which show a certificate of ca.
func tlsServer(t testing.TB, ca *certificates.Authority) (server *redisserver.Server, port int) {
	t.Helper()
	dir := t.TempDir()
	port = redisserver.FreePort(t)
	certFile, keyFile := ca.Issue("redis.internal").Write(t, dir, "redis")
	caFile := filepath.Join(dir, "ca.pem")
	certificates.WriteFile(t, caFile, ca.PEM())
	server = redisserver.Start(t, redisserver.Args("tls-port", strconv.Itoa(port), "tls-cert-file", certFile,
		"tls-key-file", keyFile, "tls-ca-cert-file", caFile, "tls-auth-clients", "yes"))
	return server, port
}

// before writes what a proxy needs to speak with tlsServer, and starts it.
func before(t testing.TB, ca *certificates.Authority, port int, more string) *proxy {
	t.Helper()
	dir := t.TempDir()
	certificates.WriteFile(t, filepath.Join(dir, "ca.pem"), ca.PEM())
	ca.Issue("proxy").Write(t, dir, "client")
	return startIn(t, dir, fmt.Sprintf(`
listen: ["127.0.0.1:PORT"]
upstream:
  primary: "127.0.0.1:%d"
  tls: {enabled: true, ca_file: ca.pem, cert_file: client.pem, key_file: client.key, server_name: redis.internal}
%s`, port, more))
}

func TestServerIsSpokenToWithTLS(t *testing.T) {
	ca := certificates.NewAuthority(t, "ca")
	server, port := tlsServer(t, ca)
	p := before(t, ca, port, "")
	c := p.client()
	c.want("OK", "SET", "a", "1")
	c.want(1, "EVAL", "return tonumber(redis.call('GET', KEYS[1]))", 1, "a")
	large := strings.Repeat("0123456789abcdef", 8<<20/16)
	c.want("OK", "SET", "large", large)
	if got := c.do("GET", "large"); got != large {
		t.Error("a value of 8 MiB came back another")
	}
	c.want("OK", "MULTI") // a link of its own
	c.want("QUEUED", "INCR", "a")
	if got := fmt.Sprint(c.do("EXEC")); got != "[2]" {
		t.Errorf("EXEC: %s", got)
	}
	sub := p.client()
	sub.do("SUBSCRIBE", "news")
	server.Do("PUBLISH", "news", "hello")
	if got, err := sub.Receive(); fmt.Sprint(got) != "[message news hello]" {
		t.Errorf("got %v, %v", got, err)
	}
	blocked := p.client()
	must(t, blocked.Send("BLPOP", "list", 0))
	eventually(t, "the client does not block", func() bool { return server.Info("clients")["blocked_clients"] == "1" })
	blocked.conn.Close()
	eventually(t, "the client still blocks on the server", func() bool { return server.Info("clients")["blocked_clients"] == "0" })
}

func TestLinksShowTheNewestCertificate(t *testing.T) {
	ca := certificates.NewAuthority(t, "ca")
	server, port := tlsServer(t, ca)
	p := before(t, ca, port, "")
	c := p.client()
	c.want("OK", "SET", "a", "1")

	// From now on the server wants certificates of another authority, and shows one.
	next := certificates.NewAuthority(t, "next")
	dir := t.TempDir()
	certFile, keyFile := next.Issue("redis.internal").Write(t, dir, "redis")
	caFile := filepath.Join(dir, "ca.pem")
	certificates.WriteFile(t, caFile, next.PEM())
	if got := server.Do("CONFIG", "SET", "tls-cert-file", certFile, "tls-key-file", keyFile, "tls-ca-cert-file", caFile); got != "OK" {
		t.Fatalf("CONFIG SET: %v", got)
	}
	server.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	eventually(t, "the server's new certificate is trusted although its authority is not", func() bool {
		reply := c.do("GET", "a")
		e, isError := reply.(redisserver.Error)
		return isError && strings.Contains(string(e), "certificate") && strings.Contains(string(e), "did not run")
	})

	certificates.WriteFile(t, filepath.Join(p.dir, "ca.pem"), next.PEM())
	next.Issue("proxy").Write(t, p.dir, "client")
	eventually(t, "the server is not reached with the new certificate", func() bool { return c.do("GET", "a") == "1" })
}

func TestServerWithAnotherNameIsNotTrusted(t *testing.T) {
	ca := certificates.NewAuthority(t, "ca")
	_, port := tlsServer(t, ca)
	dir := t.TempDir()
	certificates.WriteFile(t, filepath.Join(dir, "ca.pem"), ca.PEM())
	ca.Issue("proxy").Write(t, dir, "client")
	p := startIn(t, dir, fmt.Sprintf(`
listen: ["127.0.0.1:PORT"]
upstream:
  primary: "127.0.0.1:%d"
  tls: {enabled: true, ca_file: ca.pem, cert_file: client.pem, key_file: client.key}
`, port))
	reply := p.client().do("GET", "a")
	if e, ok := reply.(redisserver.Error); !ok || !strings.HasPrefix(string(e), "UNAVAILABLE ") {
		t.Errorf("got %v, want UNAVAILABLE", reply)
	}
	if !p.logged("x509") {
		t.Error("the log does not say why")
	}
}

func TestUnixSocketsOnBothSides(t *testing.T) {
	server := redisserver.Start(t, redisserver.UnixSocket())
	dir, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	path := filepath.Join(dir, "p.sock")
	config := fmt.Sprintf(`
listen: [{address: "unix:%s", unix_mode: "0640"}]
upstream: {primary: "unix:%s"}`, path, server.Socket())
	p := startIn(t, dir, config)
	if mode := fileMode(t, path); mode != 0o640 {
		t.Errorf("the socket's mode is %o, want 640", mode)
	}
	c := newClient(t, p.raw("unix", path))
	c.want("OK", "SET", "a", "1")
	c.want("1", "EVAL", "return redis.call('GET', KEYS[1])", 1, "a")
	if info := c.do("CLIENT", "INFO").(string); !strings.Contains(info, " addr="+path+":0 laddr="+path+":0 ") {
		t.Errorf("CLIENT INFO: %q", info)
	}
	if n := server.Info("clients")["connected_clients"]; n == "" || server.Do("GET", "a") != "1" {
		t.Error("the command did not reach the server")
	}

	p.Kill() // as a crash would: the socket stays
	second := startIn(t, t.TempDir(), config)
	newClient(t, second.raw("unix", path)).want("1", "GET", "a")
	if mode := fileMode(t, path); mode != 0o640 {
		t.Errorf("the new socket's mode is %o, want 640", mode)
	}
	if out := refused(t, config); !strings.Contains(out, "another process serves this socket") {
		t.Errorf("a second proxy on the socket said: %s", out)
	}
	newClient(t, second.raw("unix", path)).want("PONG", "PING")
}

func TestFileThatIsNoSocketStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	certificates.WriteFile(t, path, []byte("data"))
	if out := refused(t, fmt.Sprintf("listen: [\"unix:%s\"]\n", path)); !strings.Contains(out, "a file that is not a socket is in the way") {
		t.Errorf("the proxy said: %s", out)
	}
	if fileMode(t, path) != 0o600 {
		t.Error("the file was touched")
	}
}

func TestTLSOnAUnixSocket(t *testing.T) {
	server := redisserver.Start(t)
	ca := certificates.NewAuthority(t, "ca")
	dir := t.TempDir()
	ca.Issue("localhost").Write(t, dir, "server")
	path := filepath.Join(dir, "p.sock")
	p := startIn(t, dir, fmt.Sprintf(`
listen: [{address: "unix:%s", %s}]
upstream: {primary: "%s"}`, path, plainTLS, server.Addr()))
	c := tlsOver(t, p.raw("unix", path), ca)
	c.want("PONG", "PING")
	if info := c.do("CLIENT", "INFO").(string); !strings.Contains(info, " addr="+path+":0 ") {
		t.Errorf("CLIENT INFO: %q", info)
	}
}

func TestConnectTimeoutBoundsTheHandshake(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel, and never says a word
	must(t, err)
	defer ln.Close()
	ca := certificates.NewAuthority(t, "ca")
	dir := t.TempDir()
	certificates.WriteFile(t, filepath.Join(dir, "ca.pem"), ca.PEM())
	p := startIn(t, dir, fmt.Sprintf(`
listen: ["127.0.0.1:PORT"]
auth: {mode: service, users: [{name: default, password_sha256: %s}]}
upstream: {primary: "%s", connect_timeout: 200ms, tls: {enabled: true, ca_file: ca.pem}}
`, sha256hex("pw"), ln.Addr()))
	c := p.client()
	c.want("OK", "AUTH", "pw")
	for range 3 {
		reply := c.do("GET", "a")
		if e, ok := reply.(redisserver.Error); !ok || !strings.Contains(string(e), "did not run") {
			t.Errorf("got %v, want an error that says it did not run", reply)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
