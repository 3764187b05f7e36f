//go:build linux

package proxy

import (
	"errors"

	"github.com/scriptproxy/scriptproxy/proxy/topology"
)

// NodeChanged is told of every look at a node, always on the same goroutine
// for one node. Reads that wait for a replica which is found to be down are
// sent to another node: its connections may well stay open, and silent, for
// ever. The primary's links are left alone, since what is on them may be done
// yet, and nobody else could do it.
func (s *Server) NodeChanged(n *topology.Node) {
	down := !n.Up()
	was := s.down[n.Index]
	s.down[n.Index] = down
	if !down || was || n == s.backendOf(n).Topology.View().Primary {
		return
	}
	err := errors.New(n.LastError())
	for _, w := range s.workers {
		w.loop.Do(func() { w.pool.FailShared(n, err) })
	}
}
