//go:build linux

package proxy

import (
	"errors"
	"time"

	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// retireEvery is how often a loop looks whether the links to a node that was
// taken away have come to rest.
const retireEvery = 50 * time.Millisecond

// errRetired ends what did not come to rest.
var errRetired = errors.New("the server was taken out of the configuration")

// AddNode takes up a server that had a spare place, or had been removed. It is
// called before any View has the node, from one goroutine at a time.
func (s *Server) AddNode(n *topology.Node) {
	s.nodes[n.Index] = s.metrics.Node(n.Addr)
	s.dog.Watch(n)
}

// RemoveNode gives up a server that no View has any more. What was sent there
// is answered. A link is closed when nothing is on its way there and no client
// has it for itself; what is left after grace is closed all the same, so that
// clients which watch keys, subscribe or block there are not left behind on a
// server that nobody else talks to.
func (s *Server) RemoveNode(n *topology.Node, grace time.Duration) {
	s.dog.Unwatch(n)
	for _, w := range s.workers {
		w.loop.Do(func() { w.retire(n, w.loop.Now()+int64(grace)) })
	}
}

// retire closes the links to a node, now and until it is done.
func (w *worker) retire(n *topology.Node, until int64) {
	if !n.Gone() {
		return // it has come back
	}
	over := w.loop.Now() >= until
	left := w.pool.Retire(n, over, errRetired)
	for _, s := range w.sessions {
		if s.ded != nil && s.ded.Node == n {
			if left = true; over {
				s.ded.Fail(errRetired)
			}
		}
	}
	if left && !over {
		w.loop.After(retireEvery, func() { w.retire(n, until) })
	}
}
