//go:build linux

package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const quickStart = root + "/docs/quickstart.md"

// step is a shell block of the quick start, under its heading.
type step struct{ heading, commands string }

// stepsOf returns the blocks fenced as "sh debian".
func stepsOf(text string) []step {
	var all []step
	heading, inside := "", false
	for line := range strings.Lines(text) {
		switch fence := strings.TrimRight(line, "\n"); {
		case fence == "```sh debian":
			inside = true
			all = append(all, step{heading: heading})
		case strings.HasPrefix(fence, "```"):
			inside = false
		case inside:
			all[len(all)-1].commands += line
		case strings.HasPrefix(line, "### "):
			heading = strings.TrimSpace(strings.TrimPrefix(line, "### "))
		}
	}
	return all
}

// The blocks of the quick start.
const (
	blockInstall = iota
	blockScript
	blockMetrics
	blockRelease
	blockReleaseSeen
	blockRollback
	blockRollbackSeen
	blocks
)

// TestQuickStartLeadsToARollbackOnTheDashboards does what the quick start says, in a copy of this machine or of the file system that
// -root names, and looks at what the queries return. With -update it writes down how long each step took.
func TestQuickStartLeadsToARollbackOnTheDashboards(t *testing.T) {
	steps := stepsOf(read(t, quickStart))
	if len(steps) != blocks {
		t.Fatalf("the quick start has %d blocks to run, not %d", len(steps), blocks)
	}
	deb := buildPackage(t, "1.0.0")
	m := newMachineOf(t, *rootFlag)
	m.copyIn(deb, "/root/"+filepath.Base(deb))
	// There is no network: what is installed, or was downloaded, has to do.
	m.put("/etc/apt/apt.conf.d/99quickstart", "APT::Get::Upgrade \"false\";\n", 0o644)
	times := newTimes()
	out := make([]string, len(steps))
	for i, s := range steps {
		began := time.Now()
		run := func() error {
			var err error
			out[i], err = m.run("bash", "-euo", "pipefail", "-c", "cd /root\n"+s.commands)
			return err
		}
		version := map[int]string{blockReleaseSeen: "v2", blockRollbackSeen: "v1"}[i]
		if version != "" { // on a busy machine a scrape may be late
			eventually(t, "answer to the queries under "+s.heading, func() error {
				if err := run(); err != nil {
					return err
				}
				return runsAlone(out[i], version)
			})
		} else if err := run(); err != nil {
			t.Fatalf("%s: %v", s.heading, err)
		}
		t.Logf("%s\n%s\n%s", s.heading, s.commands, out[i])
		times.add(s, time.Since(began))
	}

	if got := lastLines(out[blockInstall], 1); got != "PONG" {
		t.Errorf("after the installation: %s", got)
	}
	if got := lastLines(out[blockScript], 2); got != "OK\n1" {
		t.Errorf("MSET and the first transfer answer %q", got)
	}
	a, b := 0, 0
	if _, err := fmt.Sscan(lastLines(out[blockRelease], 2), &a, &b); err != nil || a+b <= 1000000 {
		t.Errorf("after the bad release the accounts hold %d and %d (%v):\n%s", a, b, err, out[blockRelease])
	}
	for _, want := range []string{"rollback", "money appears", "release 42"} {
		if !strings.Contains(out[blockRollbackSeen], want) {
			t.Errorf("the audit log lacks %q:\n%s", want, out[blockRollbackSeen])
		}
	}
	sum := func() string {
		return m.must("redis-cli", "-p", "6380", "EVAL", "return redis.call('GET', KEYS[1]) + redis.call('GET', KEYS[2])", "2", "account:a", "account:b")
	}
	before, calls := sum(), m.must("redis-cli", "-p", "6380", "GET", "account:a")
	eventually(t, "transfer after the rollback", func() error {
		if m.must("redis-cli", "-p", "6380", "GET", "account:a") == calls {
			return fmt.Errorf("account:a is still %s", calls)
		}
		return nil
	})
	if after := sum(); after != before {
		t.Errorf("after the rollback the accounts held %s, and then %s", before, after)
	}
	if *update && !t.Failed() {
		times.write(t)
	}
}

var versionSample = regexp.MustCompile(`\{script="transfer", version="(v\d)"\} => ([0-9.e+-]+) @`)

// runsAlone returns nil when what two queries returned, the rates of both versions and then the active one, says that one version is
// called and active, and the other not.
func runsAlone(out, version string) error {
	found := versionSample.FindAllStringSubmatch(out, -1)
	if len(found) != 3 {
		return fmt.Errorf("there are %d samples, not the rates of two versions and the active one:\n%s", len(found), out)
	}
	for i, m := range found {
		var value float64
		if _, err := fmt.Sscan(m[2], &value); err != nil {
			return err
		}
		is := m[1] == version
		if i == 2 && (!is || value != 1) || i < 2 && is != (value > 0) {
			return fmt.Errorf("%s does not run alone:\n%s", version, out)
		}
	}
	return nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// times is how long each heading's blocks took.
type times struct {
	table   strings.Builder
	heading string
	took    time.Duration
	waited  int
	all     time.Duration
}

func newTimes() *times {
	w := &times{}
	w.table.WriteString("| step | seconds | of them sleeping |\n|---|---:|---:|\n")
	return w
}

var sleep = regexp.MustCompile(`(?m)^sleep (\d+)$`)

func (w *times) add(s step, took time.Duration) {
	if s.heading != w.heading {
		w.flush()
		w.heading = s.heading
	}
	w.took += took
	w.all += took
	for _, m := range sleep.FindAllStringSubmatch(s.commands, -1) {
		n := 0
		fmt.Sscan(m[1], &n)
		w.waited += n
	}
}

func (w *times) flush() {
	if w.heading != "" {
		fmt.Fprintf(&w.table, "| %s | %.1f | %d |\n", w.heading, w.took.Seconds(), w.waited)
	}
	w.took, w.waited = 0, 0
}

// write puts the times in their place in the quick start.
func (w *times) write(t *testing.T) {
	t.Helper()
	w.flush()
	fmt.Fprintf(&w.table, "| in all | %.1f | |\n", w.all.Seconds())
	text := read(t, quickStart)
	begin := regexp.MustCompile(`<!-- times: .* -->\n`).FindStringIndex(text)
	end := strings.Index(text, "<!-- end of the times -->")
	if begin == nil || end < begin[1] {
		t.Fatal("the quick start has no place for the times")
	}
	if err := os.WriteFile(quickStart, []byte(text[:begin[1]]+"\n"+w.table.String()+"\n"+text[end:]), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestQuickStartAsksWhatTheDashboardsAsk holds the queries of the quick start to those of the panels that it names, without the
// dashboard's variables.
func TestQuickStartAsksWhatTheDashboardsAsk(t *testing.T) {
	text := read(t, quickStart)
	asked := map[string]bool{}
	for _, m := range regexp.MustCompile(`promtool query instant \S+ '([^']*)'`).FindAllStringSubmatch(text, -1) {
		asked[m[1]] = false
	}
	variables := regexp.MustCompile(`(?:namespace|job|instance|script)=~"\$\w+"(?:, )?`)
	for _, p := range dashboards(t, dashboardDir)["scripts"].Panels {
		if !strings.Contains(text, "*"+p.Title+"*") {
			continue
		}
		expr := variables.ReplaceAllString(p.Targets[0].Expr, "")
		expr = strings.NewReplacer("$__rate_interval", "5s", "{}", "").Replace(expr)
		if _, ok := asked[expr]; !ok {
			t.Errorf("the quick start does not ask what the panel %q asks: %s", p.Title, expr)
		}
		asked[expr] = true
	}
	for expr, shown := range asked {
		if !shown {
			t.Errorf("no panel that the quick start names asks %s", expr)
		}
	}
	if len(asked) == 0 {
		t.Error("the quick start asks nothing")
	}
}
