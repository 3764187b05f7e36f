//go:build linux

package faults

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

// TestPrimaryThatRestartsInOrderUnderLoadIsToldTruly: what was answered is in the append-only file, what was refused is not, and
// the load goes on by itself.
func TestPrimaryThatRestartsInOrderUnderLoadIsToldTruly(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t, redisserver.AOF())
	p := startProxy(t, s.Addr(), eagerly...)
	const clients = 16
	type outcome struct{ sure, maybe, refused map[string]bool }
	outcomes := make([]outcome, clients)
	errs := make(chan error, clients)
	var stop atomic.Bool
	var after atomic.Int64 // clients that have written since the last restart
	var restarted atomic.Bool
	var working sync.WaitGroup
	for i := range clients {
		conn := p.Open()
		o := outcome{map[string]bool{}, map[string]bool{}, map[string]bool{}}
		outcomes[i] = o
		working.Go(func() {
			c := &client{Conn: conn}
			again := false
			for n := 0; !stop.Load(); n++ {
				id := fmt.Sprint(i, ":", n)
				conn.SetWriteDeadline(time.Now().Add(patience))
				if _, err := conn.Write([]byte(request("HINCRBY", "ran", id, "1"))); err != nil {
					errs <- err
					return
				}
				reply, err := c.ReplyWithin(patience)
				switch {
				case err != nil:
					errs <- fmt.Errorf("%s: %w", id, err)
					return
				case reply == ":1\r\n":
					o.sure[id] = true
					if restarted.Load() && !again {
						again = true
						after.Add(1)
					}
				case mayHaveRun(reply):
					o.maybe[id] = true
				case didNotRun(reply), strings.HasPrefix(reply, "-LOADING "):
					o.refused[id] = true
				default:
					errs <- fmt.Errorf("%s: %q", id, reply)
					return
				}
			}
		})
	}
	for range 2 {
		time.Sleep(300 * time.Millisecond)
		s.Stop()
		time.Sleep(100 * time.Millisecond)
		s.Restart()
	}
	restarted.Store(true)
	p.Eventually("serve everybody again", func() error {
		if n := after.Load(); n != clients {
			return fmt.Errorf("%d of %d clients have written", n, clients)
		}
		return nil
	})
	stop.Store(true)
	working.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	s.Restart()
	fields, _ := s.Do("HGETALL", "ran").([]any)
	ran := map[string]string{}
	for i := 0; i+1 < len(fields); i += 2 {
		ran[fields[i].(string)] = fields[i+1].(string)
	}
	var sure, maybe, refused int
	for _, o := range outcomes {
		sure, maybe, refused = sure+len(o.sure), maybe+len(o.maybe), refused+len(o.refused)
		for id := range o.sure {
			if ran[id] != "1" {
				t.Errorf("%s was answered, and ran %q times", id, ran[id])
			}
		}
		for id := range o.maybe {
			if ran[id] != "1" && ran[id] != "" {
				t.Errorf("%s ran %s times", id, ran[id])
			}
		}
		for id := range o.refused {
			if ran[id] != "" {
				t.Errorf("%s did not run, it was said, and ran", id)
			}
		}
	}
	t.Logf("%d answered, %d may have run, %d did not run", sure, maybe, refused)
	if sure == 0 || refused == 0 {
		t.Error("the load did not meet the restarts")
	}
}

// TestReplicaThatGoesAndComesBackIsNotNoticedByReaders keeps reading while the replica is killed, and until it serves again.
func TestReplicaThatGoesAndComesBackIsNotNoticedByReaders(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	primary.Do("SET", "k", "value")
	redisserver.WaitReplica(t, primary, replica)
	p := startProxy(t, primary.Addr(), append(eagerly, set("upstream.replicas", []string{replica.Addr()}), set("routing.reads", "replica"))...)
	onReplica := func() error {
		before := gets(replica)
		p.client().Do("GET", "k")
		if gets(replica) == before {
			return fmt.Errorf("it went to the primary")
		}
		return nil
	}
	p.Eventually("read from the replica", onReplica)

	const clients = 8
	var stop atomic.Bool
	var reading sync.WaitGroup
	var reads atomic.Int64
	errs := make(chan error, clients)
	for i := range clients {
		conn := p.Open()
		depth := 1 + i%2*9
		reading.Go(func() {
			c := &client{Conn: conn}
			for !stop.Load() {
				if err := readBatch(c, conn, depth); err != nil {
					errs <- err
					return
				}
				reads.Add(int64(depth))
			}
		})
	}
	for range 2 {
		time.Sleep(200 * time.Millisecond)
		replica.Kill()
		time.Sleep(300 * time.Millisecond)
		replica.Restart()
		redisserver.WaitReplica(t, primary, replica)
		p.Eventually("read from the replica again", onReplica)
	}
	stop.Store(true)
	reading.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	t.Logf("%d reads", reads.Load())
}

func readBatch(c *client, conn net.Conn, depth int) error {
	conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte(strings.Repeat(request("GET", "k"), depth))); err != nil {
		return err
	}
	for range depth {
		if reply, err := c.ReplyWithin(patience); err != nil || reply != bulk("value") {
			return fmt.Errorf("GET: %q, %v", reply, err)
		}
	}
	return nil
}

// gets is how often a server was asked for GET.
func gets(s *redisserver.Server) string {
	calls, _, _ := strings.Cut(s.Info("commandstats")["cmdstat_get"], ",")
	return calls
}
