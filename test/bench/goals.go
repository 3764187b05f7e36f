package main

import (
	"fmt"
	"math"
)

// What scriptproxy is to reach on two cores.
const (
	goalPlainCPU   = 0.85 // proxy CPU per request ÷ twemproxy's: 50 clients, pipeline 1
	goalGetCPU     = 0.35 // the same: GET at pipeline 16
	goalScriptCPU  = 0.5  // the same: EVALSHA at pipeline 16
	goalServerCPU  = 0.4  // Redis's CPU per request ÷ direct: GET, 50 clients, pipeline 1, where one busy link replaces 50
	goalPerSecond  = 1    // requests/s ÷ direct: the same
	goalIdleMemory = 512  // bytes per idle connection
)

// goal is a figure beside what it should be.
type goal struct {
	what     string
	measured float64
	limit    float64
	atLeast  bool
	format   string
}

func (g goal) met() bool {
	if g.atLeast {
		return g.measured >= g.limit
	}
	return g.measured <= g.limit
}

// goals returns every goal whose figures the report has. They are for a server alone: where there is a replica, which the protected
// configuration needs, replication has its part in every figure, and there are none.
func (rep *report) goals() []goal {
	var goals []goal
	for _, g := range rep.Groups {
		if _, found := g.row(protected, false); found {
			return nil
		}
	}
	for _, g := range rep.Groups {
		if g.Clients != 50 {
			continue
		}
		limit := goalPlainCPU
		switch {
		case g.Pipeline == 1:
		case g.Command == get.name:
			limit = goalGetCPU
		case g.Command == evalsha.name:
			limit = goalScriptCPU
		default:
			continue
		}
		for _, row := range []struct {
			target string
			byName bool
			title  string
		}{{scriptproxy, false, ""}, {scriptproxy, true, ", by name"}, {fast, false, ", pipelining: fast"}, {fast, true, ", pipelining: fast, by name"}} {
			r, found := g.row(row.target, row.byName)
			if !found || row.target == fast && (g.Command != evalsha.name || g.Pipeline == 1) {
				continue
			}
			title := g.Title + row.title
			goals = append(goals, goal{what: "proxy CPU ÷ twemproxy's: " + title, measured: g.ratio(proxyCPU, r, twemproxy), limit: limit, format: "%.2f"})
			if g.Command == get.name && g.Pipeline == 1 {
				goals = append(goals,
					goal{what: "Redis CPU ÷ direct: " + title, measured: g.ratio(serverCPU, r, direct), limit: goalServerCPU, format: "%.2f"},
					goal{what: "requests/s ÷ direct: " + title, measured: g.ratio(perSecond, r, direct), limit: goalPerSecond, atLeast: true, format: "%.2f"})
			}
		}
	}
	for _, r := range rep.Idle {
		if r.Target == scriptproxy {
			goals = append(goals, goal{what: fmt.Sprintf("bytes per idle connection, of %s", thousands(float64(r.Connections), 0)), measured: r.Bytes, limit: goalIdleMemory, format: "%.0f"})
		}
	}
	kept := goals[:0]
	for _, g := range goals {
		if !math.IsNaN(g.measured) {
			kept = append(kept, g)
		}
	}
	return kept
}
