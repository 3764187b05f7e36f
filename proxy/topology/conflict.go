package topology

import (
	"fmt"
	"slices"
	"strings"
)

// contest takes note of nodes of which more than one claims to be the primary.
// Each is counted once for as long as that lasts.
func (m *Monitor) contest(all, claims []*Node) {
	for _, n := range all {
		contested := len(claims) > 1 && slices.Contains(claims, n)
		if contested && !n.contested {
			n.conflicts.Add(1)
		}
		n.contested = contested
	}
}

// conflict says who claims to be the primary, and what speaks for whom: the
// newest data, the replicas' connections, and, where last is one of them, that
// this proxy's writes went there until now.
func conflict(claims []*Node, last *Node) string {
	newest, followed := claims[0], claims[0]
	was := ""
	var names []string
	for _, n := range claims {
		names = append(names, n.Addr)
		if n.Offset() > newest.Offset() {
			newest = n
		}
		if n.Replicas() > followed.Replicas() {
			followed = n
		}
		if n == last {
			was = fmt.Sprintf(", and %s was it until now", n.Addr)
		}
	}
	replicas := "no one with a replica"
	if k := followed.Replicas(); k > 0 {
		replicas = fmt.Sprintf("%s with the most replicas (%d)", followed.Addr, k)
	}
	return fmt.Sprintf("%s all say they are the primary, %s with the newest offset, %s%s", strings.Join(names, " and "), newest.Addr, replicas, was)
}
