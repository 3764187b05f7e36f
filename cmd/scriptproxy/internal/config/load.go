package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxFile bounds the configuration file; 10,000 scripts with ten versions each,
// listed one by one, are about 10 MB.
const maxFile = 32 << 20

// Load reads, resolves and validates the configuration file at path. Relative
// paths in it resolve against its directory. A mistake in the file is returned
// as Problems, all at once; any other error means that the file could not be
// read. Warnings are returned in both cases.
func Load(path string) (*Config, []Warning, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot find the configuration %s: %w", path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	if len(data) > maxFile {
		return nil, nil, fmt.Errorf("the configuration %s has more than %s", path, Size(maxFile))
	}
	cfg, warnings, err := Parse(path, data, filepath.Dir(absolute))
	if cfg != nil {
		cfg.files = append([]string{absolute}, cfg.files...)
		if info, statErr := f.Stat(); statErr == nil && info.Mode().Perm()&0o004 != 0 && cfg.inlineSecret {
			warnings = append(warnings, Warning{path, 0, "", "holds a password and can be read by every user of this machine; use password_file, or chmod o-r"})
		}
	}
	return cfg, warnings, err
}

// Parse is Load for a configuration that was read already: name stands in
// messages for the file, and dir is what relative paths resolve against.
func Parse(name string, data []byte, dir string) (*Config, []Warning, error) {
	r := &report{file: name, lines: make(map[string]int)}
	cfg := Default()
	d := &decoder{report: r}
	d.decode(data, cfg)
	(&resolver{report: r, dir: dir, cfg: cfg}).resolve()
	validate(cfg, r)
	sortByLine(r.warnings)
	if err := r.problems.err(); err != nil {
		return nil, r.warnings, err
	}
	return cfg, r.warnings, nil
}

// Files returns the paths of everything the configuration was made of: the file
// itself, secrets, certificates, rules, script bodies, and the directories that
// were searched for scripts. A change in any of them can change the result of
// Load.
func (c *Config) Files() []string { return c.files }
