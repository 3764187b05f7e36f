//go:build linux

package edge

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/certificates"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

const plainTLS = "tls: {cert_file: server.pem, key_file: server.key}"

// secured is a proxy with TLS at PORT before a server of its own.
func secured(t testing.TB, listener, more string) (*proxy, *certificates.Authority, *redisserver.Server) {
	t.Helper()
	server := redisserver.Start(t)
	ca := certificates.NewAuthority(t, "ca")
	dir := t.TempDir()
	ca.Issue("localhost", "127.0.0.1").Write(t, dir, "server")
	certificates.WriteFile(t, filepath.Join(dir, "ca.pem"), ca.PEM())
	p := startIn(t, dir, fmt.Sprintf(`
listen: [{address: "127.0.0.1:PORT", %s}]
upstream: {primary: "%s"}
%s`, listener, server.Addr(), more))
	return p, ca, server
}

func trust(ca *certificates.Authority) *tls.Config {
	return &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
}

func redisCLI(t testing.TB, args ...string) (string, error) {
	t.Helper()
	cli, err := exec.LookPath("redis-cli")
	if err != nil {
		t.Fatal("redis-cli is needed: install redis-tools (apt-get install redis-tools)")
	}
	cmd := exec.Command(cli, args...)
	cmd.WaitDelay = patient
	timer := time.AfterFunc(patient, func() { cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestRedisCliSpeaksTLS(t *testing.T) {
	p, _, _ := secured(t, plainTLS, "")
	base := []string{"-h", "localhost", "-p", strconv.Itoa(p.port), "--tls", "--cacert", filepath.Join(p.dir, "ca.pem")}
	for _, test := range []struct{ command, want string }{
		{"SET k v", "OK"}, {"GET k", "v"}, {"EVAL return{KEYS[1],ARGV[1]} 1 a b", "a\nb"}, {"PING", "PONG"},
	} {
		if got, err := redisCLI(t, append(base, strings.Fields(test.command)...)...); got != test.want || err != nil {
			t.Errorf("%s: got %q, %v; want %q", test.command, got, err, test.want)
		}
	}
	if got, err := redisCLI(t, "-h", "localhost", "-p", strconv.Itoa(p.port), "PING"); got == "PONG" {
		t.Errorf("without TLS: %q, %v", got, err)
	}
}

func TestRedisCliShowsItsCertificate(t *testing.T) {
	p, ca, _ := secured(t, `tls: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem, min_version: "1.3"}`, "")
	certFile, keyFile := ca.Issue("client").Write(t, p.dir, "client")
	base := []string{"-h", "localhost", "-p", strconv.Itoa(p.port), "--tls", "--cacert", filepath.Join(p.dir, "ca.pem")}
	if got, err := redisCLI(t, append(base, "PING")...); got == "PONG" {
		t.Errorf("without a certificate: %q, %v", got, err)
	}
	if got, err := redisCLI(t, append(base, "--cert", certFile, "--key", keyFile, "PING")...); got != "PONG" || err != nil {
		t.Errorf("with a certificate: %q, %v", got, err)
	}
	old := trust(ca)
	old.MaxVersion = tls.VersionTLS12
	if err := tls.Client(p.raw("tcp", p.Addr), old).Handshake(); err == nil {
		t.Error("TLS 1.2 was spoken although 1.3 is the least")
	}
}

func TestEverythingWorksOverTLS(t *testing.T) {
	p, ca, server := secured(t, plainTLS, "")
	c := p.tls(trust(ca))

	const pipelined = 10000
	go func() {
		var b []byte
		for i := range pipelined {
			b = redisserver.AppendCommand(b, "SET", "k"+strconv.Itoa(i), i)
		}
		c.conn.Write(b)
	}()
	for range pipelined {
		if reply, err := c.Receive(); reply != "OK" {
			t.Fatalf("got %v, %v", reply, err)
		}
	}
	if n := server.Do("DBSIZE"); n != int64(pipelined) {
		t.Errorf("%v keys were set, want %d", n, pipelined)
	}

	large := strings.Repeat("0123456789abcdef", 8<<20/16)
	c.want("OK", "SET", "large", large)
	if got := c.do("GET", "large"); got != large {
		t.Error("a value of 8 MiB came back another")
	}

	c.want("OK", "MULTI")
	c.want("QUEUED", "INCR", "n")
	if got := fmt.Sprint(c.do("EXEC")); got != "[1]" {
		t.Errorf("EXEC: %s", got)
	}
	c.want(7, "EVAL", "return tonumber(ARGV[1])", 0, 7)

	sub := p.tls(trust(ca))
	sub.do("SUBSCRIBE", "news")
	server.Do("PUBLISH", "news", "hello")
	if got, err := sub.Receive(); fmt.Sprint(got) != "[message news hello]" {
		t.Errorf("got %v, %v", got, err)
	}

	// A client that leaves while blocked must not take what comes later.
	blocked := p.tls(trust(ca))
	must(t, blocked.Send("BLPOP", "list", 0))
	eventually(t, "the client does not block", func() bool { return server.Info("clients")["blocked_clients"] == "1" })
	blocked.conn.Close()
	eventually(t, "the client still blocks", func() bool { return server.Info("clients")["blocked_clients"] == "0" })
	c.want(1, "RPUSH", "list", "x")
	c.want("x", "LPOP", "list")
}

func TestClientListShowsTheTLSClient(t *testing.T) {
	p, ca, _ := secured(t, plainTLS, "")
	c := p.tls(trust(ca))
	info := c.do("CLIENT", "INFO").(string)
	for _, want := range []string{" addr=" + c.conn.LocalAddr().String() + " ", " laddr=" + p.Addr + " "} {
		if !strings.Contains(info, want) {
			t.Errorf("%q lacks %q", info, want)
		}
	}
	c.want("RESET", "RESET")
	if after := c.do("CLIENT", "INFO").(string); !strings.Contains(after, " addr="+c.conn.LocalAddr().String()+" ") {
		t.Errorf("after RESET: %q", after)
	}
}

func TestClientsAreCountedWhateverTheySpeak(t *testing.T) {
	p, ca, _ := secured(t, plainTLS, "limits: {max_clients: 3}")
	for range 3 {
		p.tls(trust(ca)).want("PONG", "PING")
	}
	nc := p.raw("tcp", p.Addr)
	if got, _ := io.ReadAll(nc); len(got) > 0 {
		t.Errorf("a client too many was sent %q", got)
	}
	if n := p.metric("scriptproxy_sessions_rejected_total"); n != 1 {
		t.Errorf("%v clients were counted as rejected, want 1", n)
	}
}

func TestStalledHandshakesEndAndHoldNobodyUp(t *testing.T) {
	p, ca, _ := secured(t, `tls: {cert_file: server.pem, key_file: server.key, handshake_timeout: 1s}`, "")
	var stalled []net.Conn
	for i := range 50 {
		nc := p.raw("tcp", p.Addr)
		if i%2 == 0 {
			_, err := io.WriteString(nc, "\x16\x03\x01\x02\x00\x01\x00")
			must(t, err)
		}
		stalled = append(stalled, nc)
	}
	p.tls(trust(ca)).want("PONG", "PING")
	for _, nc := range stalled {
		if got, _ := io.ReadAll(nc); len(got) > 0 {
			t.Errorf("a stalled client was sent %q", got)
		}
	}
	if n := p.metric("scriptproxy_sessions_rejected_total"); n != 50 {
		t.Errorf("%v connections were counted as rejected, want 50", n)
	}
	if n := p.metric("scriptproxy_sessions"); n != 1 {
		t.Errorf("%v sessions, want 1", n)
	}
}

func TestThousandIdleConnections(t *testing.T) {
	p, ca, _ := secured(t, plainTLS, "")
	p.tls(trust(ca)).want("PONG", "PING")
	files, memory := p.descriptors(), p.Memory("VmRSS")
	const n = 1000
	clients := make([]*client, n)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < n; i += 4 {
				nc, err := net.DialTimeout("tcp", p.Addr, patient)
				if err != nil {
					t.Error(err)
					return
				}
				nc.SetDeadline(time.Now().Add(patient))
				clients[i] = newClient(t, tls.Client(nc, trust(ca)))
				if reply, err := clients[i].Do("SET", "k"+strconv.Itoa(i), i); reply != "OK" || err != nil {
					t.Errorf("client %d: %v, %v", i, reply, err)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	if got := p.metric("scriptproxy_sessions"); got != n+1 {
		t.Errorf("%v sessions, want %d", got, n+1)
	}
	t.Logf("%.1f KiB for one idle connection", float64(p.Memory("VmRSS")-memory)/1024/n)
	for _, i := range []int{0, n / 2, n - 1} {
		clients[i].want(strconv.Itoa(i), "GET", "k"+strconv.Itoa(i))
	}
	for _, c := range clients {
		c.conn.Close()
	}
	// A few more than before are links of another loop, and the metrics' connection.
	p.waitFor("descriptors are still open", func() bool { return p.descriptors() <= files+10 })
	p.waitFor("sessions are still there", func() bool { return p.metric("scriptproxy_sessions") == 1 })
}

func TestCertificatesRotateUnderLoad(t *testing.T) {
	p, ca, _ := secured(t, plainTLS, "")
	next := certificates.NewAuthority(t, "next")
	both := trust(ca)
	both.RootCAs = ca.Pool()
	if !both.RootCAs.AppendCertsFromPEM(next.PEM()) {
		t.Fatal("the authority's certificate is of no use")
	}
	issuer := func() string {
		t.Helper()
		tc := tls.Client(p.raw("tcp", p.Addr), both)
		must(t, tc.Handshake())
		defer tc.Close()
		return tc.ConnectionState().PeerCertificates[0].Issuer.CommonName
	}

	stop := make(chan struct{})
	var wg sync.WaitGroup
	var calls, connects atomic.Int64
	for range 8 { // connections that stay
		c := p.tls(both)
		c.conn.SetDeadline(time.Now().Add(2 * patient))
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if reply, err := c.Do("INCR", "n"); err != nil {
					t.Errorf("a connection that stays: %v, %v", reply, err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for range 2 { // clients that come and go
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				nc, err := net.DialTimeout("tcp", p.Addr, patient)
				if err != nil {
					t.Error(err)
					return
				}
				nc.SetDeadline(time.Now().Add(patient))
				tc := tls.Client(nc, both)
				reply, err := redisserver.NewClient(tc).Do("PING")
				tc.Close()
				if reply != "PONG" || err != nil {
					t.Errorf("a new connection: %v, %v", reply, err)
					return
				}
				connects.Add(1)
			}
		})
	}
	progress := func(what string) {
		t.Helper()
		from, conns := calls.Load(), connects.Load()
		p.waitFor("nobody is served "+what, func() bool { return calls.Load() > from+100 && connects.Load() > conns+5 })
	}
	progress("at first")
	if got := issuer(); got != "ca" {
		t.Fatalf("the certificate is by %s", got)
	}

	next.Issue("localhost").Write(t, p.dir, "server") // noticed without being told
	p.waitFor("the new certificate is not shown", func() bool { return issuer() == "next" })
	progress("after a change")

	certificates.WriteFile(t, filepath.Join(p.dir, "server.pem"), []byte("no certificate\n"))
	if p.reload() {
		t.Error("a configuration with a useless certificate was taken")
	}
	if got := issuer(); got != "next" {
		t.Errorf("with a useless file the certificate is by %s", got)
	}
	progress("with a useless file")

	ca.Issue("localhost").Write(t, p.dir, "server")
	if !p.reload() {
		t.Error("a configuration with a good certificate was refused")
	}
	if got := issuer(); got != "ca" {
		t.Errorf("after a reload the certificate is by %s", got)
	}
	progress("after a reload")
	close(stop)
	wg.Wait()
}

func TestReloadChangesWhoMayConnect(t *testing.T) {
	p, ca, server := secured(t, plainTLS, "")
	old := p.tls(trust(ca))
	p.configure(fmt.Sprintf(`
listen: [{address: "127.0.0.1:PORT", tls: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem}}]
upstream: {primary: "%s"}`, server.Addr()))
	if !p.reload() {
		t.Fatal("the configuration was refused")
	}
	tc := tls.Client(p.raw("tcp", p.Addr), trust(ca))
	if reply, err := redisserver.NewClient(tc).Do("PING"); err == nil {
		t.Errorf("a client without a certificate was answered %v", reply)
	}
	with := trust(ca)
	with.Certificates = []tls.Certificate{ca.Issue("client").Certificate(t)}
	p.tls(with).want("PONG", "PING")
	old.want("PONG", "PING")
}

func TestDrainDeliversWhatWasAnswered(t *testing.T) {
	p, ca, _ := secured(t, plainTLS, "")
	c := p.tls(trust(ca))
	large := strings.Repeat("x", 4<<20)
	c.want("OK", "SET", "large", large)
	must(t, c.Send("GET", "large"))
	time.Sleep(100 * time.Millisecond) // the reply is on its way, and does not fit what lies between
	must(t, p.Cmd.Process.Signal(syscall.SIGTERM))
	p.waitFor("the proxy does not drain", func() bool { return p.logged("msg=draining") })
	time.Sleep(50 * time.Millisecond)
	if reply, err := c.Receive(); reply != large || err != nil {
		t.Errorf("the reply is cut: %v", err)
	}
	c.ended("after the drain")
	select {
	case <-p.Exited:
	case <-time.After(patient):
		t.Fatal("the proxy does not end")
	}
	if code := p.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d", code)
	}
}
