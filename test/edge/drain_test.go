//go:build linux

package edge

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// page asks the admin listener.
func (p *proxy) page(path string) (status int, body string, err error) {
	client := http.Client{Timeout: patient, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + p.Admin + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// TestReadinessGoesFirstAndLivenessLast is what load balancers and Kubernetes see of a drain: from its beginning the proxy is not ready,
// and until its end it is alive, so that nobody cuts it short.
func TestReadinessGoesFirstAndLivenessLast(t *testing.T) {
	server := redisserver.Start(t)
	p := start(t, fmt.Sprintf("listen: [127.0.0.1:PORT]\nupstream: {primary: %q}\n", server.Addr()))
	if status, body, err := p.page("/readyz"); status != http.StatusOK {
		t.Fatalf("before: %d %s %v", status, body, err)
	}
	c := p.client()
	const busy = "local t = redis.call('TIME')[1] + 2 while tonumber(redis.call('TIME')[1]) < t do end return 'done'"
	must(t, c.Send("EVAL", busy, "0"))
	p.waitFor("the script does not run", func() bool {
		_, ok := p.series(`scriptproxy_script_running_seconds{node="` + server.Addr() + `",script="unregistered"}`)
		return ok
	})
	must(t, p.Cmd.Process.Signal(syscall.SIGTERM))
	p.waitFor("the proxy does not drain", func() bool { return p.logged("msg=draining sessions=1") })
	status, body, err := p.page("/readyz")
	if err != nil || status != http.StatusServiceUnavailable || !strings.Contains(body, "draining") {
		t.Errorf("/readyz while draining: %d %s %v", status, body, err)
	}
	if status, body, err := p.page("/livez"); err != nil || status != http.StatusOK {
		t.Errorf("/livez while draining: %d %s %v", status, body, err)
	}
	if nc, err := net.DialTimeout("tcp", p.Addr, time.Second); err == nil {
		nc.Close()
		t.Error("a client is accepted while draining")
	}
	if reply, err := c.Receive(); reply != "done" || err != nil {
		t.Errorf("what was accepted is answered %v, %v", reply, err)
	}
	c.ended("after the drain")
	select {
	case <-p.Exited:
	case <-time.After(patient):
		t.Fatal("the proxy does not end")
	}
	if code := p.Cmd.ProcessState.ExitCode(); code != 0 || !p.logged("msg=drained") {
		t.Errorf("exit status %d, and the log says\n%s", code, p.Log())
	}
}
