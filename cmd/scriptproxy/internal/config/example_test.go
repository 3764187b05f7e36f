package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const examplePath = "../../../../config.example.yaml"

func TestExampleFileIsTheDefaults(t *testing.T) {
	got, warnings, err := Load(examplePath)
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, warnings %v", err, warnings)
	}
	got.files = nil
	want := Default()
	// Written as [], which is no different from nil to a reader.
	want.Upstream.Replicas, want.Upstreams, want.Auth.Users, want.Scripts.List = []string{}, []NamedUpstream{}, []User{}, []Script{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("config.example.yaml gives\n%+v\nbut the defaults are\n%+v", got, want)
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the defaults are not valid: %v", err)
	}
}

func TestExampleFileHasEveryKey(t *testing.T) {
	data, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	r := &report{lines: map[string]int{}}
	(&decoder{report: r}).decode(switchOn(data), Default())
	if len(r.problems) > 0 {
		t.Fatal(r.problems)
	}
	index := regexp.MustCompile(`\[\d+\]`)
	version := regexp.MustCompile(`\.versions\.[^.]+`)
	var given []string
	for path := range r.lines {
		given = append(given, version.ReplaceAllString(index.ReplaceAllString(path, "[]"), ".versions.*"))
	}
	for path := range keys(reflect.TypeFor[Config](), "") {
		if !slices.Contains(given, path) {
			t.Errorf("config.example.yaml does not show %s", path)
		}
	}
}

func TestExampleFileWithEverythingSwitchedOnIsValid(t *testing.T) {
	data, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeKeyPair(t, dir, "tls/server", "tls/other", "tls/admin", "tls/admin-other")
	for file, text := range map[string]string{
		"tls/clients-ca.pem":   string(mustRead(t, filepath.Join(dir, "tls/server.pem"))),
		"tls/operators-ca.pem": string(mustRead(t, filepath.Join(dir, "tls/server.pem"))),
		"secrets/checkout":     "x\n",
		"transfer/v1.lua":      "return 1",
		"transfer/v2.lua":      "return 2",
	} {
		writeFile(t, filepath.Join(dir, file), text)
	}
	cfg, _, err := Parse("config.example.yaml", switchOn(data), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Listen) != 3 || len(cfg.Scripts.List) != 2 || cfg.Scripts.List[0].Active != "v2" {
		t.Errorf("not everything is switched on: %+v", cfg)
	}
}

// switchOn takes the # away from the settings that are commented out, and drops
// the empty lists that they follow.
func switchOn(data []byte) []byte {
	var lines []string
	commented := regexp.MustCompile(`^#(  +.*)$`)
	for line := range strings.SplitSeq(string(data), "\n") {
		if m := commented.FindStringSubmatch(line); m != nil {
			line = m[1]
		}
		lines = append(lines, line)
	}
	text := strings.Join(lines, "\n")
	return []byte(regexp.MustCompile(`(?m)^(  (?:users|list):|upstreams:) \[\]$`).ReplaceAllString(text, "$1"))
}

// keys yields the path of every key of t, with [] for the entries of lists and *
// for the ids of versions.
func keys(t reflect.Type, path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for f := range fieldsOf(t) {
			key, _ := yamlKey(f)
			at := join(path, key)
			if !yield(at) {
				return
			}
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			switch {
			case inner == reflect.TypeFor[Versions]():
				inner, at = inner.Elem(), at+".*"
			case inner.Kind() == reflect.Slice:
				inner, at = inner.Elem(), at+"[]"
			}
			for path := range keys(inner, at) {
				if !yield(path) {
					return
				}
			}
		}
	}
}

// writeKeyPair writes a self-signed certificate to each name.pem and its key to
// name.key.
func writeKeyPair(t *testing.T, dir string, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"localhost"},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		writeFile(t, filepath.Join(dir, name+".pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
		writeFile(t, filepath.Join(dir, name+".key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	}
}

// writeFile writes a file that only its owner may read, with its directories.
func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
