//go:build linux

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/redisserver"
)

func TestWritesFollowThePrimaryWhenARoleMoves(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("append", []string{appendBody}), script("read", []string{readBody}))
	onReplica(p, replica, "read")
	c := p.client()
	if got := c.Do("EVALSHA", "append", "1", "list", "x"); got != integer(1) {
		t.Fatal(got)
	}
	redisserver.WaitReplica(t, primary, replica)
	primary.Kill()
	replica.Do("REPLICAOF", "NO", "ONE")
	p.Eventually("write to the new primary", func() error {
		got := c.Do("EVALSHA", "append", "1", "list", "x")
		if strings.HasPrefix(got, "-UNAVAILABLE ") && strings.HasSuffix(got, "did not run\r\n") {
			return fmt.Errorf("%q", got)
		}
		if got != integer(2) {
			t.Fatalf("%q", got)
		}
		return nil
	})
	if got := replica.Do("LLEN", "list"); got != int64(2) {
		t.Errorf("the new primary has %v", got)
	}
	// The old primary comes back as a replica of the new one.
	primary.Restart()
	primary.Do("REPLICAOF", "127.0.0.1", fmt.Sprint(replica.Port()))
	redisserver.WaitReplica(t, replica, primary)
	p.Eventually("write again", func() error {
		if got := c.Do("EVALSHA", "append", "1", "list", "x"); got != integer(3) {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	onReplica(p, primary, "read")
}

func TestTwoPrimariesAreWrittenToByNobody(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	p := startProxy(t, primary, []*redisserver.Server{replica})
	replica.Do("REPLICAOF", "NO", "ONE")
	c := p.client()
	p.Eventually("refuse writes", func() error {
		got := c.Do("SET", "k", "v")
		if !strings.HasPrefix(got, "-UNAVAILABLE ") || !strings.Contains(got, primary.Addr()) || !strings.Contains(got, replica.Addr()) || !strings.HasSuffix(got, "did not run\r\n") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	if got := replica.Do("EXISTS", "k"); got != int64(0) {
		t.Error("the replica that calls itself primary was written to")
	}
}

// TestReadOnAReplicaThatHangsIsAnswered: the machine is there and its kernel accepts connections, but the server says nothing.
func TestReadOnAReplicaThatHangsIsAnswered(t *testing.T) {
	t.Parallel()
	primary, replica := redisserver.StartPair(t)
	primary.Do("SET", "k", "value")
	redisserver.WaitReplica(t, primary, replica)
	p := startProxy(t, primary, []*redisserver.Server{replica}, script("read", []string{readBody}), set("ping_grace", "1s"))
	onReplica(p, replica, "read")
	early, late := p.client(), p.client()
	early.Do("EVALSHA", "read", "1", "k")
	replica.Pause()
	t.Cleanup(replica.Continue)
	early.Send(request("EVALSHA", "read", "1", "k")) // goes to the replica: nobody knows yet
	p.Eventually("turn to the primary", func() error {
		if calls(primary, "evalsha") == 0 {
			late.Send(request("EVALSHA", "read", "1", "k"))
			late.Want(bulk("value"))
		}
		return nil
	})
	early.Want(bulk("value"))
}

func TestDedicatedLinksAreWaitedForBeyondTheirNumber(t *testing.T) {
	t.Parallel()
	server := redisserver.Start(t)
	p := startProxy(t, server, nil, set("loops", 1), set("upstream.links.dedicated_max", 2), set("upstream.links.dedicated_idle", 1))
	var blocked []*client
	for i := range 3 {
		c := p.client()
		c.Send(request("BLPOP", fmt.Sprint("queue:", i), "0"))
		blocked = append(blocked, c)
	}
	p.Eventually("pass two of them on", func() error {
		if n := server.Info("clients")["blocked_clients"]; n != "2" {
			return fmt.Errorf("%s blocked clients", n)
		}
		return nil
	})
	c := p.client()
	for i := range 3 {
		if got := c.Do("RPUSH", fmt.Sprint("queue:", i), "job"); got != integer(1) {
			t.Errorf("RPUSH: %q", got)
		}
	}
	for i, b := range blocked {
		b.Want(array(bulk(fmt.Sprint("queue:", i)), bulk("job")))
	}
}
