package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// source is a Go module from which schemas are taken. Only its files are read, none of it is built, so it is not in go.mod.
type source struct {
	module string
	sum    string // as in go.sum
}

var (
	// The charts are meant for Kubernetes 1.29 and later; these are the fields of this release.
	kubernetes = source{"k8s.io/kubernetes@v1.34.2", "h1:WQdDvYJazkmkwSncgNwGvVtaCt4TYXIU3wSMRgvp3MI="}
	operator   = source{"github.com/prometheus-operator/prometheus-operator@v0.85.0", "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s="}
)

// fetch returns the directory of a module, downloaded unless it was before.
func (s source) fetch() (string, error) {
	download := exec.Command("go", "mod", "download", "-json", s.module)
	download.Env = append(os.Environ(), "GOWORK=off")
	download.Dir = os.TempDir() // outside of any module
	text, err := download.Output()
	var result struct{ Dir, Sum, Error string }
	if decodeErr := json.Unmarshal(text, &result); decodeErr != nil {
		return "", fmt.Errorf("download %s: %w", s.module, err)
	}
	if result.Error != "" {
		return "", fmt.Errorf("download %s: %s", s.module, result.Error)
	}
	if result.Sum != s.sum {
		return "", fmt.Errorf("download %s: its sum is %s, not %s", s.module, result.Sum, s.sum)
	}
	return result.Dir, nil
}

// writeSchemas writes a JSON schema for each kind, by the name that kubeconform looks for with the template
// {{.Group}}-{{.ResourceAPIVersion}}-{{.ResourceKind}}.json, where the group of the core is its version. Fields that are unknown
// are refused.
func writeSchemas(dir string, out io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	kinds, err := writeKubernetes(dir)
	if err != nil {
		return err
	}
	more, err := writeOperator(dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, kinds+more)
	return nil
}

func writeKubernetes(dir string) (kinds int, err error) {
	from, err := kubernetes.fetch()
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(filepath.Join(from, "api/openapi-spec/swagger.json"))
	if err != nil {
		return 0, err
	}
	var swagger struct{ Definitions map[string]map[string]any }
	if err := json.Unmarshal(text, &swagger); err != nil {
		return 0, fmt.Errorf("read the API of Kubernetes: %w", err)
	}
	for name, definition := range swagger.Definitions {
		strict(definition)
		switch name {
		case "io.k8s.apimachinery.pkg.util.intstr.IntOrString":
			delete(definition, "type")
			definition["type"] = []string{"integer", "string"}
		case "io.k8s.apimachinery.pkg.api.resource.Quantity":
			// resource.Quantity reads numbers too.
			definition["type"] = []string{"integer", "number", "string"}
		}
	}
	for name, definition := range swagger.Definitions {
		list, ok := definition["x-kubernetes-group-version-kind"].([]any)
		if !ok {
			continue
		}
		if len(list) > 1 {
			continue // kinds that every group has, such as DeleteOptions, are no manifests
		}
		needed := map[string]any{}
		collect(name, swagger.Definitions, needed)
		schema, err := json.Marshal(map[string]any{
			"$schema": "http://json-schema.org/draft-07/schema#", "$ref": definitions + name, "definitions": needed,
		})
		if err != nil {
			return 0, err
		}
		gvk := list[0].(map[string]any)
		if err := os.WriteFile(filepath.Join(dir, schemaName(gvk["group"], gvk["version"], gvk["kind"])), schema, 0o644); err != nil {
			return 0, err
		}
		kinds++
	}
	return kinds, nil
}

const definitions = "#/definitions/"

// collect adds a definition and those that it refers to.
func collect(name string, all map[string]map[string]any, into map[string]any) {
	if _, ok := into[name]; ok {
		return
	}
	into[name] = all[name]
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			if ref, ok := value["$ref"].(string); ok {
				collect(strings.TrimPrefix(ref, definitions), all, into)
			}
			for _, child := range value {
				walk(child)
			}
		case []any:
			for _, child := range value {
				walk(child)
			}
		}
	}
	walk(all[name])
}

func writeOperator(dir string) (kinds int, err error) {
	from, err := operator.fetch()
	if err != nil {
		return 0, err
	}
	files, err := filepath.Glob(filepath.Join(from, "example/prometheus-operator-crd/*.yaml"))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("no custom resource definitions in %s", from)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		var crd struct {
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct{ OpenAPIV3Schema map[string]any }
				}
			}
		}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		for _, version := range crd.Spec.Versions {
			schema := version.Schema.OpenAPIV3Schema
			strict(schema)
			if properties, ok := schema["properties"].(map[string]any); ok {
				properties["metadata"] = map[string]any{"type": "object"}
			}
			text, err := json.Marshal(schema)
			if err != nil {
				return 0, err
			}
			if err := os.WriteFile(filepath.Join(dir, schemaName(crd.Spec.Group, version.Name, crd.Spec.Names.Kind)), text, 0o644); err != nil {
				return 0, err
			}
			kinds++
		}
	}
	return kinds, nil
}

func schemaName(group, version, kind any) string {
	if group == "" {
		group = version
	}
	return strings.ToLower(fmt.Sprintf("%v-%v-%v.json", group, version, kind))
}

// strict changes an OpenAPI schema in place into a JSON schema that refuses unknown fields, as the API server does with
// fieldValidation=Strict.
func strict(schema map[string]any) {
	if schema["x-kubernetes-int-or-string"] == true {
		schema["type"] = []string{"integer", "string"}
		delete(schema, "anyOf")
	}
	if _, ok := schema["additionalProperties"]; !ok && schema["properties"] != nil && schema["x-kubernetes-preserve-unknown-fields"] != true {
		schema["additionalProperties"] = false
	}
	for _, key := range []string{"properties", "definitions"} {
		if children, ok := schema[key].(map[string]any); ok {
			for _, child := range children {
				if child, ok := child.(map[string]any); ok {
					strict(child)
				}
			}
		}
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if child, ok := schema[key].(map[string]any); ok {
			strict(child)
		}
	}
}
