package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/scriptproxy/scriptproxy/policy/registry"
)

// maxBody bounds one script, as the registry does. Redis would take 512 MiB, but
// holds its whole cache in memory and parses a script while everybody waits.
const maxBody = 1 << 20

// scripts reads the bodies of the listed versions, adds those of scripts.dir,
// and fills in what listed scripts inherit.
func (r *resolver) scripts() {
	s := &r.cfg.Scripts
	for i := range s.List {
		script := &s.List[i]
		script.path = fmt.Sprintf("scripts.list[%d]", i)
		r.inherit(script)
		for j := range script.Versions {
			version := &script.Versions[j]
			version.path = join(script.path+".versions", version.ID)
			version.File = r.scriptFile(version.File)
			r.body(version)
		}
	}
	r.discover()
	for i := range s.List {
		if script := &s.List[i]; script.Active == "" && len(script.Versions) == 1 {
			script.Active = script.Versions[0].ID
		}
	}
}

// inherit gives script the settings of Scripts that it does not have itself.
func (r *resolver) inherit(script *Script) {
	s := &r.cfg.Scripts
	set(r, script.path+".slow_after", &script.SlowAfter, s.SlowAfter)
	set(r, script.path+".deadline", &script.Deadline, s.Deadline)
	set(r, script.path+".max_concurrent", &script.MaxConcurrent, s.MaxConcurrent)
	set(r, script.path+".max_queue", &script.MaxQueue, s.MaxQueue)
	set(r, script.path+".breaker.kills", &script.Breaker.Kills, s.Breaker.Kills)
	set(r, script.path+".breaker.window", &script.Breaker.Window, s.Breaker.Window)
	set(r, script.path+".breaker.slower_than", &script.Breaker.SlowerThan, s.Breaker.SlowerThan)
	set(r, script.path+".breaker.open_for", &script.Breaker.OpenFor, s.Breaker.OpenFor)
	set(r, script.path+".breaker.fallback", &script.Breaker.Fallback, s.Breaker.Fallback)
}

// set puts value into *field unless the file gives path.
func set[T any](r *resolver, path string, field *T, value T) {
	if !r.given(path) {
		*field = value
	}
}

// body reads the body of a version and computes its sha.
func (r *resolver) body(version *Version) {
	switch {
	case version.File != "" && len(version.Body) > 0:
		r.problem(version.path, "has a file and a body; keep one of them")
		return
	case version.File != "":
		data, err := r.read(version.File, maxBody)
		if err != nil {
			r.problem(version.path, "%s", err)
			return
		}
		if len(data) == 0 {
			r.problem(version.path, "%s is empty", version.File)
			return
		}
		version.Body = data
	case len(version.Body) == 0:
		r.problem(version.path, "has neither a file nor a body")
		return
	case len(version.Body) > maxBody:
		r.problem(version.path, "the body has more than %s", Size(maxBody))
		return
	}
	version.SHA = registry.SHA(version.Body)
}

// scriptFile returns the path of a listed script file, empty when there is none.
func (r *resolver) scriptFile(file string) string {
	if dir := r.cfg.Scripts.Dir; dir != "" && file != "" && !filepath.IsAbs(file) {
		return filepath.Join(dir, file)
	}
	return r.placed(file)
}

// discover registers every <name>/<version>.lua of scripts.dir.
func (r *resolver) discover() {
	dir := r.cfg.Scripts.Dir
	if dir == "" {
		return
	}
	listed := make(map[string]int, len(r.cfg.Scripts.List))
	for i, script := range r.cfg.Scripts.List {
		listed[script.Name] = i
	}
	for _, name := range r.entries(dir) {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		switch {
		case err != nil:
			r.problem("scripts.dir", "%s", fileError(path, err))
		case !info.IsDir():
			r.warn("scripts.dir", "%s is ignored; a script is <name>/<version>.lua", path)
		default:
			found := r.found(path)
			if i, ok := listed[name]; ok {
				r.add(&r.cfg.Scripts.List[i], found)
			} else if len(found) > 0 {
				script := Script{Name: name, path: "scripts.dir"}
				script.setDefaults()
				r.inherit(&script)
				r.add(&script, found)
				r.cfg.Scripts.List = append(r.cfg.Scripts.List, script)
			}
		}
	}
}

// entries returns the names in a directory, v2 before v10, without hidden ones,
// and notes the directory.
func (r *resolver) entries(dir string) []string {
	r.cfg.files = append(r.cfg.files, dir)
	list, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			r.problem("scripts.dir", "there is no directory %s", dir)
		} else {
			r.problem("scripts.dir", "%s", fileError(dir, err))
		}
		return nil
	}
	var names []string
	for _, entry := range list {
		if !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	slices.SortFunc(names, naturally)
	return names
}

// found returns the versions in the directory of one script, unread.
func (r *resolver) found(dir string) Versions {
	var versions Versions
	for _, file := range r.entries(dir) {
		path := filepath.Join(dir, file)
		id, isLua := strings.CutSuffix(file, ".lua")
		if !isLua {
			r.warn("scripts.dir", "%s is ignored; a script is <name>/<version>.lua", path)
			continue
		}
		versions = append(versions, Version{ID: id, File: path, path: "scripts.dir"})
	}
	return versions
}

// add reads the versions found and adds them to script. One that is listed too
// stays as it is listed.
func (r *resolver) add(script *Script, found Versions) {
	for _, version := range found {
		listed, ok := script.Versions.Lookup(version.ID)
		if !ok {
			r.body(&version)
			script.Versions = append(script.Versions, version)
		} else if listed.File != version.File {
			r.warn(listed.path, "%s is ignored, because version %s is listed with another body", version.File, version.ID)
		}
	}
}

// naturally orders names with the numbers in them by value: v2 before v10.
func naturally(a, b string) int {
	wholeA, wholeB := a, b
	for a != "" && b != "" {
		na, ra := leadingDigits(a)
		nb, rb := leadingDigits(b)
		if na != "" && nb != "" {
			na, nb = strings.TrimLeft(na, "0"), strings.TrimLeft(nb, "0")
			if c := cmp.Or(cmp.Compare(len(na), len(nb)), cmp.Compare(na, nb)); c != 0 {
				return c
			}
			a, b = ra, rb
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(wholeA, wholeB))
}

func leadingDigits(s string) (digits, rest string) {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	return s[:end], s[end:]
}
