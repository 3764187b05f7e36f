package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// maxNodes bounds the work that aliases of aliases can cause. 10,000 scripts
// with ten versions each need about 1.2 million.
const maxNodes = 4_000_000

// decoder puts a YAML document into a Config and reports every mistake, with its
// line, instead of stopping at the first.
type decoder struct {
	*report
	nodes int
	whole reflect.Type // of what the file holds
}

// shorthand is implemented by structs that may be written as one value; it
// returns the key which that value is for.
type shorthand interface{ shorthand() string }

func (*Listener) shorthand() string { return "address" }
func (*Version) shorthand() string  { return "file" }

// defaulter is implemented by elements of lists and optional sections, whose
// defaults are not in Default.
type defaulter interface{ setDefaults() }

// ownSyntax is implemented by values with a syntax of their own.
type ownSyntax interface{ parse(text string) error }

// decode puts data into cfg, which holds the defaults.
func (d *decoder) decode(data []byte, cfg *Config) {
	d.whole = reflect.TypeFor[Config]()
	documents := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	if err := documents.Decode(&root); err != nil {
		if !errors.Is(err, io.EOF) {
			d.syntax(err)
		}
		return
	}
	var second yaml.Node
	if err := documents.Decode(&second); err == nil {
		d.problems = append(d.problems, Problem{d.file, second.Line, "", "a second document; the file must be one"})
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err)
	}
	for _, n := range root.Content {
		d.lines[""] = n.Line
		d.value("", n, reflect.ValueOf(cfg).Elem())
	}
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

func (d *decoder) syntax(err error) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	d.problems = append(d.problems, Problem{d.file, line, "", "not YAML: " + text})
}

// value puts n, which stands at path, into v. A null leaves sections and lists
// as they are, so that a section whose keys are all commented out is no mistake.
func (d *decoder) value(path string, n *yaml.Node, v reflect.Value) {
	if d.exhausted(path) {
		return
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		setDefaults(v)
		v = v.Elem()
	}
	null := n.Kind == yaml.ScalarNode && n.Tag == "!!null"
	switch target := v.Addr().Interface().(type) {
	case *Versions:
		if !null {
			d.versions(path, n, target)
		}
		return
	case ownSyntax, *time.Duration:
		d.scalar(path, n, v)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if !null {
			d.section(path, n, v)
		}
	case reflect.Slice:
		if !null {
			d.list(path, n, v)
		}
	default:
		d.scalar(path, n, v)
	}
}

// exhausted counts a value and reports whether there are too many, so that
// aliases of long lists can't make a short file cost hours.
func (d *decoder) exhausted(path string) bool {
	if d.nodes == maxNodes {
		d.problem(path, "the file has more than %d values; aliases are probably nested", maxNodes)
	}
	d.nodes++
	return d.nodes > maxNodes
}

func setDefaults(pointer reflect.Value) {
	if s, ok := pointer.Interface().(defaulter); ok {
		s.setDefaults()
	}
}

func (d *decoder) section(path string, n *yaml.Node, v reflect.Value) {
	if s, ok := v.Addr().Interface().(shorthand); ok && n.Kind == yaml.ScalarNode {
		field, _ := fieldByKey(v, s.shorthand())
		d.scalar(path, n, field)
		return
	}
	for key, child := range d.entries(path, n) {
		if d.nodes > maxNodes {
			return
		}
		at := join(path, key.Value)
		field, ok := fieldByKey(v, key.Value)
		if !ok {
			d.problem(at, "unknown key%s", keyHint(d.whole, v.Type(), key.Value))
			continue
		}
		d.value(at, child, field)
	}
}

// entries yields the keys and values of a mapping and notes the lines of the
// keys. Keys that are no plain words, come twice or merge are reported and left
// out.
func (d *decoder) entries(path string, n *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		if n.Kind != yaml.MappingNode {
			d.problem(path, "must be a mapping of keys to values, not %s", kind(n))
			return
		}
		seen := make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind == yaml.AliasNode {
				key = key.Alias
			}
			switch {
			case key.Kind != yaml.ScalarNode:
				d.problems = append(d.problems, Problem{d.file, n.Content[i].Line, path, "a key must be a word, not " + kind(key)})
				continue
			case key.Tag == "!!merge":
				d.problems = append(d.problems, Problem{d.file, key.Line, path, "merge keys are not supported; write the keys out"})
				continue
			}
			at := join(path, key.Value)
			if first, twice := seen[key.Value]; twice {
				d.problems = append(d.problems, Problem{d.file, key.Line, at, fmt.Sprintf("given twice, first on line %d", first)})
				continue
			}
			seen[key.Value] = key.Line
			d.lines[at] = key.Line
			if !yield(key, n.Content[i+1]) {
				return
			}
		}
	}
}

func (d *decoder) list(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.problem(path, "must be a list, not %s; write it in brackets or with a dash before each entry", kind(n))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, child := range n.Content {
		if d.nodes > maxNodes {
			return
		}
		at := path + "[" + strconv.Itoa(i) + "]"
		d.lines[at] = child.Line
		setDefaults(list.Index(i).Addr())
		d.value(at, child, list.Index(i))
	}
	v.Set(list)
}

// versions decodes the mapping of version ids to versions, in its order.
func (d *decoder) versions(path string, n *yaml.Node, target *Versions) {
	for key, child := range d.entries(path, n) {
		version := Version{ID: key.Value}
		d.value(join(path, key.Value), child, reflect.ValueOf(&version).Elem())
		*target = append(*target, version)
	}
}

func (d *decoder) scalar(path string, n *yaml.Node, v reflect.Value) {
	text, ok := d.text(path, n)
	if !ok {
		return
	}
	var err error
	switch target := v.Addr().Interface().(type) {
	case ownSyntax:
		err = target.parse(text)
	case *time.Duration:
		var parsed time.Duration
		if parsed, err = parseDuration(text); err == nil {
			*target = parsed
		}
	case *int:
		var parsed int
		if parsed, err = parseInt(text); err == nil {
			*target = parsed
		}
	case *bool:
		var parsed bool
		if parsed, err = parseBool(text); err == nil {
			*target = parsed
		}
	default:
		v.SetString(text)
	}
	if err != nil {
		d.problem(path, "%s", err)
	}
}

// text returns what a scalar says, after the environment has been asked where
// the value wants that.
func (d *decoder) text(path string, n *yaml.Node) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.problem(path, "must be one value, not %s", kind(n))
		return "", false
	}
	switch n.Tag {
	case "!!null":
		d.problem(path, "has no value; write one or leave the key out")
		return "", false
	case "!env":
		value, ok := os.LookupEnv(n.Value)
		if !ok {
			d.problem(path, "the environment variable %q is not set", n.Value)
		}
		return value, ok
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
		return n.Value, true
	default:
		d.problem(path, "unknown tag %s; the only one is !env", n.Tag)
		return "", false
	}
}

var plainKey = regexp.MustCompile(`^[0-9A-Za-z_.-]+$`)

func kind(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	default:
		return "a single value"
	}
}

// join returns the path of key below path. A key that is no plain word is
// quoted, so that it can't garble a message.
func join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// fieldByKey returns the field of the struct v whose yaml key is key.
func fieldByKey(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if k, ok := yamlKey(v.Type().Field(i)); ok && k == key {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// yamlKey returns the key of a field, and whether it has one.
func yamlKey(f reflect.StructField) (string, bool) {
	key := f.Tag.Get("yaml")
	return key, key != "" && key != "-"
}
