//go:build linux

package edge

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/certificates"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// shown is the common name in the certificate that a client is shown which asks for a server name; "" asks for none.
func (p *proxy) shown(t testing.TB, name string) string {
	t.Helper()
	// What the certificate is good for is looked at here, not by the client: a wrong one is to be seen.
	tc := tls.Client(p.raw("tcp", p.Addr), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	must(t, tc.Handshake())
	c := newClient(t, tc)
	c.want("PONG", "PING")
	defer tc.Close()
	return tc.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestTheServerNameChoosesTheCertificate(t *testing.T) {
	const listener = `tls: {cert_file: server.pem, key_file: server.key, certificates: [{cert_file: shop.pem, key_file: shop.key}, {cert_file: any.pem, key_file: any.key}]}`
	server := redisserver.Start(t)
	ca := certificates.NewAuthority(t, "ca")
	dir := t.TempDir()
	ca.Issue("localhost", "127.0.0.1").Write(t, dir, "server")
	ca.Issue("redis.shop.test", "cache.shop.test").Write(t, dir, "shop")
	ca.Issue("*.tenants.test").Write(t, dir, "any")
	ca.Issue("late.test").Write(t, dir, "late")
	certificates.WriteFile(t, filepath.Join(dir, "ca.pem"), ca.PEM())
	config := func(tls string) string {
		return fmt.Sprintf("listen: [{address: \"127.0.0.1:PORT\", %s}]\nupstream: {primary: %q}\n", tls, server.Addr())
	}
	p := startIn(t, dir, config(listener))
	expect := func(want map[string]string) {
		t.Helper()
		for name, cn := range want {
			if got := p.shown(t, name); got != cn {
				t.Errorf("who asks for %q is shown the certificate of %q, want that of %q", name, got, cn)
			}
		}
	}
	expect(map[string]string{
		"localhost": "localhost", "redis.shop.test": "redis.shop.test", "cache.shop.test": "redis.shop.test", "CACHE.shop.TEST": "redis.shop.test",
		"one.tenants.test": "*.tenants.test", "a.one.tenants.test": "localhost", "stranger.test": "localhost", "": "localhost",
	})

	// A client that checks what it is shown finds each name good.
	for _, name := range []string{"localhost", "cache.shop.test", "two.tenants.test"} {
		p.tls(&tls.Config{RootCAs: ca.Pool(), ServerName: name}).want("PONG", "PING")
	}
	if got, err := redisCLI(t, "-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "--tls", "--cacert", filepath.Join(dir, "ca.pem"), "--sni", "redis.shop.test", "PING"); got != "PONG" || err != nil {
		t.Errorf("redis-cli --sni: %q, %v", got, err)
	}

	// A file that changes is noticed, whichever it is.
	stays := p.tls(&tls.Config{RootCAs: ca.Pool(), ServerName: "cache.shop.test"})
	ca.Issue("shop.new", "redis.shop.test").Write(t, dir, "shop")
	p.waitFor("the new certificate is not shown", func() bool { return p.shown(t, "redis.shop.test") == "shop.new" })
	expect(map[string]string{"localhost": "localhost", "cache.shop.test": "localhost", "one.tenants.test": "*.tenants.test"})

	// A reload adds certificates and takes others away; one of no use changes nothing.
	p.configure(config(`tls: {certificates: [{cert_file: late.pem, key_file: late.key}, {cert_file: server.pem, key_file: shop.key}]}`))
	if p.reload() {
		t.Error("a certificate without its key was taken")
	}
	expect(map[string]string{"late.test": "localhost", "one.tenants.test": "*.tenants.test"})
	p.configure(config(`tls: {certificates: [{cert_file: late.pem, key_file: late.key}, {cert_file: server.pem, key_file: server.key}]}`))
	if !p.reload() {
		t.Fatal("good certificates were refused")
	}
	expect(map[string]string{"late.test": "late.test", "localhost": "localhost", "": "late.test", "one.tenants.test": "late.test"})
	stays.want("PONG", "PING")
}
