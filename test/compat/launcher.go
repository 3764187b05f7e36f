package main

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// launcher is the command line that starts a program of an unpacked system with the libraries of that system: its own
// dynamic loader, told where they are.
func launcher(root, program string) ([]string, error) {
	if strings.ContainsAny(root, " \t:") {
		return nil, fmt.Errorf("the directory %q has a blank or a colon in its name, which a command line of words can't have: choose another with -cache", root)
	}
	path, err := resolve(root, program)
	if err != nil {
		return nil, err
	}
	interpreter, err := interpreterOf(path)
	if err != nil {
		return nil, err
	}
	loader, err := resolve(root, interpreter)
	if err != nil {
		return nil, err
	}
	var libraries []string
	for _, pattern := range []string{"lib/*-linux-gnu*", "usr/lib/*-linux-gnu*"} {
		dirs, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		libraries = append(libraries, dirs...)
	}
	if len(libraries) == 0 {
		return nil, fmt.Errorf("no libraries beneath %s", root)
	}
	var command []string
	// Debian's Redis 6.0 loads some of its Lua's own libraries by name.
	if modules, err := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu*/lua/5.1")); err != nil {
		return nil, err
	} else if len(modules) > 0 {
		command = append(command, "env", "LUA_CPATH="+filepath.Join(modules[0], "?.so"))
	}
	// The program by its own name, not that of the link's target: it tells such a program what it is.
	return append(command, loader, "--library-path", strings.Join(libraries, ":"), filepath.Join(root, program)), nil
}

// resolve finds the file of a path in an unpacked system: links with an absolute target stay in it, and what the
// system has in /lib may be in its /usr/lib.
func resolve(root, path string) (string, error) {
	const maxLinks = 16
	for range maxLinks {
		full := filepath.Join(root, path)
		info, err := os.Lstat(full)
		if os.IsNotExist(err) && !strings.HasPrefix(path, "/usr/") {
			path = filepath.Join("/usr", path)
			full = filepath.Join(root, path)
			info, err = os.Lstat(full)
		}
		if err != nil {
			return "", err
		}
		if info.Mode()&os.ModeSymlink == 0 {
			return full, nil
		}
		target, err := os.Readlink(full)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", fmt.Errorf("%s: more than %d links in %s", path, maxLinks, root)
}

// interpreterOf is the dynamic loader that a program names.
func interpreterOf(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
		return strings.TrimRight(string(b), "\x00"), nil
	}
	return "", fmt.Errorf("%s names no dynamic loader", path)
}

var versionInOutput = regexp.MustCompile(`v=([0-9.]+)`)

// versionOf asks a server for its version.
func versionOf(command []string) (string, error) {
	out, err := exec.Command(command[0], append(command[1:], "--version")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, out)
	}
	m := versionInOutput.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s --version printed %q", strings.Join(command, " "), out)
	}
	return string(m[1]), nil
}
