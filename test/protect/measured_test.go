//go:build linux

package protect

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

var write = flag.Bool("write", false, "write what others saw while a script ran away to docs/protection.md")

// measured are the scenes that were reported, in the order in which they ran.
var measured []scenario

// scenario is what became of a script, and of the others meanwhile: those who use the primary, and those who read from the replica.
type scenario struct {
	what, outcome  string
	plain, readers []stats // before, during, after
}

// stats are what a crowd saw in one phase.
type stats struct {
	requests          int
	p50, p99, longest time.Duration
	fails             map[string]int
}

func (s stats) String() string {
	return fmt.Sprintf("%6d requests, p50 %8v, p99 %8v, longest %8v, errors %v", s.requests, s.p50, s.p99, s.longest, s.fails)
}

// statsOf sums up samples, of which there is at least one.
func statsOf(samples []sample) stats {
	took := make([]time.Duration, len(samples))
	s := stats{requests: len(samples), fails: map[string]int{}}
	for i, one := range samples {
		took[i] = one.took
		if one.fail != "" {
			s.fails[one.fail]++
		}
	}
	slices.Sort(took)
	at := func(share float64) time.Duration {
		return took[min(len(took)-1, int(share*float64(len(took))))].Round(10 * time.Microsecond)
	}
	s.p50, s.p99, s.longest = at(.5), at(.99), at(1)
	return s
}

const (
	tableBegin = "<!-- measured: begin -->\n"
	tableEnd   = "<!-- measured: end -->"
)

// writeMeasured puts the table into the document.
func writeMeasured() error {
	path := filepath.Join("..", "..", "docs", "protection.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, found := strings.Cut(string(text), tableBegin)
	_, tail, ended := strings.Cut(rest, tableEnd)
	if !found || !ended {
		return fmt.Errorf("%s has no place for what was measured", path)
	}
	return os.WriteFile(path, []byte(head+tableBegin+table()+tableEnd+tail), 0o644)
}

func table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| script | outcome | others | before | during | after | were told |\n|---|---|---|---|---|---|---|\n")
	for _, m := range measured {
		line := func(what, outcome, others string, phases []stats) {
			told := map[string]int{}
			total := 0
			fmt.Fprintf(&b, "| %s | %s | %s |", what, outcome, others)
			for _, s := range phases {
				fmt.Fprintf(&b, " %s / %s |", milliseconds(s.p50), milliseconds(s.p99))
				total += s.requests
				for code, n := range s.fails {
					told[code] += n
				}
			}
			var errors []string
			for code, n := range told {
				errors = append(errors, fmt.Sprintf("%s: %d of %d", code, n, total))
			}
			slices.Sort(errors)
			if errors == nil {
				errors = []string{"no error"}
			}
			fmt.Fprintf(&b, " %s |\n", strings.Join(errors, ", "))
		}
		line(m.what, m.outcome, "50 at the primary", m.plain)
		line("", "", "50 at the replica", m.readers)
	}
	fmt.Fprintf(&b, "\np50 / p99 in milliseconds, on %d CPUs that clients, proxy and servers share. %s\n", runtime.NumCPU(), time.Now().UTC().Format("2006-01-02"))
	return b.String()
}

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms >= 100 {
		return fmt.Sprintf("%.0f", ms)
	}
	return fmt.Sprintf("%.3g", ms)
}
