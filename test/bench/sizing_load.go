package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	counting "github.com/scriptproxy/scriptproxy/metrics"
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

// loads measures what a request costs, in turn with and without somebody who reads the metrics.
func (p *sized) loads(ctx context.Context, r *sizing, said func(string)) error {
	plain, script := countingTime(r.Sizes.Scripts)
	for _, c := range []command{get, sizedCall} {
		for _, pipeline := range []int{1, 16} {
			l := load{clients: 50, pipeline: pipeline}
			result := sizedLoad{Title: fmt.Sprintf("%s, %d clients, pipeline %d", c.name, l.clients, pipeline), Counting: plain}
			if c.byName {
				result.Counting = script
			}
			n, err := p.calibrated(ctx, c, l, r.Sizes.Seconds)
			if err != nil {
				return err
			}
			var rates, unread, read, more []float64
			for round := range r.Sizes.Rounds {
				var cost [2]float64
				for i := range cost {
					withReader := (i + round) % 2 // who begins changes
					rate, micros, err := p.cost(ctx, c, l, n, withReader == 1)
					if err != nil {
						return err
					}
					cost[withReader] = micros
					rates = append(rates, rate)
				}
				unread, read, more = append(unread, cost[0]), append(read, cost[1]), append(more, 100*(cost[1]/cost[0]-1))
			}
			result.PerSec, result.Unread, result.Read, result.Percent = middle(rates), middle(unread), middle(read), middle(more)
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

// counted is how many calls are timed to find out what counting takes.
const counted = 4_000_000

// countingTime is what a loop's counters take for one plain command and for one call of a script, where calls go round so many
// scripts and the counters of most are not in the processor's caches. It is the code of the proxy itself, run here; in nanoseconds.
func countingTime(scripts int) (plain, script float64) {
	m := counting.New(counting.Options{NativeHistograms: true}) // as the configuration's default
	ids := make([]counting.ScriptID, scripts)
	for i := range ids {
		ids[i] = m.Script(sizedScript(i), "v1")
	}
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	shard := m.NewShard()
	defer shard.Close()
	begin := time.Now()
	for range counted {
		shard.Request(counting.ClassRead)
	}
	plain = float64(time.Since(begin)) / counted
	begin = time.Now()
	for i := range counted {
		shard.Request(counting.ClassScript)
		shard.ScriptCall(ids[i%len(ids)], counting.RoutePrimary, counting.OutcomeOK, time.Duration(i&0xfffff), false)
	}
	return plain, float64(time.Since(begin)) / counted
}
