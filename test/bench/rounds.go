package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// calibrationSeconds is how long the run lasts from which a cell's number of requests is worked out; it warms the cell up too.
const calibrationSeconds = 0.25

// row is one line of a comparison: a target and how the command went through it.
type row struct {
	Target string `json:"target"`
	ByName bool   `json:"by_name"`
	// Samples has one entry per round, so that entries of different rows with the same index are of the same round.
	Samples []sample `json:"samples"`
}

// groupResult is one comparison with its measurements.
type groupResult struct {
	Command  string `json:"command"`
	Clients  int    `json:"clients"`
	Pipeline int    `json:"pipeline"`
	Title    string `json:"title"`
	Rows     []row  `json:"rows"`
}

// cell is a row to be measured.
type cell struct {
	target   *target
	command  command
	requests int
}

// measureGroups runs all rounds over all groups. It stops at the first cell that fails.
func measureGroups(ctx context.Context, b *bed, groups []group, o options, progress io.Writer) ([]groupResult, error) {
	results := make([]groupResult, len(groups))
	cells := make([][]cell, len(groups))
	for i, g := range groups {
		cells[i] = cellsOf(b, g)
		results[i] = groupResult{Command: g.command.name, Clients: g.clients, Pipeline: g.pipeline, Title: g.title()}
		for j := range cells[i] {
			c := &cells[i][j]
			results[i].Rows = append(results[i].Rows, row{Target: c.target.name, ByName: c.command.byName})
			n, err := requestsFor(ctx, b, c, g, o)
			if err != nil {
				return nil, fmt.Errorf("%s through %s: %w", g.title(), rowTitle(c.target.name, c.command.byName), err)
			}
			c.requests = n
		}
		fmt.Fprintf(progress, "ready: %s\n", g.title())
	}

	for r := range o.rounds {
		started := time.Now()
		for i, g := range groups {
			for k := range cells[i] {
				j := (k + r) % len(cells[i])
				c := cells[i][j]
				s, err := runCell(ctx, b, c.target, c.command, load{g.clients, g.pipeline}, c.requests)
				if err != nil {
					return nil, fmt.Errorf("%s through %s, round %d: %w", g.title(), rowTitle(c.target.name, c.command.byName), r+1, err)
				}
				results[i].Rows[j].Samples = append(results[i].Rows[j].Samples, s)
				if o.requests == 0 { // the calibrating run may have met a busy moment
					cells[i][j].requests = max(1000, int(s.PerSecond*o.seconds))
				}
			}
		}
		fmt.Fprintf(progress, "round %d of %d: %s\n", r+1, o.rounds, time.Since(started).Round(time.Second))
	}
	return results, nil
}

// cellsOf returns a group's cells: one per target and, for EVALSHA, one by name through scriptproxy.
func cellsOf(b *bed, g group) []cell {
	var cells []cell
	for _, t := range b.targets {
		cells = append(cells, cell{target: t, command: g.command})
		if isScriptproxy(t.name) && g.command.name == evalsha.name {
			cells = append(cells, cell{target: t, command: evalshaByName})
		}
	}
	return cells
}

// requestsFor returns how many requests make a cell last o.seconds, from a short run of it, or the fixed number that was asked for.
func requestsFor(ctx context.Context, b *bed, c *cell, g group, o options) (int, error) {
	if o.requests > 0 {
		return o.requests, nil
	}
	l := load{g.clients, g.pipeline}
	n := 1000 * l.pipeline
	for {
		s, err := runCell(ctx, b, c.target, c.command, l, n)
		if err != nil {
			return 0, err
		}
		if seconds := float64(s.Requests) / s.PerSecond; seconds >= calibrationSeconds || n > 1<<26 {
			return max(n, int(s.PerSecond*o.seconds)), nil
		}
		n = max(2*n, int(s.PerSecond*calibrationSeconds*1.2))
	}
}

func rowTitle(target string, byName bool) string {
	if byName {
		return strings.Join([]string{target, "by name"}, ", ")
	}
	return target
}
