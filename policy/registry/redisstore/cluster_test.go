package redisstore_test

import (
	"net"
	"strings"
	"testing"
)

func TestAStoreInAClusterIsFoundThroughAnyNode(t *testing.T) {
	var nodes []*server
	for range 2 {
		nodes = append(nodes, startServer(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000"))
	}
	nodes[0].do("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
	nodes[1].do("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
	host, port, _ := net.SplitHostPort(nodes[1].addr)
	nodes[0].do("CLUSTER", "MEET", host, port)
	for _, n := range nodes {
		waitFor(t, "the cluster", func() bool {
			return strings.Contains(n.do("CLUSTER", "INFO").(string), "cluster_state:ok") && strings.Count(n.do("CLUSTER", "NODES").(string), "master") == 2
		})
	}
	owner, other := nodes[0], nodes[1]
	if nodes[0].do("CLUSTER", "KEYSLOT", "{test}:state").(int64) > 8191 {
		owner, other = other, owner
	}
	a, b := owner.open("p1"), other.open("p2")
	seed(t, a)
	waitFor(t, "the change reaches the proxy at the other node", func() bool { return active(b) == "v1" })
	activate(t, b, "v2")
	waitFor(t, "and the other way round", func() bool { return active(a) == "v2" })
	if keys := owner.do("KEYS", "{test}:*").([]any); len(keys) != 5 {
		t.Errorf("the owner of the slot holds %v", keys)
	}
}
