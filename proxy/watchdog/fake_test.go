package watchdog

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// patience bounds every wait.
const patience = 20 * time.Second

// fixture is a Dog with one node, and what it says and counts.
type fixture struct {
	t       *testing.T
	dog     *Dog
	node    *topology.Node
	running *Running
	metrics *metrics.Metrics
	id      metrics.ScriptID
	mu      sync.Mutex
	text    bytes.Buffer
	opened  []*Breaker
}

func (f *fixture) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.Write(b)
}

func (f *fixture) log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.String()
}

var begin = time.Now()

func now() int64 { return int64(time.Since(begin)) + 1 }

// watch starts a Dog for the server at addr.
func watch(t *testing.T, addr string, set Settings) *fixture {
	t.Helper()
	f := &fixture{t: t, node: topology.NewNode(addr, 0, now()), metrics: metrics.New(metrics.Options{})}
	f.id = f.metrics.Script("job", "v1")
	f.dog = New(Options{
		Nodes: []*topology.Node{f.node}, ConnectTimeout: time.Second, Now: now, Metrics: f.metrics,
		Dial: func(ctx context.Context, n *topology.Node) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", n.Addr)
		},
		Logger: slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Free:   func(*topology.Node) {},
		Opened: func(b *Breaker) { f.mu.Lock(); f.opened = append(f.opened, b); f.mu.Unlock() },
	})
	f.running = f.dog.Running(f.node)
	f.dog.Apply(set)
	f.dog.Start()
	t.Cleanup(func() {
		f.dog.Close()
		if t.Failed() {
			t.Logf("the log:\n%s", f.log())
		}
	})
	return f
}

// run is a call of the script "job" that began a while ago and is past its deadline.
func (f *fixture) run(kind Kind) *Run {
	r := NewRun(Call{
		Node: f.node, Link: "link", Kind: kind, Label: "script 'job'", Name: "job", Version: "v1", Metric: f.id, Deadline: 50 * time.Millisecond,
		Breaker: NewBreaker("job", BreakerSettings{Kills: 1, Window: time.Minute, OpenFor: time.Minute}),
	}, now()-int64(100*time.Millisecond))
	f.running.Enter(r)
	return r
}

// kills is how many kills of the script "job" ended with a result.
func (f *fixture) kills(result string) float64 {
	f.t.Helper()
	families, err := f.metrics.Registry().Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "scriptproxy_script_kills_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := ""
			for _, l := range m.GetLabel() {
				labels += l.GetName() + "=" + l.GetValue() + " "
			}
			if strings.Contains(labels, "result="+result+" ") && strings.Contains(labels, "script=job ") {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// eventually waits until f returns nil.
func (f *fixture) eventually(what string, check func() error) {
	f.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("%s: %v", what, err)
		}
	}
}

// counted waits until a result was counted n times.
func (f *fixture) counted(result string, n float64) {
	f.t.Helper()
	f.eventually("counting "+result, func() error {
		if got := f.kills(result); got != n {
			return fmt.Errorf("counted %v times, want %v", got, n)
		}
		return nil
	})
}

func (f *fixture) logged(text string) {
	f.t.Helper()
	f.eventually("the log", func() error {
		if !strings.Contains(f.log(), text) {
			return fmt.Errorf("it does not say %q", text)
		}
		return nil
	})
}

// fake is a server that answers as its function says: with "" not at all, with "close" by ending the connection.
type fake struct {
	net.Listener
	mu     sync.Mutex
	got    []string
	answer func(command string) string
}

func newFake(t *testing.T, answer func(command string) string) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fake{Listener: ln, answer: answer}
	var wg sync.WaitGroup
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			conns = append(conns, c)
			s.mu.Unlock()
			wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		s.mu.Unlock()
		wg.Wait()
	})
	return s
}

func (s *fake) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		var n int
		if _, err := fmt.Fscanf(r, "*%d\r\n", &n); err != nil {
			return
		}
		words := make([]string, n)
		for i := range words {
			var size int
			if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
				return
			}
			b := make([]byte, size+2)
			if _, err := io.ReadFull(r, b); err != nil {
				return
			}
			words[i] = string(b[:size])
		}
		command := strings.Join(words, " ")
		s.mu.Lock()
		s.got = append(s.got, command)
		answer := s.answer
		s.mu.Unlock()
		switch a := answer(command); a {
		case "":
		case "close":
			return
		default:
			io.WriteString(c, a+"\r\n")
		}
	}
}

// asked is how often a command has come.
func (s *fake) asked(command string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, got := range s.got {
		if got == command {
			n++
		}
	}
	return n
}
