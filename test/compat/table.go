package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
)

// row is the tests of one package on one server, or a server that could not be had.
type row struct {
	server, version, from string
	missing               bool
	result                *result
}

// table writes the rows for a reader.
func table(rows []row) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "server\tversion\tDebian package\ttests\tpassed\tfailed\tskipped\tseconds")
	for _, r := range rows {
		if r.missing {
			fmt.Fprintf(w, "%s\t%s\t%s\tnot run: the packages could not be had\t-\t-\t-\t-\n", r.server, r.version, r.from)
			continue
		}
		res := r.result
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", r.server, r.version, r.from, res.pkg, res.passed, res.failed, res.skipped,
			strconv.FormatFloat(res.seconds, 'f', 1, 64))
	}
	w.Flush()
	return b.String()
}
