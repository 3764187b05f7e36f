package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// server is one that the tests run against.
type server struct {
	name    string // by which -servers chooses it
	product string
	release string // of Debian
	pkg     string // of that release
	program string // in the package
	// without names packages of tests that can't run on the server, with the reason.
	without map[string]string
}

// servers are those that Debian has beside the 7.0 of its release of 2023, on which `make test` runs.
var servers = []server{
	{"redis-8.0", "Redis", "trixie", "redis-server", "/usr/bin/redis-server", nil},
	{"valkey-8.1", "Valkey", "trixie", "valkey-server", "/usr/bin/valkey-server", nil},
	{"redis-6.0", "Redis", "bullseye", "redis-server", "/usr/bin/redis-server",
		map[string]string{"./test/differential": "its sequences and servers' settings are those of 7.0"}},
}

// defaultPackages are the tests of the whole program. The differential tester is calibrated to Redis 7.0, and is given by name.
var defaultPackages = []string{"./test/e2e", "./test/faults"}

type options struct {
	servers  string
	only     string
	cache    string
	timeout  string
	optional bool
	again    bool
	update   bool
	packages []string
}

func main() {
	var o options
	flag.StringVar(&o.servers, "servers", strings.Join(serverNames(), ","), "which servers, separated by commas")
	flag.StringVar(&o.only, "run", "", "run only tests that match this, as in go test")
	flag.StringVar(&o.cache, "cache", defaultCache(), "where the servers are unpacked")
	flag.StringVar(&o.timeout, "timeout", "10m", "bound for the tests of one package on one server")
	flag.BoolVar(&o.optional, "optional", false, "a server that can't be had is no failure")
	flag.BoolVar(&o.again, "again", false, "try a test that fails once more, alone, and say so: whole programs on two busy cores can be late")
	flag.BoolVar(&o.update, "update", false, "fetch the packages even if there are some of an earlier run")
	flag.Parse()
	o.packages = flag.Args()
	if len(o.packages) == 0 {
		o.packages = defaultPackages
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	failed, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat: error:", err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

func defaultCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "scriptproxy-compat")
}

// run runs the tests on every server chosen, prints the table, and reports whether something failed.
func run(ctx context.Context, o options) (failed bool, err error) {
	chosen, err := choose(o.servers)
	if err != nil {
		return false, err
	}
	cache, err := filepath.Abs(o.cache)
	if err != nil {
		return false, err
	}
	var rows []row
	for _, s := range chosen {
		if ctx.Err() != nil {
			return true, ctx.Err()
		}
		version, pkg, command, err := s.obtain(ctx, cache, o.update)
		if err != nil {
			fmt.Printf("%s could not be had, and is not tested: %v\n", s.name, err)
			rows = append(rows, row{server: s.product, version: strings.TrimPrefix(s.name, strings.ToLower(s.product)+"-"), from: s.release, missing: true, why: "the packages could not be had"})
			failed = failed || !o.optional
			continue
		}
		fmt.Printf("%s %s (%s)\n", s.product, version, pkg)
		var packages []string
		for _, name := range o.packages {
			if why := s.without[name]; why != "" {
				rows = append(rows, row{server: s.product, version: version, from: pkg, missing: true, why: strings.TrimPrefix(name, "./") + ": " + why})
				continue
			}
			packages = append(packages, name)
		}
		if len(packages) == 0 {
			continue
		}
		results, err := runTests(ctx, command, packages, o.only, o.timeout)
		if err != nil {
			return true, fmt.Errorf("tests on %s: %w", s.name, err)
		}
		for _, r := range results {
			r.print(s.product + " " + version)
			if r.failed > 0 && o.again {
				only := r.rerun()
				if only == "" {
					only = o.only
				}
				fmt.Printf("trying once more: %s %s\n", r.pkg, only)
				second, err := runTests(ctx, command, []string{"./" + r.pkg}, only, o.timeout)
				if err != nil {
					return true, fmt.Errorf("tests on %s, once more: %w", s.name, err)
				}
				r.again(second[0])
				r.print(s.product + " " + version)
			}
			rows = append(rows, row{server: s.product, version: version, from: pkg, result: r})
			failed = failed || r.failed > 0
		}
	}
	fmt.Print("\n", table(rows))
	return failed, nil
}

// print tells what failed.
func (r *result) print(server string) {
	for _, f := range r.failures {
		fmt.Printf("--- %s: %s of %s failed:\n%s\n", server, f.test, r.pkg, f.output)
	}
}

func serverNames() []string {
	var names []string
	for _, s := range servers {
		names = append(names, s.name)
	}
	return names
}

func choose(names string) ([]server, error) {
	var chosen []server
	for name := range strings.SplitSeq(names, ",") {
		at := slices.IndexFunc(servers, func(s server) bool { return s.name == name })
		if at < 0 {
			return nil, fmt.Errorf("there is no server %q: choose from %s", name, strings.Join(serverNames(), ", "))
		}
		chosen = append(chosen, servers[at])
	}
	return chosen, nil
}

// obtain unpacks a server unless that was done, and tells its version, its package's, and how to start it.
func (s server) obtain(ctx context.Context, cache string, update bool) (version, pkg string, command []string, err error) {
	root := filepath.Join(cache, s.name)
	have := unpacked(root)
	if have == "" || update {
		fmt.Printf("fetching %s from Debian %s\n", s.pkg, s.release)
		r := &release{name: s.release, dir: filepath.Join(cache, "apt-"+s.release)}
		if have, err = r.unpack(ctx, s.pkg, root); err != nil {
			return "", "", nil, err
		}
	}
	if command, err = launcher(root, s.program); err != nil {
		return "", "", nil, err
	}
	version, err = versionOf(command)
	return version, s.release + " " + s.pkg + " " + have, command, err
}
