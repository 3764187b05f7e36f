package redisserver

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

const (
	// MasterName is the name by which StartSentinel's sentinels know their primary.
	MasterName = "mymaster"
	// replicaTimeout bounds WaitReplica: a full synchronisation of a test's data takes well under a second.
	replicaTimeout = 20 * time.Second
)

// StartPair starts a primary and a replica of it, both with the given options, and waits until they are in step.
func StartPair(t testing.TB, opts ...Option) (primary, replica *Server) {
	t.Helper()
	primary = Start(t, opts...)
	replica = Start(t, append(append([]Option(nil), opts...), ReplicaOf(primary))...)
	WaitReplica(t, primary, replica)
	return primary, replica
}

// WaitReplica waits until replica is connected to primary, follows the same history (replication id) and has applied everything that
// primary had written when WaitReplica was called. It fails the test after 20 seconds.
func WaitReplica(t testing.TB, primary, replica *Server) {
	t.Helper()
	want := offset(t, primary, "master_repl_offset")
	deadline := time.Now().Add(replicaTimeout)
	for {
		p, r := primary.Info("replication"), replica.Info("replication")
		if r["role"] == "slave" && r["master_port"] == strconv.Itoa(primary.Port()) && r["master_link_status"] == "up" &&
			r["master_replid"] == p["master_replid"] && offset(t, replica, "slave_repl_offset") >= want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("redisserver: the replica at %s is not in step with %s after %v: it says role %s of port %s, link %s, offset %s, and should have %d",
				replica.Addr(), primary.Addr(), replicaTimeout, r["role"], r["master_port"], r["master_link_status"], r["slave_repl_offset"], want)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// offset returns a replication offset from INFO, -1 when the server does not have it (yet).
func offset(t testing.TB, s *Server, field string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s.Info("replication")[field], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// StartSentinel starts a sentinel that watches primary under MasterName. downAfter is how long the primary must be
// silent to be down (Redis's own default is 30 s; under 1 s a sentinel takes servers that are well for dead, on and off, because it pings
// no more often than that); quorum is how many sentinels must agree. Several sentinels of one primary
// find each other through it, in about 2 seconds; a primary that comes back after a failover becomes a replica after about 10 seconds. It returns when the sentinel knows the primary.
func StartSentinel(t testing.TB, primary *Server, quorum int, downAfter time.Duration, opts ...Option) *Server {
	t.Helper()
	cfg := Config{sentinel: true}
	monitor := func(line string) {
		cfg.Directives = append(cfg.Directives, Directive{"sentinel", line})
	}
	monitor(fmt.Sprintf("monitor %s 127.0.0.1 %d %d", MasterName, primary.Port(), quorum))
	monitor(fmt.Sprintf("down-after-milliseconds %s %d", MasterName, downAfter.Milliseconds()))
	// A failed attempt is repeated after twice this time; Redis's 3 minutes are for operators, not for tests.
	monitor(fmt.Sprintf("failover-timeout %s %d", MasterName, max(2*downAfter, 2*time.Second).Milliseconds()))
	if pass := primary.Password(); pass != "" {
		monitor(fmt.Sprintf("auth-pass %s %s", MasterName, pass))
	}
	for _, opt := range opts {
		opt(&cfg)
	}
	s := startFor(t, cfg)

	deadline := time.Now().Add(replicaTimeout)
	for {
		reply, ok := s.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName).([]any)
		if ok && len(reply) == 2 && reply[1] == strconv.Itoa(primary.Port()) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("redisserver: the sentinel at %s does not know %s after %v: it says %v", s.Addr(), primary.Addr(), replicaTimeout, reply)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
