package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	// fetchLimit bounds each call of apt-get: lists and packages are some 30 MB.
	fetchLimit = 3 * time.Minute
	// versionFile names the version of what is unpacked beside it, and says that all of it is there.
	versionFile = "version"
)

// release fetches packages of one Debian release into a directory, without the system's own lists and state.
type release struct {
	name string // the release's codename
	dir  string // for what apt-get keeps
}

// prepare fetches the lists of packages.
func (r *release) prepare(ctx context.Context) error {
	machine, err := machineRelease("/etc/os-release")
	if err != nil {
		return err
	}
	all, err := machineSources("/etc/apt")
	if err != nil {
		return err
	}
	sources := ofRelease(all, machine, r.name)
	if len(sources) == 0 {
		return fmt.Errorf("the machine's sources of packages have none for %s, whose mirror would be used", machine)
	}
	for _, dir := range []string{"sources", "state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755); err != nil {
			return err
		}
	}
	var text strings.Builder
	for _, s := range sources {
		fmt.Fprintln(&text, s)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "sources", r.name+".sources"), []byte(text.String()), 0o644); err != nil {
		return err
	}
	// No package counts as installed: so those needed come too.
	if err := os.WriteFile(filepath.Join(r.dir, "state", "status"), nil, 0o644); err != nil {
		return err
	}
	_, err = r.apt(ctx, "apt-get", "update")
	return err
}

// apt runs one of apt's programs on the release's directory and returns what it printed.
func (r *release) apt(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	var options []string
	for _, o := range []string{
		"Dir::Etc::SourceList=/dev/null", "Dir::Etc::SourceParts=" + filepath.Join(r.dir, "sources"),
		"Dir::State=" + filepath.Join(r.dir, "state"), "Dir::State::Lists=" + filepath.Join(r.dir, "state", "lists"),
		"Dir::State::Status=" + filepath.Join(r.dir, "state", "status"), "Dir::Cache=" + filepath.Join(r.dir, "cache"),
		"Dir::Log=" + r.dir,
		"APT::Sandbox::User=", // the sandbox's user can't read a cache that is this user's own
		"Acquire::Languages=none", "Acquire::Retries=2",
		"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"Acquire::http::Timeout=30", "Acquire::https::Timeout=30",
	} {
		options = append(options, "-o", o)
	}
	cmd := exec.CommandContext(ctx, program, append(options, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s %s: not done after %v", program, args[0], fetchLimit)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, args[0], err, complaints(out.String()))
	}
	return out.String(), nil
}

// complaints are the lines of apt's output that say what is wrong.
func complaints(out string) string {
	var bad []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "E: ") || strings.HasPrefix(line, "W: ") {
			bad = append(bad, strings.TrimSpace(line))
		}
	}
	if len(bad) == 0 {
		return strings.TrimSpace(out)
	}
	return strings.Join(bad, "; ")
}

// candidate is the version of a package that the release has.
func (r *release) candidate(ctx context.Context, name string) (string, error) {
	out, err := r.apt(ctx, "apt-cache", "policy", name)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "Candidate: "); ok && version != "(none)" {
			return version, nil
		}
	}
	return "", fmt.Errorf("%s has no package %s", r.name, name)
}

// unpack fetches a package with all that it needs and unpacks it at root. It returns the package's version.
func (r *release) unpack(ctx context.Context, name, root string) (string, error) {
	if err := r.prepare(ctx); err != nil {
		return "", err
	}
	version, err := r.candidate(ctx, name)
	if err != nil {
		return "", err
	}
	archives := filepath.Join(r.dir, "cache", "archives")
	if err := removeDebs(archives); err != nil {
		return "", err
	}
	if _, err := r.apt(ctx, "apt-get", "install", "--yes", "--download-only", "--no-install-recommends", name); err != nil {
		return "", err
	}
	debs, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil || len(debs) == 0 {
		return "", errors.Join(err, fmt.Errorf("apt-get fetched nothing for %s", name))
	}
	if err := os.RemoveAll(root); err != nil {
		return "", err
	}
	for _, deb := range debs {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "--extract", deb, root).CombinedOutput(); err != nil {
			return "", fmt.Errorf("unpack %s: %w: %s", filepath.Base(deb), err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(root, versionFile), []byte(version+"\n"), 0o644); err != nil {
		return "", err
	}
	return version, removeDebs(archives)
}

func removeDebs(dir string) error {
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	for _, deb := range debs {
		err = errors.Join(err, os.Remove(deb))
	}
	return err
}

// unpacked is the version of what an earlier run left at root, "" for nothing.
func unpacked(root string) string {
	text, err := os.ReadFile(filepath.Join(root, versionFile))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
