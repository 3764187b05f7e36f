package config

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

const referencePath = "../../../../docs/configuration.md"

const referenceHead = `# Configuration reference

<!-- Generated from the types of cmd/scriptproxy/internal/config by
go test ./cmd/scriptproxy/internal/config -run Reference -update -->

The file is YAML. ` + "`config.example.yaml`" + ` shows every key in its place, and
` + "`scriptproxy check -config FILE`" + ` says what is wrong with a file, all at once and
with lines.

- A key that is unknown or given twice is an error. Merge keys (` + "`<<`" + `) are not
  supported; anchors and aliases are.
- A duration is written as 500ms, 1s, 5m or 1h30m; a size as 512B, 64KiB, 64MiB, 1GiB
  (by 1,024) or 64KB, 1MB, 1GB (by 1,000). The unit is needed; only 0 may stand alone.
- An address is ` + "`host:port` or `unix:/path`" + `.
- A relative path is relative to the directory of the file.
- ` + "`!env NAME`" + ` instead of a value takes it from the environment variable NAME, which
  must be set: ` + "`primary: !env REDIS_ADDRESS`" + `. No other value is expanded.
- A file with a secret holds nothing else; one newline at its end is ignored. A file that
  every user of the machine may read is warned of.
`

func TestReferenceInDocsIsGeneratedFromTheTypes(t *testing.T) {
	w := &referenceWriter{comments: fieldComments(t)}
	w.text.WriteString(referenceHead)
	w.section(reflect.ValueOf(Default()).Elem(), "", "")
	if *update {
		if err := os.MkdirAll("../../../../docs", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, referencePath, w.text.String())
}

// referenceWriter writes one table for each section, then the sections in it.
type referenceWriter struct {
	text     strings.Builder
	comments map[string]string // "Type.Field" → comment
}

func (w *referenceWriter) section(v reflect.Value, path, intro string) {
	if path == "" {
		w.text.WriteString("\n## The file\n\n")
	} else {
		fmt.Fprintf(&w.text, "\n## %s\n\n%s\n\n", path, intro)
	}
	w.text.WriteString("| key | value | default | |\n|---|---|---|---|\n")
	type inner struct {
		value       reflect.Value
		path, intro string
	}
	var sections []inner
	for f := range fieldsOf(v.Type()) {
		key, _ := yamlKey(f)
		comment := w.comments[v.Type().Name()+"."+f.Name]
		field := v.FieldByIndex(f.Index)
		if field.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Secret]() {
			at := join(path, key)
			sections = append(sections, inner{field, at, comment})
			fmt.Fprintf(&w.text, "| `%s` | [section](#%s) | | |\n", key, anchor(at))
			continue
		}
		what := describe(field)
		if element, at := elementOf(field.Type(), join(path, key)); element.IsValid() {
			sections = append(sections, inner{element, at, comment})
			what = fmt.Sprintf("%s of [entries](#%s)", what, anchor(at))
			if field.Kind() == reflect.Pointer {
				what = fmt.Sprintf("[section](#%s)", anchor(at))
			}
			comment = ""
		}
		fmt.Fprintf(&w.text, "| `%s` | %s | %s | %s |\n", key, what, w.defaultOf(v, f, path), strings.ReplaceAll(comment, "|", "\\|"))
	}
	for _, s := range sections {
		w.section(s.value, s.path, s.intro)
	}
}

// elementOf returns an entry, with its defaults, of a list, of the versions, or of
// an optional section.
func elementOf(t reflect.Type, path string) (reflect.Value, string) {
	switch {
	case t == reflect.TypeFor[Versions]():
		path += ".VERSION"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		path += "[]"
	case t.Kind() != reflect.Pointer:
		return reflect.Value{}, ""
	}
	element := reflect.New(t.Elem())
	setDefaults(element)
	return element.Elem(), path
}

func anchor(path string) string {
	return regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(strings.ToLower(path), "")
}

func describe(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case enum:
		return "`" + strings.Join(value.values(), "` \\| `") + "`"
	case time.Duration:
		return "duration"
	case Size:
		return "size"
	case Versions:
		return "mapping"
	}
	switch v.Kind() {
	case reflect.Int:
		return "number"
	case reflect.Bool:
		return "`true` \\| `false`"
	case reflect.Slice:
		if v.Type() != reflect.TypeFor[Body]() {
			return "list"
		}
	}
	return "text"
}

// defaultOf returns the default of a field for its column.
func (w *referenceWriter) defaultOf(section reflect.Value, f reflect.StructField, path string) string {
	key, _ := yamlKey(f)
	if strings.HasPrefix(path, "scripts.list[]") && strings.HasPrefix(w.comments[section.Type().Name()+"."+f.Name], "As ") {
		return "`scripts." + key + "`"
	}
	if path == "scripts.list[].breaker" {
		return "`scripts.breaker." + key + "`"
	}
	v := section.FieldByIndex(f.Index)
	switch value := v.Interface().(type) {
	case time.Duration:
		return "`" + shortDuration(value) + "`"
	case []Listener:
		return "`[" + value[0].Address + "]`"
	case Secret, FileMode, Body:
		return ""
	case Size:
		if value == 0 {
			return "`0`"
		}
		return "`" + value.String() + "`"
	}
	switch {
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Pointer:
		return ""
	case v.Kind() == reflect.String && v.String() == "":
		return ""
	}
	return fmt.Sprintf("`%v`", v.Interface())
}

// shortDuration writes 1m0s as 1m, and no unit for 0.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if d == 0 {
		text = "0"
	}
	return text
}

// fieldComments returns the comments of the fields of this package's structs as
// single lines.
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	comments := make(map[string]string)
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					for _, name := range field.Names {
						comments[spec.Name.Name+"."+name.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
					}
				}
			}
			return true
		})
	}
	return comments
}

func TestEveryKeyIsExplainedByAComment(t *testing.T) {
	comments := fieldComments(t)
	var check func(typ reflect.Type)
	check = func(typ reflect.Type) {
		for f := range fieldsOf(typ) {
			if comments[typ.Name()+"."+f.Name] == "" {
				t.Errorf("%s.%s has no comment", typ.Name(), f.Name)
			}
			inner := f.Type
			if inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			check(inner)
		}
	}
	check(reflect.TypeFor[Config]())
}
