//go:build linux

package protect

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// slowLane passes connections on to a server, and holds back what the server sends while it is closed.
type slowLane struct {
	ln   net.Listener
	to   string
	mu   sync.Mutex
	cond *sync.Cond
	held bool
	ends []net.Conn
	wg   sync.WaitGroup
}

// newSlowLane opens a way to a server that ends with the test.
func newSlowLane(t *testing.T, s *redisserver.Server) *slowLane {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &slowLane{ln: ln, to: s.Addr()}
	l.cond = sync.NewCond(&l.mu)
	l.wg.Go(l.accept)
	t.Cleanup(func() {
		ln.Close()
		l.hold(false)
		l.mu.Lock()
		for _, end := range l.ends {
			end.Close()
		}
		l.mu.Unlock()
		l.wg.Wait()
	})
	return l
}

func (l *slowLane) accept() {
	for {
		in, err := l.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.DialTimeout("tcp", l.to, patience)
		if err != nil {
			in.Close()
			continue
		}
		l.mu.Lock()
		l.ends = append(l.ends, in, out)
		l.mu.Unlock()
		l.wg.Go(func() {
			io.Copy(out, in)
			out.Close()
		})
		l.wg.Go(func() {
			defer in.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := out.Read(buf)
				l.mu.Lock()
				for l.held {
					l.cond.Wait()
				}
				l.mu.Unlock()
				if _, failed := in.Write(buf[:n]); err != nil || failed != nil {
					return
				}
			}
		})
	}
}

// hold closes the lane, or opens it again.
func (l *slowLane) hold(on bool) {
	l.mu.Lock()
	l.held = on
	l.mu.Unlock()
	l.cond.Broadcast()
}

// lagging starts a primary and a replica that follows it over a lane.
func lagging(t *testing.T) (primary, replica *redisserver.Server, lane *slowLane) {
	t.Helper()
	primary, replica = redisserver.Start(t), redisserver.Start(t)
	lane = newSlowLane(t, primary)
	primary.Do("SET", "k", "old")
	host, port, _ := net.SplitHostPort(lane.ln.Addr().String())
	if got := replica.Do("REPLICAOF", host, port); got != "OK" {
		t.Fatalf("REPLICAOF: %v", got)
	}
	for end := time.Now().Add(patience); replica.Do("GET", "k") != "old"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the replica has not got what the primary has within %v", patience)
		}
	}
	return primary, replica, lane
}

// TestReplicaThatLagsIsLeftAlone has a replica that answers, and whose connection to the primary stands, fall behind in one measure, with
// consistency eventual: only the bound keeps reads from it.
func TestReplicaThatLagsIsLeftAlone(t *testing.T) {
	for _, c := range []struct {
		name     string
		maxLag   string
		maxBytes string
		write    string // what takes the replica past the bound
	}{
		{"in bytes", "1h", "4KiB", strings.Repeat("x", 10_000)},
		{"in time", "500ms", "0", "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			primary, replica, lane := lagging(t)
			p := startProxy(t, primary, []*redisserver.Server{replica}, set("routing.reads", "replica"), set("routing.consistency", "eventual"),
				set("routing.max_lag", c.maxLag), set("routing.max_lag_bytes", c.maxBytes), set("loops", 1))
			reader := p.dial()
			fromReplica := func() error {
				before := reads(replica)
				do(t, reader, "GET", "k")
				if reads(replica) == before {
					return fmt.Errorf("it reads the primary")
				}
				return nil
			}
			p.Eventually("read the replica", fromReplica)
			lane.hold(true)
			writer := p.dial()
			do(t, writer, "SET", "k", "new")
			if c.maxBytes != "0" {
				// Behind, but within the bound.
				if err := fromReplica(); err != nil {
					t.Error(err)
				}
				if got := do(t, reader, "GET", "k"); got != "old" {
					t.Errorf("the replica that lags has %v: nothing is shown", got)
				}
			}
			do(t, writer, "SET", "more", c.write)
			p.Eventually("leave the replica alone", func() error {
				if got := do(t, reader, "GET", "k"); got != "new" {
					return fmt.Errorf("a read got %v", got)
				}
				return nil
			})
			before := reads(replica)
			for range 50 {
				if got := do(t, reader, "GET", "k"); got != "new" {
					t.Fatalf("a read got %v", got)
				}
			}
			if n := reads(replica) - before; n > 0 {
				t.Errorf("%d of 50 reads went to the replica that lags", n)
			}
			if replica.Info("replication")["master_link_status"] != "up" {
				t.Error("the replica's connection has ended: it was not the lag that counted")
			}
			lane.hold(false)
			p.Eventually("read the replica again", fromReplica)
		})
	}
}
