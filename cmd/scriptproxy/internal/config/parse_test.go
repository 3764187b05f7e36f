package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// parse parses text, which must be valid, as if it stood in testdata.
func parse(t *testing.T, text string) (*Config, []string) {
	t.Helper()
	cfg, warnings, err := Parse("c.yaml", []byte(text), "testdata")
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, w := range warnings {
		texts = append(texts, w.String())
	}
	return cfg, texts
}

func TestEmptyFileIsTheDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "upstream:\nscripts:\n  list:\n"} {
		if cfg, _ := parse(t, text); !reflect.DeepEqual(cfg, Default()) {
			t.Errorf("%q gives %+v", text, cfg)
		}
	}
}

func TestValuesAreReadWithTheirUnits(t *testing.T) {
	cfg, _ := parse(t, `
listen: [127.0.0.1:7000, {address: "unix:/run/p.sock", unix_mode: 0770}, "[::1]:7000"]
limits: {query_buffer: 1.5GiB, output_buffer: {normal: {hard: 64MB, soft: 512b, soft_for: 1h30m}}, idle_timeout: 0}
routing: {max_lag_bytes: 10 KiB}
upstream: {primary: "unix:/run/redis.sock", replicas: ["[::1]:6379", redis.example.com:6379]}
`)
	if got := cfg.Limits.QueryBuffer; got != 3<<29 {
		t.Errorf("1.5GiB is %d", got)
	}
	want := OutputBuffer{Hard: 64_000_000, Soft: 512, SoftFor: 90 * time.Minute}
	if got := cfg.Limits.OutputBuffer.Normal; got != want {
		t.Errorf("output_buffer.normal is %+v, not %+v", got, want)
	}
	if got := cfg.Routing.MaxLagBytes; got != 10<<10 {
		t.Errorf("10 KiB is %d", got)
	}
	if l := cfg.Listen[1]; l.UnixMode != 0o770 || l.Name != "unix:/run/p.sock" {
		t.Errorf("listener is %+v", l)
	}
	if network, address := cfg.Listen[1].Network(); network != "unix" || address != "/run/p.sock" {
		t.Errorf("network is %s %s", network, address)
	}
}

func TestSizeIsWrittenAsItIsRead(t *testing.T) {
	for _, want := range []Size{0, 1, 512, 1000, 1 << 10, 1536, 1 << 20, 3 << 29, 1 << 40, 1<<62 + 1} {
		var got Size
		if err := got.parse(want.String()); want < 1<<53 && (err != nil || got != want) {
			t.Errorf("%d is written as %s and read as %d (%v)", want, want, got, err)
		}
	}
}

func TestOnlyTaggedValuesAreTakenFromTheEnvironment(t *testing.T) {
	t.Setenv("SCRIPTPROXY_TEST_ADDRESS", "10.0.0.1:6379")
	t.Setenv("SCRIPTPROXY_TEST_CLIENTS", "7")
	cfg, _ := parse(t, `
upstream: {primary: !env SCRIPTPROXY_TEST_ADDRESS, username: $SCRIPTPROXY_TEST_ADDRESS, password: "${SCRIPTPROXY_TEST_ADDRESS}"}
limits: {max_clients: !env SCRIPTPROXY_TEST_CLIENTS}
`)
	u := cfg.Upstream
	if u.Primary != "10.0.0.1:6379" || cfg.Limits.MaxClients != 7 {
		t.Errorf("the tagged values are %q and %d", u.Primary, cfg.Limits.MaxClients)
	}
	if u.Username != "$SCRIPTPROXY_TEST_ADDRESS" || u.Password.Reveal() != "${SCRIPTPROXY_TEST_ADDRESS}" {
		t.Errorf("untagged values were expanded: %q, %q", u.Username, u.Password.Reveal())
	}
}

func TestAliasesStandForTheirAnchors(t *testing.T) {
	cfg, _ := parse(t, `
scripts:
  list:
    - {name: a, breaker: &strict {kills: 1, window: 10s, open_for: 1m}, versions: {v1: {body: return 1}}}
    - {name: b, breaker: *strict, versions: {v1: {body: return 2}}}
`)
	if got := cfg.Scripts.List[1].Breaker; got.Kills != 1 || got.OpenFor != time.Minute {
		t.Errorf("the alias gave %+v", got)
	}
}

func TestNestedAliasesEndInAnErrorAndNotInExhaustion(t *testing.T) {
	text := "scripts:\n  list:\n  - &s {name: s, tags: [" + strings.Repeat("x,", 1000) + "x]}\n" + strings.Repeat("  - *s\n", 1000)
	d := &decoder{report: &report{lines: map[string]int{}}, nodes: maxNodes - 5000}
	d.decode([]byte(text), Default())
	err := d.problems.err()
	if err == nil || !strings.Contains(err.Error(), "aliases are probably nested") {
		t.Errorf("got %.200v", err)
	}
	if len(d.lines) > 6000 {
		t.Errorf("%d values were read after the bound", len(d.lines))
	}
}

func TestSecretsComeFromFilesWithoutTheirLastNewline(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a": "pass word\n", "b": "two\n\n", "c": "dos\r\n", "d": "none"} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	text := `
upstream: {password_file: a}
admin: {tokens: {read_file: b, admin_file: c}}
registry: {redis: {password_file: d}}
`
	cfg, warnings, err := Parse("c.yaml", []byte(text), dir)
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	got := []string{cfg.Upstream.Password.Reveal(), cfg.Admin.Tokens.Read.Reveal(), cfg.Admin.Tokens.Admin.Reveal(), cfg.Registry.Redis.Password.Reveal()}
	if want := []string{"pass word", "two\n", "dos", "none"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if cfg.Upstream.PasswordFile != filepath.Join(dir, "a") {
		t.Errorf("the path is %s", cfg.Upstream.PasswordFile)
	}
}

func TestWarnings(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "secret"), "x")
	if err := os.Chmod(filepath.Join(dir, "secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "scripts/a/v1.lua"), "return 1")
	writeFile(t, filepath.Join(dir, "scripts/a/v1.lua~"), "")
	writeFile(t, filepath.Join(dir, "scripts/README"), "")
	writeFile(t, filepath.Join(dir, "other.lua"), "return 2")
	text := `
upstream: {password_file: secret, tls: {server_name: x}}
auth: {users: [{name: a, password_sha256: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8}]}
routing: {reads: replica, consistency: strong, fallback: error}
registry: {redis: {address: "127.0.0.1:6379"}}
scripts:
  dir: scripts
  list:
    - name: a
      versions: {v1: ../other.lua}
    - name: b
      versions: {v1: {body: return 2}}
`
	_, warnings, err := Parse("c.yaml", []byte(text), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"c.yaml:2: upstream.password_file: DIR/secret can be read by every user of this machine; chmod o-r it",
		"c.yaml:2: upstream.tls: has no effect, because enabled is false",
		"c.yaml:3: auth.users: has no effect in the mode passthrough",
		"c.yaml:4: routing.reads: has no effect, because consistency is strong",
		"c.yaml:4: routing.fallback: refuses every read, because upstream.replicas is empty",
		"c.yaml:5: registry.redis: has no effect, because registry.store is file",
		"c.yaml:7: scripts.dir: DIR/scripts/README is ignored; a script is <name>/<version>.lua",
		"c.yaml:7: scripts.dir: DIR/scripts/a/v1.lua~ is ignored; a script is <name>/<version>.lua",
		"c.yaml:10: scripts.list[0].versions.v1: DIR/scripts/a/v1.lua is ignored, because version v1 is listed with another body",
		"c.yaml:12: scripts.list[1].versions.v1: version v1 of b has the same body as version v1 of a; a call by its sha runs this body, whatever is active",
	}
	var got []string
	for _, w := range warnings {
		got = append(got, strings.ReplaceAll(w.String(), dir, "DIR"))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestLoadWarnsOfAPasswordInAFileThatEverybodyReads(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	writeFile(t, file, "upstream: {password: x}\n")
	if _, warnings, err := Load(file); err != nil || len(warnings) > 0 {
		t.Errorf("with mode 0600: %v, %v", warnings, err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	_, warnings, err := Load(file)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].String(), "holds a password") {
		t.Errorf("with mode 0644: %v, %v", warnings, err)
	}
}

func TestLoadNamesWhatItRead(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "secret"), "x")
	writeFile(t, filepath.Join(dir, "scripts/a/v1.lua"), "return 1")
	writeFile(t, filepath.Join(dir, "c.yaml"), "upstream: {password_file: secret}\nscripts: {dir: scripts}\n")
	cfg, _, err := Load(filepath.Join(dir, "c.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, file := range cfg.Files() {
		name, err := filepath.Rel(dir, file)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, name)
	}
	want := []string{"c.yaml", "secret", "scripts", "scripts/a", "scripts/a/v1.lua"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestValidateChecksAConfigThatAProgramBuilt(t *testing.T) {
	cfg := Default()
	cfg.Ping = "remote"
	cfg.Limits.BusyWait = -1
	cfg.Upstream.Primary = "nowhere"
	cfg.Scripts.List = []Script{{
		Name: "a", Active: "v1", Class: ClassAuto, Priority: PriorityNormal, Breaker: cfg.Scripts.Breaker,
		Versions: Versions{{ID: "v1", Body: Body("return 1"), SHA: "0"}},
	}}
	err := cfg.Validate()
	want := `ping: "remote" is not one of upstream, local
limits.busy_wait: -1ns is negative
upstream.primary: "nowhere" is no address; write host:port or unix:/path
scripts.list[0].versions.v1: the sha of version v1 of a is not that of its body`
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}
