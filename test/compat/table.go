package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
)

// row is the tests of one package on one server, or what did not run.
type row struct {
	server, version, from string
	missing               bool   // nothing ran
	why                   string // it did not
	result                *result
}

// table writes the rows for a reader.
func table(rows []row) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "server\tversion\tDebian package\ttests\tpassed\tfailed\tskipped\tseconds")
	for _, r := range rows {
		if r.missing {
			fmt.Fprintf(w, "%s\t%s\t%s\tnot run: %s\t-\t-\t-\t-\n", r.server, r.version, r.from, r.why)
			continue
		}
		res := r.result
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", r.server, r.version, r.from, res.pkg, res.passed, res.failed, res.skipped,
			strconv.FormatFloat(res.seconds, 'f', 1, 64))
	}
	w.Flush()
	return b.String()
}
