package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"
)

// report is everything that a run has found out.
type report struct {
	Machine machine       `json:"machine"`
	Command string        `json:"command"`
	Rounds  int           `json:"rounds"`
	Smoke   bool          `json:"smoke"`
	Started time.Time     `json:"started"`
	Took    time.Duration `json:"took_ns"`
	Noise   noiseShare    `json:"noise"`
	Groups  []groupResult `json:"groups"`
	Idle    []idleResult  `json:"idle"`
}

// document collects a report's text and the first error of writing it.
type document struct {
	w     io.Writer
	style style
	err   error
}

func (d *document) printf(format string, args ...any) {
	if d.err == nil {
		_, d.err = fmt.Fprintf(d.w, format, args...)
	}
}

func (d *document) heading(level int, text string) {
	if d.style == markdown {
		d.printf("\n%s %s\n\n", strings.Repeat("#", level+1), text)
		return
	}
	d.printf("\n%s\n%s\n", text, strings.Repeat("-", len([]rune(text))))
}

func (d *document) table(t *table) {
	if d.err == nil {
		d.err = t.write(d.w, d.style)
	}
}

// write writes the report as a table for a terminal or as text for docs/benchmarks.md.
func (rep *report) write(w io.Writer, s style) error {
	d := &document{w: w, style: s}
	if s == markdown {
		d.printf("All figures of this part are from one run: scriptproxy, twemproxy and haproxy (TCP mode, one thread), each in front of\n" +
			"the same redis-server without persistence, and that server itself (direct), all on one machine together with redis-benchmark.\n")
	}
	if rep.Smoke {
		d.printf("\nA smoke run: it shows that everything works, and its figures mean nothing.\n")
	}
	rep.writeMachine(d)
	rep.writeLoads(d)
	rep.writeVariants(d)
	rep.writeIdle(d)
	if !rep.Smoke {
		rep.writeGoals(d)
	}
	return d.err
}

func (rep *report) writeMachine(d *document) {
	d.heading(2, "Machine and run")
	m := rep.Machine
	t := &table{headings: []string{"", ""}, textColumns: 2}
	t.add("CPU", fmt.Sprintf("%s, %d cores", m.CPU, m.Cores))
	t.add("memory", m.Memory)
	t.add("kernel", m.Kernel)
	t.add("Go", m.Go)
	for i, v := range m.Versions {
		label := ""
		if i == 0 {
			label = "programs"
		}
		t.add(label, v)
	}
	t.add("command", rep.Command)
	t.add("run", fmt.Sprintf("%s, rounds: %d, took %s", rep.Started.UTC().Format("2006-01-02 15:04 UTC"), rep.Rounds, rep.Took.Round(time.Second)))
	if len(rep.Groups) > 0 {
		t.add("other programs", fmt.Sprintf("%.1f %% of the CPU time used meanwhile; %.1f %% stolen by the hypervisor", 100*rep.Noise.Others, 100*rep.Noise.Steal))
	}
	d.table(t)
}

// writeLoads writes one table per number of clients and pipeline depth.
func (rep *report) writeLoads(d *document) {
	if len(rep.Groups) == 0 {
		return
	}
	if d.style == terminal {
		d.printf("\nIn parentheses: the ratio to direct, the ratio to twemproxy. CPU is per request.\n")
	}
	for i := 0; i < len(rep.Groups); {
		first := rep.Groups[i]
		title := strings.TrimPrefix(first.Title, first.Command+", ")
		d.heading(2, strings.ToUpper(title[:1])+title[1:])
		if d.style == markdown {
			d.printf("In parentheses: the ratio to direct, the ratio to twemproxy. CPU is per request.\n\n")
		}
		t := &table{headings: []string{"command", "through"}, textColumns: 2}
		for _, m := range metrics {
			t.headings = append(t.headings, m.heading)
		}
		for ; i < len(rep.Groups) && rep.Groups[i].Clients == first.Clients && rep.Groups[i].Pipeline == first.Pipeline; i++ {
			for _, r := range rep.Groups[i].Rows {
				t.add(rep.Groups[i].cells(r)...)
			}
		}
		d.table(t)
	}
}

// cells returns a row of the table for a load.
func (g groupResult) cells(r row) []string {
	cells := []string{g.Command, rowTitle(r.Target, r.ByName)}
	for _, m := range metrics {
		v := m.medianOf(r)
		text := thousands(v, m.precision)
		if m.ratios && !math.IsNaN(v) {
			text += fmt.Sprintf(" (%s, %s)", ratio(g.ratio(m, r, direct)), ratio(g.ratio(m, r, twemproxy)))
		}
		cells = append(cells, text)
	}
	return cells
}

func (rep *report) writeIdle(d *document) {
	if len(rep.Idle) == 0 {
		return
	}
	d.heading(2, "Memory of idle connections")
	t := &table{headings: []string{"through", "connections", "bytes per connection"}, textColumns: 1}
	for _, r := range rep.Idle {
		t.add(r.Target, thousands(float64(r.Connections), 0), thousands(r.Bytes, 0))
	}
	d.table(t)
}

func (rep *report) writeGoals(d *document) {
	goals := rep.goals()
	if len(goals) == 0 {
		return
	}
	d.heading(2, "Against the goals")
	t := &table{headings: []string{"figure", "measured", "goal", "met"}, textColumns: 1}
	for _, g := range goals {
		sign, met := "≤ ", "yes"
		if g.atLeast {
			sign = "≥ "
		}
		if !g.met() {
			met = "no"
		}
		t.add(g.what, fmt.Sprintf(g.format, g.measured), sign+fmt.Sprintf(g.format, g.limit), met)
	}
	d.table(t)
}

func (rep *report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(rep)
}

// writeFile writes a file through write.
func (rep *report) writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	err = write(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write the report to %s: %w", path, err)
	}
	return nil
}
