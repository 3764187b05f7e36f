//go:build linux

package edge

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/certificates"
	"github.com/scriptproxy/scriptproxy/test/child"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// proxyHeader is a PROXY protocol header of version 2 for a TCP connection.
func proxyHeader(src, dst string) string {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	family := byte(0x11)
	if s.Addr().Is6() {
		family = 0x21
	}
	rest := append(s.Addr().AsSlice(), d.Addr().AsSlice()...)
	rest = binary.BigEndian.AppendUint16(rest, s.Port())
	rest = binary.BigEndian.AppendUint16(rest, d.Port())
	b := append([]byte("\r\n\r\n\x00\r\nQUIT\n\x21"), family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rest)))
	return string(append(b, rest...))
}

func behindBalancer(t testing.TB, more string) *proxy {
	t.Helper()
	server := redisserver.Start(t)
	return start(t, fmt.Sprintf(`
listen: [{address: "127.0.0.1:PORT", proxy_protocol: true}]
upstream: {primary: "%s"}
%s`, server.Addr(), more))
}

func TestClientIsWhoTheHeaderSays(t *testing.T) {
	p := behindBalancer(t, "")
	for src, dst := range map[string]string{"192.0.2.7:4711": "198.51.100.1:6379", "[2001:db8::7]:4711": "[2001:db8::1]:6379"} {
		nc := p.raw("tcp", p.Addr)
		_, err := io.WriteString(nc, proxyHeader(src, dst))
		must(t, err)
		c := newClient(t, nc)
		if info := c.do("CLIENT", "INFO").(string); !strings.Contains(info, " addr="+src+" laddr="+dst+" ") {
			t.Errorf("CLIENT INFO: %q, want %s and %s", info, src, dst)
		}
	}
	// Pipelined right behind the header, and killed by the address in it.
	nc := p.raw("tcp", p.Addr)
	_, err := io.WriteString(nc, proxyHeader("192.0.2.8:1", "192.0.2.9:2")+"PING\r\nPING\r\n")
	must(t, err)
	victim := newClient(t, nc)
	for range 2 {
		if reply, err := victim.Receive(); reply != "PONG" || err != nil {
			t.Fatalf("got %v, %v", reply, err)
		}
	}
	admin := p.raw("tcp", p.Addr)
	_, err = io.WriteString(admin, proxyHeader("192.0.2.10:1", "192.0.2.9:2"))
	must(t, err)
	newClient(t, admin).want(1, "CLIENT", "KILL", "ADDR", "192.0.2.8:1")
	victim.ended("after CLIENT KILL")
}

func TestConnectionWithoutHeaderIsClosedAndCounted(t *testing.T) {
	p := behindBalancer(t, "")
	for _, send := range []string{"*1\r\n$4\r\nPING\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00"} {
		nc := p.raw("tcp", p.Addr)
		_, err := io.WriteString(nc, send)
		must(t, err)
		if got, _ := io.ReadAll(nc); len(got) > 0 {
			t.Errorf("%q was answered %q", send, got)
		}
	}
	if n := p.metric("scriptproxy_sessions_rejected_total"); n != 3 {
		t.Errorf("%v connections were counted as rejected, want 3", n)
	}
	if n := p.metric("scriptproxy_sessions"); n != 0 {
		t.Errorf("%v sessions, want none", n)
	}
}

func TestClientsAreCountedBehindABalancer(t *testing.T) {
	p := behindBalancer(t, "limits: {max_clients: 1}")
	dial := func() *client {
		nc := p.raw("tcp", p.Addr)
		_, err := io.WriteString(nc, proxyHeader("192.0.2.7:4711", "198.51.100.1:6379"))
		must(t, err)
		return newClient(t, nc)
	}
	dial().want("PONG", "PING")
	if reply, err := dial().Receive(); reply != redisserver.Error("ERR max number of clients reached") {
		t.Errorf("a client too many got %v, %v", reply, err)
	}
}

// haproxy runs a real load balancer before the listener at port, and returns its own port.
func haproxy(t testing.TB, port int) int {
	t.Helper()
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Fatal("haproxy is needed: install it (apt-get install haproxy)")
	}
	front := redisserver.FreePort(t)
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	certificates.WriteFile(t, config, []byte(fmt.Sprintf(`
global
  maxconn 100
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen l
  bind 127.0.0.1:%d
  server s 127.0.0.1:%d send-proxy-v2 check check-send-proxy inter 50ms
`, front, port)))
	cmd := exec.Command("haproxy", "-f", config, "-db", "-q")
	exited, err := child.Start(cmd)
	must(t, err)
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
	})
	eventually(t, "haproxy does not listen", func() bool {
		nc, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", front), time.Second)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	return front
}

func TestARealBalancerTellsWhoTheClientIs(t *testing.T) {
	server := redisserver.Start(t)
	ca := certificates.NewAuthority(t, "ca")
	dir := t.TempDir()
	ca.Issue("localhost").Write(t, dir, "server")
	secure := redisserver.FreePort(t)
	p := startIn(t, dir, fmt.Sprintf(`
listen:
  - {address: "127.0.0.1:PORT", proxy_protocol: true}
  - {address: "127.0.0.1:%d", proxy_protocol: true, %s}
upstream: {primary: "%s"}`, secure, plainTLS, server.Addr()))
	plainFront, tlsFront := haproxy(t, p.port), haproxy(t, secure)

	check := func(name string, c *client) {
		t.Helper()
		c.want("OK", "SET", "k", name)
		if info := c.do("CLIENT", "INFO").(string); !strings.Contains(info, " addr="+c.conn.LocalAddr().String()+" ") {
			t.Errorf("%s: %q lacks the client's address %s", name, info, c.conn.LocalAddr())
		}
		c.want(name, "GET", "k")
	}
	check("plain", newClient(t, p.raw("tcp", fmt.Sprintf("127.0.0.1:%d", plainFront))))
	check("TLS", tlsOver(t, p.raw("tcp", fmt.Sprintf("127.0.0.1:%d", tlsFront)), ca))
	// haproxy's health checks say LOCAL, and end at once: none may be refused.
	time.Sleep(200 * time.Millisecond)
	if strings.Contains(p.Log(), "no valid PROXY protocol") {
		t.Errorf("a health check was refused:\n%s", p.Log())
	}
}
