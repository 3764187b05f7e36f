package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/test/figures"
)

// write writes the figures.
func (r *sizing) write(w io.Writer, s style) error {
	d := &document{w: w, style: s}
	z := r.Sizes
	d.printf("\nscriptproxy with %s scripts of 1 KiB and %s sessions in front of one redis-server on the same machine: %s, %d cores,\n%s, %s, %s. `%s`, %s.\n\n",
		thousands(float64(z.Scripts), 0), thousands(float64(z.Sessions), 0), r.Machine.CPU, r.Machine.Cores, r.Machine.Memory, r.Machine.Kernel, r.Machine.Go,
		r.Command, r.Started.UTC().Format("2006-01-02 15:04 UTC"))
	mib := func(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
	each := func(bytes int64, n int) string { return thousands(float64(bytes)/float64(n), 0) + " B" }
	t := &table{headings: []string{"memory (resident)", "in all", "more", "for each"}, textColumns: 1}
	t.add("no script, no session", mib(r.Empty), "", "")
	t.add(fmt.Sprintf("no script, %s sessions, idle", thousands(float64(z.Sessions), 0)), mib(r.Alone), mib(r.Alone-r.Empty), each(r.Alone-r.Empty, z.Sessions))
	t.add(fmt.Sprintf("no session, %s scripts, loaded on the server", thousands(float64(z.Scripts), 0)), mib(r.Loaded), mib(r.Loaded-r.Empty), each(r.Loaded-r.Empty, z.Scripts))
	t.add(fmt.Sprintf("and %s sessions, idle", thousands(float64(z.Sessions), 0)), mib(r.Idle), mib(r.Idle-r.Loaded), "")
	t.add("and every script called once", mib(r.Called), mib(r.Called-r.Idle), "")
	t.add(fmt.Sprintf("and metrics read %d times", z.Scrapes), mib(r.Scraped), mib(r.Scraped-r.Called), "")
	t.add("the server's own, for the scripts", mib(r.Server), "", each(r.Server, z.Scripts))
	d.table(t)
	d.printf("\n")

	milliseconds := func(v time.Duration) string { return fmt.Sprintf("%.1f ms", float64(v)/1e6) }
	t = &table{headings: []string{"metrics", ""}, textColumns: 1}
	t.add("series", thousands(float64(r.Series), 0))
	t.add("size", mib(int64(r.Bytes)))
	t.add(fmt.Sprintf("a scrape, p50 of %d", z.Scrapes), milliseconds(r.Scrape.P50))
	t.add("the slowest", milliseconds(r.Scrape.Max))
	t.add("a scrape while 50 clients are busy, p50", milliseconds(r.Loaded50.P50))
	t.add("the slowest", milliseconds(r.Loaded50.Max))
	t.add("CPU time of a scrape", milliseconds(r.CPU))
	d.table(t)
	d.printf("\n")

	t = &table{headings: []string{"load", "requests/s", "CPU for 10,000 requests", "calls not counted", "counting adds", "metrics read every second", "reading adds"}, textColumns: 1}
	for _, l := range r.Loads {
		t.add(l.Title, thousands(l.PerSec, 0), fmt.Sprintf("%.1f ms", 10*l.Unread), fmt.Sprintf("%.1f ms", 10*l.Uncounted), fmt.Sprintf("%+.1f %%", l.CountPercent),
			fmt.Sprintf("%.1f ms", 10*l.Read), fmt.Sprintf("%+.1f %%", l.ReadPercent))
	}
	d.table(t)
	d.printf("\n")

	t = &table{headings: []string{"other", ""}, textColumns: 1}
	t.add("from start to ready, all scripts analysed and loaded", fmt.Sprintf("%.1f s", r.Ready.Seconds()))
	t.add("descriptors without sessions", fmt.Sprint(r.Files[0]))
	t.add(fmt.Sprintf("with %s sessions", thousands(float64(z.Sessions), 0)), thousands(float64(r.Files[1]), 0))
	t.add(fmt.Sprintf("and %d of them in WATCH", z.Dedicated), thousands(float64(r.Files[2]), 0))
	t.add("links to the server: shared, dedicated", fmt.Sprintf("%.0f, %.0f", r.Links[0], r.Links[1]))
	d.table(t)
	d.printf("\n")
	return d.err
}

// putInto puts the figures in their place in a document.
func (r *sizing) putInto(path string) error {
	var text strings.Builder
	if err := r.write(&text, markdown); err != nil {
		return err
	}
	return figures.Put(path, "sizing", text.String())
}
