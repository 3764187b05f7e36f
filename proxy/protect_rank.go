//go:build linux

package proxy

import (
	"fmt"

	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
	"github.com/scriptproxy/scriptproxy/proxy/watchdog"
)

// What a request's priority changes, and only where there is too little for
// all:
//
//   - Who waits for a place among a script's calls is let in by priority; in
//     a full queue the one that comes takes the place of a lower one, which is
//     refused.
//   - While a script holds a node, low requests are refused at once, and high
//     ones wait twice as long as busy_wait and are sent first when it is over.
//   - Low requests have half of a shared link's queue. High ones that wait for
//     a full one are first.
//
// Nothing overtakes anything within a session. A transaction is never parted:
// what is inside MULTI has no
// priority, but for how EXEC waits for the places of its scripts.

// rank is that of a request that the policy has decided, or has nothing to
// say about; script is nil for a plain command and for what is not known.
func (u *ruling) rank(script *Script) watchdog.Rank {
	if u.verdict.Prioritized() {
		return watchdog.Rank(u.verdict.Priority)
	}
	if script != nil {
		return watchdog.Rank(script.rank.Load())
	}
	return watchdog.RankNormal
}

// busyWait is how long a request of a rank waits for a node, in nanoseconds.
func (s *Settings) busyWait(rank watchdog.Rank) int64 {
	switch {
	case rank < 0:
		return 0
	case rank > 0:
		return 2 * int64(s.BusyWait)
	}
	return int64(s.BusyWait)
}

// refuseLow answers a request of low priority that would have to wait.
func (s *session) refuseLow(outcome metrics.Outcome, text string) routing {
	s.w.shard.Error(metrics.ErrLowPriority)
	s.w.turned = outcome
	s.replyDynamic(text)
	return answered
}

// crowded refuses a request of low priority when half of what may wait on a
// link does. A link of the session's own is for itself to fill.
func (s *session) crowded(link *upstream.Link) bool {
	if s.w.rank >= 0 || link.Dedicated || !link.Crowded() {
		return false
	}
	s.refuseLow(metrics.OutcomeLimited, fmt.Sprintf("-LIMIT %s: the queue is half full, and the rest is not for low priority; the command did not run\r\n", link.Node.Addr))
	return true
}

// lowBusyText is what a request of low priority is told that does not wait.
func (w *worker) lowBusyText(n *topology.Node, now int64) string {
	return w.busyText(n, now, ", and low priority does not wait")
}
