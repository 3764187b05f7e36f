package main

import (
	"context"
	"fmt"
	"slices"
)

// sizedCall is the call of one of the scripts by its name.
var sizedCall = command{
	name: "EVALSHA by name", stat: "evalsha", byName: true,
	args: func(string) []string { return []string{"EVALSHA", sizedScript(0), "1", "account:__rand_int__", "1"} },
}

// load keeps the proxy busy until ctx ends; what is returned is closed then.
func (p *sized) load(ctx context.Context, c command, clients, pipeline int) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			redisBenchmark(ctx, p.port, load{clients: clients, pipeline: pipeline}, 1_000_000, c.args(""))
		}
	}()
	return done
}

// loads measures what a request costs, in turn with and without somebody who reads the metrics, and on the other proxy.
func (p *sized) loads(ctx context.Context, uncounted *sized, r *sizing, said func(string)) error {
	const (
		unread         = iota // nobody reads the metrics
		read                  // somebody does
		uncountedCalls        // on a proxy that does not count script calls
		ways
	)
	for _, c := range []command{get, sizedCall} {
		for _, pipeline := range []int{1, 16} {
			l := load{clients: 50, pipeline: pipeline}
			result := sizedLoad{Title: fmt.Sprintf("%s, %d clients, pipeline %d", c.name, l.clients, pipeline)}
			n, err := p.calibrated(ctx, c, l, r.Sizes.Seconds)
			if err != nil {
				return err
			}
			var rates, reading, counting []float64
			var costs [ways][]float64
			for round := range r.Sizes.Rounds {
				var cost [ways]float64
				for i := range cost {
					way := (i + round) % ways // who begins changes
					on := p
					if way == uncountedCalls {
						on = uncounted
					}
					rate, micros, err := on.cost(ctx, c, l, n, way == read)
					if err != nil {
						return err
					}
					cost[way] = micros
					costs[way] = append(costs[way], micros)
					rates = append(rates, rate)
				}
				reading = append(reading, 100*(cost[read]/cost[unread]-1))
				counting = append(counting, 100*(cost[unread]/cost[uncountedCalls]-1))
			}
			result.PerSec, result.Unread, result.Read, result.Uncounted = middle(rates), middle(costs[unread]), middle(costs[read]), middle(costs[uncountedCalls])
			result.ReadPercent, result.CountPercent = middle(reading), middle(counting)
			r.Loads = append(r.Loads, result)
			said(result.Title)
		}
	}
	return nil
}

func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// calibrated is how many requests take about so many seconds.
func (p *sized) calibrated(ctx context.Context, c command, l load, seconds float64) (int, error) {
	out, err := redisBenchmark(ctx, p.port, l, 5000, c.args(""))
	if err != nil {
		return 0, err
	}
	s, err := parseCSV(out)
	return max(2000, int(s.PerSecond*seconds)), err
}

// cost runs a load and returns its rate, and the proxy's CPU time for each request in microseconds.
func (p *sized) cost(ctx context.Context, c command, l load, n int, withReader bool) (rate, micros float64, err error) {
	reading, end := context.WithCancel(ctx)
	defer end()
	read := make(chan error, 1)
	if withReader {
		go func() {
			for {
				if err := p.scrape(); err != nil {
					read <- err
					return
				}
				if pause(reading, scrapeEvery) != nil {
					read <- nil
					return
				}
			}
		}()
	} else {
		read <- nil
	}
	before, err := readCPU(p.pid())
	if err != nil {
		return 0, 0, err
	}
	out, err := redisBenchmark(ctx, p.port, l, n, c.args(""))
	if err != nil {
		return 0, 0, err
	}
	after, err := readCPU(p.pid())
	if err != nil {
		return 0, 0, err
	}
	end()
	if err := <-read; err != nil {
		return 0, 0, err
	}
	s, err := parseCSV(out)
	return s.PerSecond, float64(after.since(before).total()) / 1e3 / float64(n), err
}
