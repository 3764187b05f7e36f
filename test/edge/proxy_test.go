//go:build linux

package edge

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/certificates"
	"github.com/scriptproxy/scriptproxy/test/child"
	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// proxy is a running program under test. It is killed when its test ends.
type proxy struct {
	*program.Process
	t         testing.TB
	dir       string // of the configuration
	port      int    // of the listener that the test's configuration has at PORT
	adminPort int
}

// start writes a configuration into a directory of its own and runs the program on it. PORT stands for a free port.
func start(t testing.TB, config string) *proxy {
	t.Helper()
	return startIn(t, t.TempDir(), config)
}

func startIn(t testing.TB, dir, config string) *proxy {
	t.Helper()
	p := &proxy{t: t, dir: dir, port: redisserver.FreePort(t), adminPort: redisserver.FreePort(t)}
	p.configure(config)
	p.run(p.configFile())
	return p
}

// run starts the program on a configuration file and waits until it serves.
func (p *proxy) run(config string) {
	p.t.Helper()
	p.Process = program.StartLogging(p.t, built, config, filepath.Join(p.dir, "proxy.log"))
	p.t.Cleanup(p.Kill)
	p.Addr, p.Admin = local(p.port), local(p.adminPort)
	p.waitFor("the proxy does not serve", func() bool { return p.logged("msg=serving") })
}

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// configure writes the configuration, with an admin listener added.
func (p *proxy) configure(config string) {
	p.t.Helper()
	next := p.configFile() + ".next"
	must(p.t, os.WriteFile(next, []byte(p.complete(config)), 0o600))
	must(p.t, os.Rename(next, p.configFile()))
}

// complete fills in the port of a configuration, and adds an admin listener.
func (p *proxy) complete(config string) string {
	config = strings.ReplaceAll(config, "PORT", strconv.Itoa(p.port))
	return config + fmt.Sprintf("\nadmin: {listen: %q}\nlog: {level: debug}\n", local(p.adminPort))
}

func (p *proxy) configFile() string { return filepath.Join(p.dir, "proxy.yaml") }

func (p *proxy) logged(text string) bool { return strings.Contains(p.Log(), text) }

// waitFor waits until done, or fails the test; it fails at once when the proxy has ended.
func (p *proxy) waitFor(what string, done func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patient); !done(); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.Exited:
			p.t.Fatalf("the proxy has ended: %v; %s", p.Cmd.ProcessState, what)
		default:
		}
		if time.Now().After(end) {
			p.t.Fatalf("after %v: %s", patient, what)
		}
	}
}

// reload has the configuration read, and waits until it was; it reports whether it was taken.
func (p *proxy) reload() bool {
	p.t.Helper()
	good, bad := strings.Count(p.Log(), "msg=\"configuration reloaded\""), strings.Count(p.Log(), "msg=\"the configuration was not reloaded\"")
	must(p.t, p.Cmd.Process.Signal(syscall.SIGHUP))
	taken := false
	p.waitFor("nothing was reloaded", func() bool {
		log := p.Log()
		taken = strings.Count(log, "msg=\"configuration reloaded\"") > good
		return taken || strings.Count(log, "msg=\"the configuration was not reloaded\"") > bad
	})
	return taken
}

// metric is the value of a series, which must be there.
func (p *proxy) metric(name string) float64 {
	p.t.Helper()
	f, ok := p.series(name)
	if !ok {
		p.t.Fatalf("there is no metric %s", name)
	}
	return f
}

// series is the value of a series, with its labels as the text format has them, if there is one.
func (p *proxy) series(name string) (value float64, ok bool) {
	p.t.Helper()
	value, ok = p.Metrics()[name]
	return value, ok
}

// descriptors is the number of files that the proxy has open.
func (p *proxy) descriptors() int {
	p.t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Cmd.Process.Pid))
	must(p.t, err)
	return len(list)
}

// raw connects to an address of the proxy.
func (p *proxy) raw(network, address string) net.Conn {
	p.t.Helper()
	nc, err := net.DialTimeout(network, address, patient)
	must(p.t, err)
	must(p.t, nc.SetDeadline(time.Now().Add(patient)))
	p.t.Cleanup(func() { nc.Close() })
	return nc
}

// client is a plain client of the listener at PORT.
func (p *proxy) client() *client { p.t.Helper(); return newClient(p.t, p.raw("tcp", p.Addr)) }

// tls is a client of the listener at PORT with TLS.
func (p *proxy) tls(c *tls.Config) *client {
	p.t.Helper()
	tc := tls.Client(p.raw("tcp", p.Addr), c)
	must(p.t, tc.Handshake())
	return newClient(p.t, tc)
}

// client fails the test when its connection does.
type client struct {
	*redisserver.Client
	t    testing.TB
	conn net.Conn
}

func newClient(t testing.TB, nc net.Conn) *client {
	return &client{redisserver.NewClient(nc), t, nc}
}

// do sends a command and returns its reply; an error reply is a value.
func (c *client) do(args ...any) any {
	c.t.Helper()
	reply, err := c.Client.Do(args...)
	if err != nil {
		c.t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// want fails the test unless a command is answered as expected; an error is written with its "-".
func (c *client) want(reply any, args ...any) {
	c.t.Helper()
	got := c.do(args...)
	if e, ok := got.(redisserver.Error); ok {
		got = "-" + string(e)
	}
	if n, ok := reply.(int); ok {
		reply = int64(n)
	}
	if got != reply {
		c.t.Errorf("%v: got %v, want %v", args, got, reply)
	}
}

// ended waits for the end of the connection, and fails the test when something else comes.
func (c *client) ended(what string) {
	c.t.Helper()
	if reply, err := c.Receive(); err == nil {
		c.t.Errorf("%s: the connection goes on, with %v", what, reply)
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		c.t.Errorf("%s: the connection goes on", what)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v: %s", patient, what)
		}
	}
}

// refused runs the program on a configuration with which it must not start, and returns what it says.
func refused(t testing.TB, config string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "proxy.yaml")
	must(t, os.WriteFile(file, []byte(config+"\nadmin: {listen: \"\"}\n"), 0o600))
	var out bytes.Buffer
	cmd := exec.Command(built, "serve", "-config", file)
	cmd.Stdout, cmd.Stderr = &out, &out
	exited, err := child.Start(cmd)
	must(t, err)
	select {
	case <-exited:
	case <-time.After(patient):
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
		t.Fatalf("the proxy started:\n%s", out.String())
	}
	if cmd.ProcessState.Success() {
		t.Error("the proxy ended with status 0")
	}
	return out.String()
}

func fileMode(t testing.TB, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	return info.Mode().Perm()
}

func sha256hex(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

// tlsOver speaks TLS on a connection.
func tlsOver(t testing.TB, nc net.Conn, ca *certificates.Authority) *client {
	t.Helper()
	tc := tls.Client(nc, trust(ca))
	must(t, tc.Handshake())
	return newClient(t, tc)
}
