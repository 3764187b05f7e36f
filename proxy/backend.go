//go:build linux

package proxy

import (
	"context"
	"net"

	"github.com/scriptproxy/scriptproxy/proxy/topology"
	"github.com/scriptproxy/scriptproxy/proxy/upstream"
)

// Upstream is one set of servers which hold the same data: a primary and its
// replicas. A proxy may stand in front of several. Registered scripts are on
// all of them; everything else that clients see is that of one.
type Upstream struct {
	Topology *topology.Monitor
	// Identity is the user of all traffic in service mode.
	Identity upstream.Identity
}

// backend is an Upstream with what its clients brought.
type backend struct {
	Upstream
	index int
	known *knownScripts
}

// backend is the set of servers behind this session.
func (s *session) backend() *backend { return s.w.srv.backends[s.group.Backend()] }

// view is the current picture of the nodes behind this session.
func (s *session) view() *topology.View { return s.backend().Topology.View() }

// backendOf is the set that a node belongs to.
func (s *Server) backendOf(n *topology.Node) *backend { return s.backends[n.Backend] }

// dialNode opens a connection to a node under the proxy's own user.
func (s *Server) dialNode(ctx context.Context, n *topology.Node) (net.Conn, error) {
	return s.backendOf(n).Topology.Dial(ctx, n)
}

// listenerBackend is where sessions of a listener begin.
func (s *Server) listenerBackend(listener int) int {
	if listener < len(s.listenerBackends) {
		return s.listenerBackends[listener]
	}
	return 0
}
