package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

func checkScripts(c *Config, r *report) {
	checkBreaker(r, "scripts.breaker", c.Scripts.Breaker)
	if c.Scripts.Compact.CheckInterval < 100*time.Millisecond {
		r.problem("scripts.compact.check_interval", "%s is too short; 100ms is the least", c.Scripts.Compact.CheckInterval)
	}
	names := make(map[string]bool, len(c.Scripts.List))
	bodies := make(map[string]*owner, len(c.Scripts.List))
	for i := range c.Scripts.List {
		script := &c.Scripts.List[i]
		path := script.path
		if path == "" {
			path = fmt.Sprintf("scripts.list[%d]", i)
		}
		named := path
		if r.given(path + ".name") {
			named += ".name"
		}
		if err := registry.ValidateName(script.Name); err != nil {
			r.problem(named, "%s", err)
			continue
		}
		if names[script.Name] {
			r.problem(named, "the script %s is listed twice", script.Name)
			continue
		}
		names[script.Name] = true
		checkVersions(r, path, script, bodies)
		if path != "scripts.dir" {
			checkBreaker(r, path+".breaker", script.Breaker)
		}
	}
}

// owner is the script version that a sha belongs to.
type owner struct{ name, id string }

// checkVersions checks the versions of one script, and warns when a body belongs
// to two scripts: a call by its sha can't be moved to the active version of one.
func checkVersions(r *report, path string, script *Script, bodies map[string]*owner) {
	if len(script.Versions) == 0 {
		r.problem(path, "%s has no version; give versions, or files in scripts.dir", script.Name)
		return
	}
	ids := make([]string, len(script.Versions))
	for i := range script.Versions {
		version := &script.Versions[i]
		ids[i] = version.ID
		at := version.path
		if at == "" {
			at = join(path+".versions", version.ID)
		}
		if err := registry.ValidateVersion(version.ID); err != nil {
			r.problem(at, "%s", err)
		}
		if len(version.Body) == 0 {
			if r.built {
				r.problem(at, "version %s of %s has no body", version.ID, script.Name)
			}
			continue // else reported when it was read
		}
		if r.built && version.SHA != registry.SHA(version.Body) {
			r.problem(at, "the sha of version %s of %s is not that of its body", version.ID, script.Name)
			continue
		}
		first, taken := bodies[version.SHA]
		switch {
		case !taken:
			bodies[version.SHA] = &owner{script.Name, version.ID}
		case first.name == script.Name:
			r.problem(at, "version %s of %s has the same body as version %s; a body is one version", version.ID, script.Name, first.id)
		default:
			r.warn(at, "version %s of %s has the same body as version %s of %s; a call by its sha runs this body, whatever is active", version.ID, script.Name, first.id, first.name)
		}
	}
	checkActive(r, path, script, ids)
}

func checkActive(r *report, path string, script *Script, ids []string) {
	switch _, ok := script.Versions.Lookup(script.Active); {
	case ok:
	case script.Active == "" && len(ids) == 1 && r.built:
		r.problem(path+".active", "%s has no active version", script.Name)
	case script.Active == "" && path == "scripts.dir":
		r.problem(path, "%s has %d versions (%s); list it in scripts.list with the one that is active", script.Name, len(ids), some(ids))
	case script.Active == "":
		r.problem(path+".active", "%s has %d versions (%s); say which one is active", script.Name, len(ids), some(ids))
	default:
		hint := ""
		if near := nearest(script.Active, ids); near != "" {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		r.problem(path+".active", "%s has no version %q, only %s%s", script.Name, script.Active, some(ids), hint)
	}
}

// some returns the words as a list which is short enough to read.
func some(words []string) string {
	const most = 8
	if len(words) <= most {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
}

func checkBreaker(r *report, path string, b Breaker) {
	if b.Kills == 0 {
		return
	}
	positive(r, path+".window", b.Window)
	positive(r, path+".open_for", b.OpenFor)
}
