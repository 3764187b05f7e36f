package api

// Nodes is the answer to GET /api/v1/nodes.
type Nodes struct {
	Nodes []Node `json:"nodes"`
}

// Node is one server behind the proxy, as the proxy knows it.
type Node struct {
	// Upstream is the name of the set of servers; "default" is that of the key
	// upstream.
	Upstream string `json:"upstream"`
	Node     string `json:"node"` // its address
	Role     string `json:"role"` // primary, replica or unknown
	// Serving tells whether writes go there, as to the primary of its set, or
	// reads may, as to a replica.
	Serving bool   `json:"serving"`
	Up      bool   `json:"up"`
	Ready   bool   `json:"ready"` // up, with every registered script
	Error   string `json:"error,omitempty"`
	// Busy is for how many seconds it has been running a script or silent.
	Busy float64 `json:"busy_seconds,omitempty"`
	// Lag and LagBytes are how far a replica is behind, at the last look.
	Lag      float64 `json:"lag_seconds,omitempty"`
	LagBytes int64   `json:"lag_bytes,omitempty"`
	Offset   int64   `json:"offset"` // its own replication offset
}
