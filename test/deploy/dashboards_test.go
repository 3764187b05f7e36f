//go:build linux

package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const dashboardDir = root + "/deploy/grafana"

// dashboard is what the tests look at in a dashboard.
type dashboard struct {
	UID           string
	Title         string
	Description   string
	SchemaVersion int
	Tags          []string
	Panels        []panel
	Templating    struct{ List []variable }
	Annotations   struct{ List []annotation }
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	Datasource  datasource
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct {
		RefID      string
		Expr       string
		Datasource datasource
	}
	Options     json.RawMessage
	FieldConfig struct {
		Defaults struct {
			Unit   string
			Custom json.RawMessage
		}
	}
}

type variable struct {
	Name, Type string
	AllValue   string
	Query      json.RawMessage
	Definition string
	Datasource datasource
}

type annotation struct {
	Name    string
	BuiltIn int
	Target  struct{ Expr string }
}

type datasource struct{ Type, UID string }

var prometheusVariable = datasource{"prometheus", "${datasource}"}

// dashboards are the four of deploy/grafana, by file name.
func dashboards(t *testing.T, dir string) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]dashboard{}
	for _, file := range files {
		var d dashboard
		if err := json.Unmarshal([]byte(read(t, file)), &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = d
	}
	for _, name := range []string{"overview", "scripts", "nodes", "fleet"} {
		if _, ok := all[name]; !ok {
			t.Fatalf("%s has no dashboard %s", dir, name)
		}
	}
	return all
}

func TestDashboardsAreConsistent(t *testing.T) {
	known := metricNames(t)
	uids := map[string]string{}
	for name, d := range dashboards(t, dashboardDir) {
		if want := "scriptproxy-" + name; d.UID != want {
			t.Errorf("the uid of %s is %q, want %q", name, d.UID, want)
		}
		if other := uids[d.Title]; other != "" {
			t.Errorf("%s and %s have the same title", name, other)
		}
		uids[d.Title] = name
		if !slices.Contains(d.Tags, "scriptproxy") {
			t.Errorf("%s lacks the tag by which the dashboards link to each other", name)
		}
		variables := []string{"__rate_interval", "__interval", "__range"}
		for i, v := range d.Templating.List {
			variables = append(variables, v.Name)
			if first := i == 0; first != (v.Type == "datasource") || !first && v.Datasource != prometheusVariable {
				t.Errorf("%s: the first variable, and no other, is the datasource, which the others use; %s is not so", name, v.Name)
			}
		}
		ids := map[int]bool{}
		for i, p := range d.Panels {
			at := fmt.Sprintf("%s: panel %q", name, p.Title)
			if ids[p.ID] || p.ID == 0 || p.Title == "" {
				t.Errorf("%s: its id %d is taken or missing", at, p.ID)
			}
			ids[p.ID] = true
			if p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X < 0 || p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s lies outside of the grid: %+v", at, p.GridPos)
			}
			for _, q := range d.Panels[:i] {
				if p.GridPos.X < q.GridPos.X+q.GridPos.W && q.GridPos.X < p.GridPos.X+p.GridPos.W &&
					p.GridPos.Y < q.GridPos.Y+q.GridPos.H && q.GridPos.Y < p.GridPos.Y+p.GridPos.H {
					t.Errorf("%s overlaps %q", at, q.Title)
				}
			}
			if p.Type == "row" {
				continue
			}
			if p.Description == "" || p.Datasource != prometheusVariable || len(p.Targets) == 0 {
				t.Errorf("%s has no description, no query, or not the datasource that was chosen", at)
			}
			refs := map[string]bool{}
			for _, target := range p.Targets {
				if refs[target.RefID] || target.Datasource != prometheusVariable {
					t.Errorf("%s: query %s is there twice or does not use the datasource that was chosen", at, target.RefID)
				}
				refs[target.RefID] = true
				if unknown := unknownMetrics(known, target.Expr); len(unknown) > 0 {
					t.Errorf("%s asks for %v", at, unknown)
				}
				for _, m := range variableName.FindAllStringSubmatch(target.Expr, -1) {
					if !slices.Contains(variables, m[1]) {
						t.Errorf("%s uses the variable %s, which the dashboard does not have", at, m[1])
					}
				}
			}
		}
	}
}

func TestEveryMetricIsOnADashboard(t *testing.T) {
	shown := map[string]bool{}
	known := metricNames(t)
	for _, d := range dashboards(t, dashboardDir) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				for _, m := range prefixed.FindAllStringSubmatch(target.Expr, -1) {
					shown[family(known, m[1])] = true
				}
			}
		}
	}
	for _, name := range known {
		if !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
}

var variableName = regexp.MustCompile(`\$\{?(\w+)\}?`)

// gaps are keys that Grafana reads and writes and its schema lacks: variables of the type "query", and annotations that ask
// Prometheus.
var gaps = []string{"definition", "target", "titleFormat", "textFormat", "tagKeys", "useValueForTime"}

// panelTypes are the modules of Grafana's schema, by the type of a panel.
var panelTypes = map[string]string{
	"timeseries":     "timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen",
	"stat":           "stat/panelcfg/x/StatPanelCfg_types.gen",
	"table":          "table/panelcfg/x/TablePanelCfg_types.gen",
	"heatmap":        "heatmap/panelcfg/x/HeatmapPanelCfg_types.gen",
	"state-timeline": "statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen",
}

var enum = regexp.MustCompile(`(?s)export declare enum (\w+) \{(.*?)\n\}`)
var enumValue = regexp.MustCompile(`= ("(?:[^"\\]|\\.)*"|-?\d+)`)

// grafanaTypes installs Grafana's schema into dir. Its enumerations become unions of their values, because JSON has values.
func grafanaTypes(t *testing.T, dir string) {
	t.Helper()
	npm := installed(t, "npm")
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(read(t, "grafana/package.json")), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, dir, npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
	from := os.DirFS(filepath.Join(dir, "node_modules/@grafana/schema/dist/esm"))
	if err := os.CopyFS(filepath.Join(dir, "types"), from); err != nil {
		t.Fatal(err)
	}
	changed := 0
	err := filepath.Walk(filepath.Join(dir, "types"), func(path string, info os.FileInfo, err error) error {
		if err != nil || !strings.HasSuffix(path, ".d.ts") {
			return err
		}
		text := read(t, path)
		union := enum.ReplaceAllStringFunc(text, func(declaration string) string {
			m := enum.FindStringSubmatch(declaration)
			var values []string
			for _, v := range enumValue.FindAllStringSubmatch(m[2], -1) {
				values = append(values, v[1])
			}
			changed++
			return "export type " + m[1] + " = " + strings.Join(values, " | ") + ";"
		})
		return os.WriteFile(path, []byte(union), 0o644)
	})
	if err != nil || changed == 0 {
		t.Fatalf("Grafana's schema was not understood: %d enumerations, %v", changed, err)
	}
	const settings = `{"compilerOptions": {"strict": true, "noEmit": true, "skipLibCheck": true, "module": "esnext", "moduleResolution": "bundler",
		"types": [], "paths": {"@grafana/schema": ["./types/index"]}}, "include": ["check*.ts"]}`
	if err := os.WriteFile(filepath.Join(dir, "tsconfig.json"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
}

// writeTypeScript writes the dashboards of a directory as values of Grafana's types.
func writeTypeScript(t *testing.T, path, dashboardDir string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("import type { Dashboard } from './types/raw/dashboard/x/dashboard_types.gen';\n")
	for kind, module := range panelTypes {
		fmt.Fprintf(&b, "import type * as %s from './types/raw/composable/%s';\n", strings.ReplaceAll(kind, "-", "_"), module)
	}
	files, err := filepath.Glob(dashboardDir + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	n := 0
	for _, file := range files {
		var value any
		if err := json.Unmarshal([]byte(read(t, file)), &value); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		text, err := json.Marshal(withoutGaps(value))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "// %s\nexport const dashboard%d: Dashboard = %s;\n", filepath.Base(file), n, text)
		n++
	}
	for name, d := range dashboards(t, dashboardDir) {
		for _, p := range d.Panels {
			if p.Type == "row" {
				continue
			}
			if panelTypes[p.Type] == "" {
				t.Errorf("%s: panel %q has the type %s, whose schema the test does not know", name, p.Title, p.Type)
				continue
			}
			kind := strings.ReplaceAll(p.Type, "-", "_")
			fmt.Fprintf(&b, "// %s: %s\nexport const panel%d: %s.Options = %s;\n", name, p.Title, n, kind, p.Options)
			if p.FieldConfig.Defaults.Custom != nil {
				fmt.Fprintf(&b, "export const custom%d: %s.FieldConfig = %s;\n", n, kind, p.FieldConfig.Defaults.Custom)
			}
			n++
		}
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func withoutGaps(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, child := range value {
			if slices.Contains(gaps, key) {
				delete(value, key)
			} else {
				value[key] = withoutGaps(child)
			}
		}
	case []any:
		for i, child := range value {
			value[i] = withoutGaps(child)
		}
	}
	return value
}

func TestDashboardsHaveGrafanasSchema(t *testing.T) {
	dir := t.TempDir()
	grafanaTypes(t, dir)
	writeTypeScript(t, filepath.Join(dir, "check.ts"), dashboardDir)
	mistakes := map[string]struct{ old, new string }{
		"a key that does not exist":     {`"graphTooltip": 1`, `"graphTooltips": 1`},
		"a value that is not one":       {`"mode": "multi"`, `"mode": "many"`},
		"a panel's option of no panel":  {`"displayMode": "table"`, `"displayModes": "table"`},
		"a field's setting of no panel": {`"drawStyle": "line"`, `"drawStyle": "curve"`},
	}
	files := map[string]string{}
	for name, change := range mistakes {
		files[name] = fmt.Sprintf("check%d.ts", len(files))
		writeTypeScript(t, filepath.Join(dir, files[name]), broken(t, dashboardDir, "overview.json", change.old, change.new))
	}
	_, err := output(dir, installed(t, "node"), "node_modules/typescript/bin/tsc", "-p", ".")
	if err == nil {
		t.Fatal("dashboards with mistakes pass")
	}
	for name, file := range files {
		if !strings.Contains(err.Error(), "\n"+file+"(") {
			t.Errorf("a dashboard with %s passes", name)
		}
	}
	for line := range strings.Lines(err.Error()) {
		if strings.Contains(line, "check.ts") || strings.Contains(line, "types/") {
			t.Error(strings.TrimSpace(line))
		}
	}
}
