package cli

import "testing"

func TestLintProgressFillsItsBar(t *testing.T) {
	for _, c := range []struct {
		done, of int
		want     string
	}{
		{0, 10000, "[..............................] 0 of 10000 scripts"},
		{5000, 10000, "[###############...............] 5000 of 10000 scripts"},
		{10000, 10000, "[##############################] 10000 of 10000 scripts"},
	} {
		if got := lintProgress(c.done, c.of); got != c.want {
			t.Errorf("%d of %d is shown as %q, want %q", c.done, c.of, got, c.want)
		}
	}
}
