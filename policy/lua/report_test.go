package lua

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// allReports are the reports of every file under testdata, and of some bodies that break formats.
func allReports(t *testing.T) []Report {
	t.Helper()
	var out []Report
	for _, pattern := range []string{"testdata/rules/*/*.lua", "testdata/sound/*.lua"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, f := range files {
			out = append(out, Report{f, lintFile(t, f)})
		}
	}
	for name, body := range map[string]string{
		"empty.lua":             "",
		"a name with 100 %.lua": "return redis.call('GET', 'ключ')",
		"/absolute/path.lua":    "x = '\xff\x80'",
		"-":                     "#!lua flags=\x1b[31m\nreturn 1",
	} {
		out = append(out, Report{name, lintBody(body, "", Auto)})
	}
	return out
}

func TestSARIFIsValidByTheStandardsSchema(t *testing.T) {
	file, err := os.Open("testdata/schema/sarif-schema-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	doc, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("sarif.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("sarif.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, reports := range map[string][]Report{"all": allReports(t), "none": nil} {
		var buf bytes.Buffer
		if err := WriteSARIF(&buf, "1.2.3", reports); err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(&buf)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The validator must be able to say no.
	bad, _ := jsonschema.UnmarshalJSON(strings.NewReader(`{"version": "2.1.0", "runs": [{"results": []}]}`))
	if schema.Validate(bad) == nil {
		t.Error("a run without a tool passed")
	}
}

func TestSARIFNamesRuleAndPlace(t *testing.T) {
	var buf bytes.Buffer
	a := lintBody("local x = 1\nreturn redis.call('FLUSHALL')", "", Auto)
	if err := WriteSARIF(&buf, "dev", []Report{{"scripts/a b.lua", a}}); err != nil {
		t.Fatal(err)
	}
	var log sarifLog
	if err := json.Unmarshal(buf.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	r := log.Runs[0].Results[0]
	at := r.Locations[0].PhysicalLocation
	if r.RuleID != "dangerous-command" || r.Level != "error" || log.Runs[0].Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID ||
		at.ArtifactLocation.URI != "scripts/a%20b.lua" || at.Region != (sarifRegion{2, 8, 2, 30}) {
		t.Errorf("%+v", r)
	}
}

func TestJSONHoldsFindingsAndFacts(t *testing.T) {
	var buf bytes.Buffer
	reports := []Report{
		{"a.lua", lintBody("return redis.call('GET', KEYS[1])", "", Auto)},
		{"b.lua", lintBody("x = 1", "", Auto)},
		{"c.lua", lintBody("return (", "", Auto)},
	}
	if err := WriteJSON(&buf, reports); err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "testdata/formats/report.json", buf.String())
	var back struct {
		Files []struct{ Findings []Finding }
	}
	if err := json.Unmarshal(buf.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if back.Files[1].Findings[0] != reports[1].Analysis.Findings[0] {
		t.Errorf("%+v", back.Files[1].Findings)
	}
}

func TestTextMarksThePlaceInTheSource(t *testing.T) {
	long := "local s = '" + strings.Repeat("x", 200) + "' redis.call('KEYS', s) local y = '" + strings.Repeat("y", 200) + "'\n"
	var buf bytes.Buffer
	for _, c := range []struct{ file, body string }{
		{"wide characters.lua", "local name = 'ключ' redis.call('FLUSHALL', name) -- \x1b[31mred\n"},
		{"a long line.lua", long},
		{"tabs.lua", "if true then\n\treturn\ttotl\nend\n"},
		{"lines end in CR LF.lua", "local a = 1\r\nreturn b\r\n"},
		{"over two lines.lua", "return redis.call('KEYS',\n  KEYS[1])\n"},
		{"not text.lua", "local a = '\xff\x80\x80' return b\n"},
		{"not Lua, and a \x1b in its name.lua", "\tif ключ then end\n"},
		{"nothing to say.lua", "return 1\n"},
	} {
		if err := WriteText(&buf, c.file, []byte(c.body), lintBody(c.body, "", Auto)); err != nil {
			t.Fatal(err)
		}
	}
	if strings.ContainsRune(buf.String(), '\x1b') {
		t.Error("a control character reached the terminal")
	}
	compareGolden(t, "testdata/formats/report.txt", buf.String())
}
