// Command bench measures scriptproxy against a bare redis-server, twemproxy and haproxy, all in front of the same
// server in the same run.
//
// Every cell is one redis-benchmark run of a fixed command, number of clients and pipeline depth, through one
// target. The cells of one comparison run one after the other, in an order that rotates from round to round, so that a
// machine which gets slower or faster meets all targets alike; figures are medians over the rounds, and ratios medians of the ratios within
// each round. Before each cell one reply is compared with what it must be, and after it the server's own counters must show
// as many calls as were asked for and no error: nothing but right answers is measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/scriptproxy/scriptproxy/test/figures"
)

// maxConnections is what the server is set up for: 10,000 idle connections, or 1,000 busy ones through every target, and some more. A
// program needs as many open files.
const maxConnections = 12000

// options are the command line.
type options struct {
	rounds   int
	seconds  float64 // how long a cell should take, by a calibrating run of its own
	requests int     // a fixed number of requests per cell instead, when not 0
	only     string
	targets  string
	configs  string
	smoke    bool
	sizing   bool
	proxy    string // path of the scriptproxy binary
	config   string // extra lines for the proxy's configuration
	before   string
	markdown string
	place    string
	json     string
	idle     []int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	opts, err := parseFlags(os.Args[1:], os.Stderr)
	if err == nil {
		err = run(ctx, opts, os.Stdout, os.Stderr)
	}
	stop()
	switch {
	case err == nil || err == flag.ErrHelp:
	default:
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.rounds, "rounds", 5, "rounds over all cells; figures are medians over them")
	fs.Float64Var(&o.seconds, "seconds", 2, "about how many seconds each cell of a round runs")
	fs.IntVar(&o.requests, "requests", 0, "requests per cell, instead of -seconds")
	fs.StringVar(&o.only, "only", "", "comma-separated comparisons to run, each a part of a title such as 'EVALSHA, 50 clients, pipeline 16'; 'idle' is the memory of idle connections")
	fs.StringVar(&o.targets, "targets", strings.Join(targetNames, ","), "comma-separated targets")
	fs.StringVar(&o.configs, "configs", "plain", "comma-separated configurations of scriptproxy, each measured through a proxy of its own: "+configNames())
	fs.BoolVar(&o.smoke, "smoke", false, "one round of tiny cells, to see that everything works; the figures mean nothing")
	fs.BoolVar(&o.sizing, "sizing", false, "instead of the comparisons, measure what a proxy with 5,000 scripts and 1,000 sessions needs")
	fs.StringVar(&o.proxy, "proxy", "bin/scriptproxy", "the scriptproxy program")
	fs.StringVar(&o.before, "before", "", "another build of scriptproxy, for the configuration before")
	fs.StringVar(&o.config, "config", "", "file with further lines for scriptproxy's configuration")
	fs.StringVar(&o.markdown, "markdown", "", "put the report as Markdown into its place in this document too")
	fs.StringVar(&o.place, "place", "comparison", "the place in the document: see package figures")
	fs.StringVar(&o.json, "json", "", "write every single measurement as JSON to this file too")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if (o.before != "") != slices.Contains(strings.Split(o.configs, ","), "before") {
		return o, errors.New("-before PROGRAM and the configuration before need each other")
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: see -help", fs.Arg(0))
	}
	o.idle = []int{1000, 10000}
	if o.smoke {
		o.rounds, o.idle = 1, []int{100, 500}
		if o.requests == 0 {
			o.requests = 2000
		}
	}
	if o.rounds < 1 || o.seconds <= 0 || o.requests < 0 {
		return o, fmt.Errorf("-rounds %d, -seconds %g, -requests %d: they must be positive", o.rounds, o.seconds, o.requests)
	}
	return o, nil
}

// run measures and reports. Progress goes to stderr, the report to stdout and the files that were asked for.
func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	if err := raiseFileLimit(maxConnections + 500); err != nil {
		return err
	}
	if o.sizing {
		return runSizing(ctx, o, stdout, stderr)
	}
	names, err := chooseTargets(o.targets)
	if err == nil {
		names, err = withConfigs(names, o.configs)
	}
	if err != nil {
		return err
	}
	groups, idle := chooseGroups(o.only)
	if len(groups) == 0 && !idle {
		return fmt.Errorf("-only %q matches none of these: %s", o.only, strings.Join(groupTitles(), "; "))
	}

	started := time.Now()
	noise := startNoise()
	bed, err := startBed(o, names)
	if err != nil {
		return err
	}
	defer bed.close()

	rep := report{Machine: describeMachine(o.proxy, names), Command: strings.Join(os.Args, " "), Rounds: o.rounds, Smoke: o.smoke, Started: started}
	if rep.Groups, err = measureGroups(ctx, bed, groups, o, stderr); err != nil {
		return err
	}
	rep.Noise = noise.share(bed.cpu())
	if idle {
		if rep.Idle, err = measureIdle(ctx, o, names, stderr); err != nil {
			return err
		}
	}
	rep.Took = time.Since(started)

	if err := rep.write(stdout, terminal); err != nil {
		return err
	}
	if o.markdown != "" {
		var text strings.Builder
		if err := rep.write(&text, markdown); err != nil {
			return err
		}
		if err := figures.Put(o.markdown, o.place, text.String()); err != nil {
			return err
		}
	}
	if o.json != "" {
		return rep.writeFile(o.json, rep.writeJSON)
	}
	return nil
}

// runSizing is run for -sizing.
func runSizing(ctx context.Context, o options, stdout, stderr io.Writer) error {
	r, err := measureSizing(ctx, o, stderr)
	if err != nil {
		return err
	}
	if err := r.write(stdout, terminal); err != nil {
		return err
	}
	if o.markdown != "" {
		return r.putInto(o.markdown)
	}
	return nil
}
