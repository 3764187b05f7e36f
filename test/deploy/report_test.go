//go:build linux

package deploy

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what is generated: the results of the queries to docs/dashboards.md, and the rules for kustomize")

const resultsFile = root + "/docs/dashboards.md"

// report collects what queries returned, for docs/dashboards.md.
type report struct {
	fleet *fleet
	text  strings.Builder
}

const reportHead = `# Dashboards and what their queries return

<!-- The tables are written by: go test ./test/deploy -run TestQueriesReturnDataUnderLoad -update -->

The dashboards are in ` + "`deploy/grafana`" + `, for Grafana 10 and later with a Prometheus data source. Import the files, or have
Grafana read them from a directory as [deploy/compose](../deploy/compose) does. They link to each other, and share the variables
namespace, fleet (the label job) and proxy (the label instance).

| dashboard | for |
|---|---|
| overview | is all well? traffic, latency, errors, PING, the proxies themselves |
| scripts | which script hurts, since which version? activations are marked on the graphs |
| nodes | the servers: up, role, lag, busy, links, script cache |
| fleet | do all proxies run the same? revisions, drift, configuration, load |

Each query below was asked of a Prometheus that scraped two proxies every second while they ran scripts that are
slow, fail, run away, can't be killed, are denied, are taken away by SCRIPT FLUSH, and changed their version by
a canary that was promoted. *Series* is how many the query returned, *example* one of them with its last value. $__rate_interval was 10 s.
A test asks them all, and fails when one has no answer.
`

func (r *report) begin(d dashboard) {
	if r.text.Len() == 0 {
		r.text.WriteString(reportHead)
	}
	fmt.Fprintf(&r.text, "\n## %s\n\n%s\n\n| panel | query | series | example |\n|---|---|---|---|\n", d.Title, d.Description)
}

func (r *report) beginRules() {
	r.text.WriteString("\n## Recording rules\n\n| series | query | series | example |\n|---|---|---|---|\n")
}

func (r *report) beginAlerts() {
	r.text.WriteString("\n## What the alerts look at\n\nEach alert's selectors. That the alerts fire, and when not, is tested with promtool.\n\n" +
		"| alert | selector | series | example |\n|---|---|---|---|\n")
}

func (r *report) query(title, expr string, found []series) {
	example := ""
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b series) int { return strings.Compare(labelText(a.labels), labelText(b.labels)) })
		last := found[len(found)-1]
		example = "`" + labelText(last.labels) + " " + strconv.FormatFloat(last.value, 'g', 4, 64) + "`"
	}
	fmt.Fprintf(&r.text, "| %s | %s | %d | %s |\n", title, cell(expr), len(found), r.names(strings.ReplaceAll(example, "|", `\|`)))
}

// cell is an expression on one line of a table.
func cell(expr string) string {
	return "`" + strings.ReplaceAll(strings.Join(strings.Fields(expr), " "), "|", `\|`) + "`"
}

func labelText(labels map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name != "__name__" {
			pairs = append(pairs, name+"="+strconv.Quote(labels[name]))
		}
	}
	return "{" + strings.Join(pairs, ", ") + "}"
}

// names replaces the addresses of this run.
func (r *report) names(text string) string {
	return strings.NewReplacer(r.fleet.primary.Addr(), "primary:6379", r.fleet.replica.Addr(), "replica:6379").Replace(text)
}

func (r *report) finish(t *testing.T) {
	t.Helper()
	if !*update || t.Failed() {
		return
	}
	if err := os.WriteFile(resultsFile, []byte(r.text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestResultsOfAllQueriesAreInTheDocuments(t *testing.T) {
	lines := map[string]bool{}
	for line := range strings.Lines(read(t, resultsFile)) {
		if cells := strings.SplitN(line, " | ", 3); len(cells) == 3 {
			lines[cells[0]+" | "+cells[1]] = true
		}
	}
	missing := func(title, expr string) {
		if !lines["| "+title+" | "+strings.SplitN(cell(expr), " | ", 2)[0]] {
			t.Errorf("docs/dashboards.md lacks %s: %s; run: go test ./test/deploy -run TestQueriesReturnDataUnderLoad -update", title, expr)
		}
	}
	for _, d := range dashboards(t, dashboardDir) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				missing(p.Title, target.Expr)
			}
		}
	}
	for _, r := range rules(t, "recording.yml") {
		missing(r.Record, r.Expr)
	}
}
