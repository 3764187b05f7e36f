package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// source is one place that packages come from, in the form of a deb822 stanza.
type source struct{ fields []field }

// field is a deb822 field; value may have several lines, the later ones indented.
type field struct{ name, value string }

func (s source) get(name string) string {
	for _, f := range s.fields {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// String is the stanza as it stands in a file.
func (s source) String() string {
	var b strings.Builder
	for _, f := range s.fields {
		fmt.Fprintf(&b, "%s: %s\n", f.name, f.value)
	}
	return b.String()
}

// machineSources reads the sources of packages that the machine is configured with, beneath etc (/etc/apt).
func machineSources(etc string) ([]source, error) {
	files, err := filepath.Glob(filepath.Join(etc, "sources.list.d", "*"))
	if err != nil {
		return nil, err
	}
	var all []source
	for _, file := range append([]string{filepath.Join(etc, "sources.list")}, files...) {
		parse := parseStanzas
		switch filepath.Ext(file) {
		case ".list":
			parse = parseLines
		case ".sources":
		default:
			continue
		}
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the machine's sources of packages: %w", err)
		}
		all = append(all, parse(string(text))...)
	}
	return all, nil
}

// parseStanzas reads a file of the deb822 form.
func parseStanzas(text string) []source {
	var all []source
	var s source
	end := func() {
		if len(s.fields) > 0 {
			all = append(all, s)
		}
		s = source{}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			end()
		case line[0] == ' ' || line[0] == '\t':
			if n := len(s.fields); n > 0 {
				s.fields[n-1].value += "\n" + line
			}
		default:
			name, value, _ := strings.Cut(line, ":")
			s.fields = append(s.fields, field{name, strings.TrimSpace(value)})
		}
	}
	end()
	return all
}

// parseLines reads a file of the older form, of lines such as
//
//	deb [signed-by=/usr/share/keyrings/a.gpg] http://mirror.example/debian bookworm main
func parseLines(text string) []source {
	var all []source
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		var options string
		if strings.HasPrefix(rest, "[") {
			options, rest, _ = strings.Cut(rest[1:], "]")
		}
		words := strings.Fields(rest)
		if len(words) < 3 {
			continue
		}
		s := source{[]field{{"Types", kind}, {"URIs", words[0]}, {"Suites", words[1]}, {"Components", strings.Join(words[2:], " ")}}}
		for _, o := range strings.Fields(options) {
			name, value, _ := strings.Cut(o, "=")
			if strings.EqualFold(name, "signed-by") {
				s.fields = append(s.fields, field{"Signed-By", strings.ReplaceAll(value, ",", " ")})
			}
		}
		all = append(all, s)
	}
	return all
}

// ofRelease are the sources from which the machine's release comes, pointed at another one: the same mirrors, the suites
// of that name, the main component.
func ofRelease(all []source, machine, wanted string) []source {
	var out []source
	for _, s := range all {
		if strings.EqualFold(s.get("Enabled"), "no") || !slices.Contains(strings.Fields(s.get("Types")), "deb") {
			continue
		}
		var suites []string
		for _, suite := range strings.Fields(s.get("Suites")) {
			switch suite {
			case machine, machine + "-updates", machine + "-security":
				suites = append(suites, wanted+strings.TrimPrefix(suite, machine))
			}
		}
		if len(suites) == 0 || !slices.Contains(strings.Fields(s.get("Components")), "main") {
			continue
		}
		changed := source{[]field{{"Types", "deb"}, {"URIs", s.get("URIs")}, {"Suites", strings.Join(suites, " ")}, {"Components", "main"}}}
		if key := s.get("Signed-By"); key != "" {
			changed.fields = append(changed.fields, field{"Signed-By", key})
		}
		out = append(out, changed)
	}
	return out
}

// machineRelease is the name of the Debian release that the machine runs, from a file such as /etc/os-release.
func machineRelease(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("find out what the machine runs: %w", err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		fields[name] = strings.Trim(value, `"`)
	}
	if fields["ID"] != "debian" || fields["VERSION_CODENAME"] == "" {
		return "", fmt.Errorf("the machine runs %s, whose mirrors do not have Debian's packages", fields["PRETTY_NAME"])
	}
	return fields["VERSION_CODENAME"], nil
}
