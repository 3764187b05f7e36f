package topology

import "sync"

// SparePlaces is how many servers a process may take up beyond those that it
// began with. What is kept for every node, in each script for example, is made
// for them from the beginning.
const SparePlaces = 16

// Places are the nodes of a process, those of all its monitors: each has an
// Index of its own, and nothing that is kept by it is ever another server's.
// Any goroutine may call it.
type Places struct {
	mu    sync.Mutex
	spare []*Node
	gone  []*Node // servers that were taken away
}

// NewPlaces makes spare places behind those of so many nodes. now is in the
// clock of the loops.
func NewPlaces(nodes int, now int64) *Places {
	p := &Places{}
	for i := range SparePlaces {
		p.spare = append(p.spare, NewNode("", nodes+i, now))
	}
	return p
}

// Spare lists the places that are free, for who keeps something for every
// node. They have no address until they are taken.
func (p *Places) Spare() []*Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*Node(nil), p.spare...)
}

// take returns the node of an address: the one that had it before, or a spare
// one, which is fresh; nil when there is none left.
func (p *Places) take(addr string, backend int, now int64) (n *Node, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, n := range p.gone {
		if n.Addr == addr && n.Backend == backend {
			p.gone = append(p.gone[:i], p.gone[i+1:]...)
			n.comeBack(now)
			return n, false
		}
	}
	if len(p.spare) == 0 {
		return nil, false
	}
	n = p.spare[0]
	p.spare = p.spare[1:]
	n.Addr, n.Backend = addr, backend
	return n, true
}

// leave takes a node back that nobody asks any more.
func (p *Places) leave(n *Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = append(p.gone, n)
}

// untake makes a fresh place spare again, whose node only its monitor has seen.
func (p *Places) untake(n *Node, now int64) {
	n.comeBack(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spare = append(p.spare, n)
}
