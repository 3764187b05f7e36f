//go:build linux

package protect

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/program"
	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// patience bounds every wait for something that takes milliseconds on an idle machine.
const patience = program.Patience

type option = program.Option

var (
	set    = program.Set
	script = program.Script
)

// proxy is one running scriptproxy.
type proxy struct {
	*program.Process
	t *testing.T
}

// startProxy runs the proxy in front of a primary and replicas, and waits until it serves and says that it is ready.
func startProxy(t *testing.T, primary *redisserver.Server, replicas []*redisserver.Server, opts ...option) *proxy {
	t.Helper()
	p := &proxy{program.Start(t, binary, program.Config(t, primary.Addr(), replicas, opts...)), t}
	p.AwaitServing()
	p.AwaitReady()
	return p
}

// counted returns the value of a series, 0 when it is not there; name is without the prefix, and labels stand in the order of their names.
func (p *proxy) counted(name, labels string) float64 {
	p.t.Helper()
	return p.Metrics()["scriptproxy_"+name+"{"+labels+"}"]
}

// awaitRunning waits until the proxy knows that a node runs the script.
func (p *proxy) awaitRunning(script string) {
	p.t.Helper()
	p.Eventually("know that "+script+" runs", func() error {
		for name := range p.Metrics() {
			if strings.HasPrefix(name, "scriptproxy_script_running_seconds{") && strings.Contains(name, `script="`+script+`"`) {
				return nil
			}
		}
		return fmt.Errorf("/metrics tells of no such run")
	})
}

// dial returns a connection of a client that is closed with the test. Its calls give up after 30 seconds.
func (p *proxy) dial() *redisserver.Client {
	p.t.Helper()
	c, err := redisserver.DialClient(p.Addr, "")
	if err != nil {
		p.t.Fatalf("connect to scriptproxy: %v", err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

// do sends one command on c and returns its reply; a connection that fails fails the test.
func do(t *testing.T, c *redisserver.Client, args ...any) any {
	t.Helper()
	reply, err := c.Do(args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return reply
}

// answer is what came of a command that was sent on its own goroutine.
type answer struct {
	reply any
	err   error
	took  time.Duration
}

// later sends a command and returns where its reply will be.
func later(c *redisserver.Client, args ...any) <-chan answer {
	ch := make(chan answer, 1)
	go func() {
		began := time.Now()
		reply, err := c.Do(args...)
		ch <- answer{reply, err, time.Since(began)}
	}()
	return ch
}

// await waits for an answer; a connection that failed fails the test.
func await(t *testing.T, ch <-chan answer) answer {
	t.Helper()
	select {
	case a := <-ch:
		if a.err != nil {
			t.Fatalf("no reply: %v", a.err)
		}
		return a
	case <-time.After(patience):
		t.Fatalf("no reply within %v", patience)
	}
	return answer{}
}

// isError reports whether a reply is an error that holds all of words.
func isError(reply any, words ...string) bool {
	e, ok := reply.(redisserver.Error)
	for _, w := range words {
		ok = ok && strings.Contains(string(e), w)
	}
	return ok
}

// never fails the test if f returns an error within d.
func never(t *testing.T, d time.Duration, f func() error) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
}
