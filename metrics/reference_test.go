package metrics

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestReferenceInDocsIsUpToDate(t *testing.T) {
	var want bytes.Buffer
	if err := WriteReference(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error(`docs/metrics.md is not what the collectors say: run "go generate ./metrics"`)
	}
}

func TestEveryFamilyIsInTheReferenceWithItsTypeAndLabels(t *testing.T) {
	families, err := populated(t, Options{}).Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	exposed := map[string]bool{}
	for _, f := range families {
		exposed[f.GetName()] = true
		if !strings.HasPrefix(f.GetName(), namespace) {
			continue
		}
		i := slices.IndexFunc(reference, func(d *def) bool { return d.name == f.GetName() })
		if i < 0 {
			t.Errorf("%s is not in the reference", f.GetName())
			continue
		}
		d := reference[i]
		if d.kind != f.GetType() {
			t.Errorf("%s is a %v, the reference says %v", d.name, f.GetType(), d.kind)
		}
		want := slices.Sorted(slices.Values(d.labels))
		for _, m := range f.Metric {
			var got []string
			for _, p := range m.Label {
				got = append(got, p.GetName())
				if fixed := d.labelValues(p.GetName()); fixed != nil && !slices.Contains(fixed, p.GetValue()) {
					t.Errorf("%s: %s=%q is not in the reference", d.name, p.GetName(), p.GetValue())
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s has labels %v, in order, want %v", d.name, got, want)
			}
		}
	}
	for _, d := range reference {
		if !exposed[d.name] {
			t.Errorf("%s is in the reference and not exposed", d.name)
		}
		for _, l := range d.labels {
			if d.labelValues(l) == nil && labelMeaning[l] == "" {
				t.Errorf("%s: the reference says nothing of label %s", d.name, l)
			}
		}
	}
}

func TestLabelValuesAreNamedAndDistinct(t *testing.T) {
	for _, names := range [][]string{
		routeNames[:], outcomeNames[:], classNames[:], verdictNames[:], pingNames[:],
		errKindNames[:], linkKindNames[:], roleNames[:], killResultNames[:],
	} {
		seen := map[string]bool{}
		for _, n := range names {
			if n == "" || seen[n] {
				t.Errorf("%q in %v is empty or twice", n, names)
			}
			seen[n] = true
		}
	}
	if got := OutcomeMayHaveRun.String(); got != "may_have_run" {
		t.Errorf("OutcomeMayHaveRun is %q", got)
	}
	if got := Route(99).String(); got != "unknown" {
		t.Errorf("Route(99) is %q", got)
	}
}
