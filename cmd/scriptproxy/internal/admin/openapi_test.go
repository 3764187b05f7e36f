package admin

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/scriptproxy/scriptproxy/cmd/scriptproxy/internal/config"
)

const openapiPath = "../../../../docs/openapi.yaml"

func openapi(t *testing.T) map[string]any {
	t.Helper()
	data, err := os.ReadFile(openapiPath)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := config.Document(data)
	if err != nil {
		t.Fatal(err)
	}
	// Through JSON, so that numbers and maps are what the validator expects.
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return value.(map[string]any)
}

func TestEveryRouteIsDescribed(t *testing.T) {
	doc := openapi(t)
	if doc["openapi"] != "3.1.0" {
		t.Errorf("openapi is %v", doc["openapi"])
	}
	var described []string
	for path, item := range doc["paths"].(map[string]any) {
		for method, operation := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			name := strings.ToUpper(method) + " " + path
			described = append(described, name)
			op := operation.(map[string]any)
			if op["summary"] == nil || op["responses"] == nil {
				t.Errorf("%s has no summary or no responses", name)
			}
			checkParameters(t, name, path, item.(map[string]any))
		}
	}
	var served []string
	for _, r := range newBench(t, nil).srv.routes() {
		served = append(served, r.method+" "+r.path)
		open := doc["paths"].(map[string]any)[r.path]
		if open == nil {
			continue
		}
		op, _ := open.(map[string]any)[strings.ToLower(r.method)].(map[string]any)
		security, said := op["security"]
		if without := said && len(security.([]any)) == 0; without != (r.access == accessAll) {
			t.Errorf("%s %s: whether a token is needed is described wrongly", r.method, r.path)
		}
	}
	slices.Sort(described)
	slices.Sort(served)
	for _, r := range served {
		if !slices.Contains(described, r) {
			t.Errorf("docs/openapi.yaml does not describe %s", r)
		}
	}
	for _, r := range described {
		if !slices.Contains(served, r) {
			t.Errorf("docs/openapi.yaml describes %s, which is not served", r)
		}
	}
}

// checkParameters looks that every part of the path in braces is declared.
func checkParameters(t *testing.T, name, path string, item map[string]any) {
	declared := item["parameters"]
	for _, part := range strings.Split(path, "/") {
		if !strings.HasPrefix(part, "{") {
			continue
		}
		want := "#/components/parameters/" + strings.Trim(part, "{}")
		list, _ := declared.([]any)
		if !slices.ContainsFunc(list, func(p any) bool { return p.(map[string]any)["$ref"] == want }) {
			t.Errorf("%s: the parameter %s is not declared", name, part)
		}
	}
}

// schemas compiles the schemas of the document.
type schemas struct {
	t *testing.T
	c *jsonschema.Compiler
}

func newSchemas(t *testing.T) *schemas {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openapi.json", openapi(t)); err != nil {
		t.Fatal(err)
	}
	return &schemas{t, c}
}

// check validates a document against the schema at a path of the document.
func (s *schemas) check(what, at string, text []byte) {
	s.t.Helper()
	schema, err := s.c.Compile("openapi.json#" + at)
	if err != nil {
		s.t.Fatalf("%s: %v", at, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		s.t.Fatalf("%s: %v: %s", what, err, text)
	}
	if err := schema.Validate(value); err != nil {
		s.t.Errorf("%s is not as described: %v\n%s", what, err, text)
	}
}

func TestAnswersAreAsDescribed(t *testing.T) {
	s := newSchemas(t)
	b := newBench(t, nil)
	steps := []struct{ method, path, body, schema string }{
		{"GET", "/api/v1/registry", "", "Registry"},
		{"GET", "/api/v1/scripts", "", "Scripts"},
		{"GET", transfer, "", "Script"},
		{"GET", transfer + "/versions/v1", "", "VersionBody"},
		{"POST", transfer + "/versions", `{"body": "return 3", "tags": ["x"]}`, "Result"},
		{"POST", transfer + "/activate", `{"version": "v3"}`, "Result"},
		{"POST", transfer + "/activate", `{"version": "v3"}`, "Result"},
		{"POST", transfer + "/canary", `{"version": "v1", "percent": 5}`, "Result"},
		{"POST", transfer + "/promote", ``, "Result"},
		{"POST", transfer + "/rollback", ``, "Result"},
		{"POST", transfer + "/retire", `{"version": "v2", "answer": "denied"}`, "Result"},
		{"POST", transfer + "/unretire", `{"version": "v2"}`, "Result"},
		{"POST", transfer + "/pin", `{"version": "v2", "pinned": true}`, "Result"},
		{"POST", transfer + "/tags", `{"tags": []}`, "Result"},
		{"DELETE", transfer + "/versions/v1", ``, "Result"},
		{"DELETE", transfer + "?force=true&who=me&why=gone", ``, "Result"},
		{"GET", transfer, "", "Error"},
		{"POST", "/api/v1/scripts/team%2Flock:a/activate", `{"version": "v9"}`, "Error"},
		{"GET", "/api/v1/wait?revision=99&timeout=1ms", "", "Error"},
		{"GET", "/api/v1/audit", "", "Audit"},
		{"GET", "/api/v1/fleet", "", "Fleet"},
		{"GET", "/api/v1/wait", "", "Fleet"},
		{"GET", "/api/v1/cache", "", "Cache"},
		{"GET", "/api/v1/nodes", "", "Nodes"},
		{"GET", "/api/v1/breakers", "", "Breakers"},
		{"POST", "/api/v1/breakers/reset", `{"script": "transfer", "version": "v2"}`, "Breakers"},
		{"POST", "/api/v1/breakers/reset", `{"script": "other"}`, "Error"},
		{"POST", "/api/v1/breakers/reset", `{"version": "v2"}`, "Error"},
		{"POST", "/api/v1/breakers/reset", `{"script": "transfer", "sha": "` + strings.Repeat("c", 40) + `"}`, "Error"},
		{"POST", "/api/v1/breakers/reset", ``, "Error"},
	}
	for _, step := range steps {
		what := step.method + " " + step.path
		resp := b.request(step.method, step.path, step.body)
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if (resp.StatusCode == 200) == (step.schema == "Error") {
			t.Errorf("%s: status %d: %s", what, resp.StatusCode, text)
		}
		s.check(what, "/components/schemas/"+step.schema, text)
	}
	resp := b.request("POST", "/api/v1/cache/compact", "{}")
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		s.check("a step of the compaction", "/components/schemas/Progress", []byte(line))
	}
}

func TestConflictIsAsDescribed(t *testing.T) {
	s := newSchemas(t)
	b := newBench(t, nil)
	b.want(200, nil, "POST", transfer+"/activate", `{"version": "v1"}`)
	resp := b.request("POST", transfer+"/activate", `{"version": "v2"}`, "If-Match", `"1"`)
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 412 {
		t.Fatal(resp.StatusCode, err)
	}
	s.check("a conflict", "/components/schemas/Error", text)
}
