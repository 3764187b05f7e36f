package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// printSelectors writes the vector selectors of an expression, sorted, each once: what has to have data for the expression to
// mean anything.
func printSelectors(expr string, out io.Writer) error {
	parsed, err := parser.ParseExpr(expr)
	if err != nil {
		return fmt.Errorf("%s: %w", expr, err)
	}
	var found []string
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			bare := parser.VectorSelector{Name: selector.Name, LabelMatchers: slices.Clone(selector.LabelMatchers)}
			if selector.Name != "" {
				bare.LabelMatchers = slices.DeleteFunc(bare.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == labels.MetricName })
			}
			found = append(found, bare.String())
		}
		return nil
	})
	slices.Sort(found)
	for _, selector := range slices.Compact(found) {
		fmt.Fprintln(out, selector)
	}
	return nil
}
