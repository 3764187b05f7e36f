//go:build linux

package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// selfSigned writes a certificate for 127.0.0.1, which is its own authority, and its key.
func selfSigned(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "store"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "store.pem"), filepath.Join(dir, "store.key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestStoreOverTLSWithAPasswordIsRememberedOnDisk(t *testing.T) {
	primary := redisserver.Start(t)
	dir := t.TempDir()
	cert, key := selfSigned(t, dir)
	secure := strconv.Itoa(redisserver.FreePort(t))
	store := redisserver.Start(t, redisserver.Password("sesame"), redisserver.AOF(), redisserver.Args(
		"tls-port", secure, "tls-cert-file", cert, "tls-key-file", key, "tls-ca-cert-file", cert, "tls-auth-clients", "yes"))
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := object{
		"scripts": declare("which", "return 'v1'", "return 'v2'"),
		"registry": object{"store": "redis", "redis": object{
			"address": "127.0.0.1:" + secure, "password_file": password, "namespace": "tls.test", "cache_file": "cache",
			"tls": object{"enabled": true, "ca_file": cert, "cert_file": cert, "key_file": key},
		}},
	}
	p := newProxy(t, settings, primary).start()
	p.must("script", "activate", "-yes", "which", "v2")
	if v := store.Do("HEXISTS", "{tls.test}:state", "which"); v != int64(1) {
		t.Errorf("the store has no state of which: %v", v)
	}
	if up := metric(t, p, "scriptproxy_registry_up"); up != "1" {
		t.Errorf("registry_up is %q", up)
	}
	p.Stop()

	store.Kill()
	p.start()
	if v := do(t, p.client(), "EVALSHA", "which", 0); v != "v2" {
		t.Errorf("without the store, with the copy on disk, %v runs", v)
	}
	await(t, "the metric says that the store is away", func() bool { return metric(t, p, "scriptproxy_registry_up") == "0" })
	if _, state := p.api(http.MethodGet, "/api/v1/registry", nil); state["away"] != true || state["overrides"] != float64(1) {
		t.Errorf("the registry says %v", state)
	}
	if o := metric(t, p, "scriptproxy_registry_overrides"); o != "1" {
		t.Errorf("registry_overrides is %q", o)
	}
	store.Restart()
	await(t, "the metric says that the store is back", func() bool { return metric(t, p, "scriptproxy_registry_up") == "1" })
	p.must("script", "rollback", "which")
	if strings.Contains(p.Log(), "sesame") {
		t.Error("the password is in the log")
	}
}

// metric is the value of a metric without labels, empty when there is none.
func metric(t *testing.T, p *proxy, name string) string {
	t.Helper()
	for line := range strings.Lines(metrics(t, p)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestOperatorsReachTheAPIOverTLS(t *testing.T) {
	primary := redisserver.Start(t)
	cert, key := selfSigned(t, t.TempDir())
	p := newProxy(t, object{"scripts": declare("which", "return 'v1'"), "admin": object{"tls": object{"cert_file": cert, "key_file": key, "client_ca_file": cert}}}, primary)
	p.launch()
	var r result
	await(t, "the API answers over TLS", func() bool {
		r = p.cli("script", "ls", "-admin", "https://"+p.admin, "-ca-file", cert, "-cert-file", cert, "-key-file", key)
		return r.code == 0
	})
	if !strings.Contains(r.stdout, "which") {
		t.Errorf("it says %s", r.stdout)
	}
	for what, args := range map[string][]string{
		"without a certificate":    {"-admin", "https://" + p.admin, "-ca-file", cert},
		"without the authority":    {"-admin", "https://" + p.admin, "-cert-file", cert, "-key-file", key},
		"without TLS":              {"-admin", "http://" + p.admin},
		"with a file that is none": {"-admin", "https://" + p.admin, "-ca-file", key},
	} {
		if r := p.cli(append([]string{"script", "ls"}, args...)...); r.code != 1 || r.stdout != "" {
			t.Errorf("%s: status %d, %s%s", what, r.code, r.stdout, r.stderr)
		}
	}
}
