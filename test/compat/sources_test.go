package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const stanzas = `# the mirror
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
# which ends with a comment
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://other.example/product
Suites: stable
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
`

func TestSourcesOfTheMachineArePointedAtAnotherRelease(t *testing.T) {
	got := ""
	for _, s := range ofRelease(parseStanzas(stanzas), "bookworm", "trixie") {
		got += s.String() + "\n"
	}
	want := `Types: deb
URIs: http://mirror.example/debian
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: trixie-security
Components: main
Signed-By: 
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestSourcesOfTheOlderFormAreRead(t *testing.T) {
	text := `# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] http://mirror.example/debian bookworm main non-free # why
deb http://mirror.example/debian-security bookworm-security main
deb-src http://mirror.example/debian bookworm main
deb http://flat.example/ ./
`
	got := ""
	for _, s := range ofRelease(parseLines(text), "bookworm", "bullseye") {
		got += s.String() + "\n"
	}
	want := `Types: deb
URIs: http://mirror.example/debian
Suites: bullseye
Components: main
Signed-By: /usr/share/keyrings/a.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bullseye-security
Components: main

`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestSourcesAreReadFromBothForms(t *testing.T) {
	etc := t.TempDir()
	write(t, filepath.Join(etc, "sources.list"), "deb http://one.example/debian bookworm main\n")
	write(t, filepath.Join(etc, "sources.list.d", "a.list"), "deb http://two.example/debian bookworm main\n")
	write(t, filepath.Join(etc, "sources.list.d", "b.sources"), stanzas)
	write(t, filepath.Join(etc, "sources.list.d", "c.list.disabled"), "deb http://no.example/debian bookworm main\n")
	all, err := machineSources(etc)
	if err != nil {
		t.Fatal(err)
	}
	var uris []string
	for _, s := range all {
		uris = append(uris, s.get("URIs"))
	}
	got := strings.Join(uris, " ")
	if !strings.HasPrefix(got, "http://one.example/debian http://two.example/debian http://mirror.example/debian ") || strings.Contains(got, "no.example") {
		t.Errorf("read the sources %s", got)
	}
}

func TestOnlyDebianHasDebiansMirrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "os-release")
	write(t, file, "PRETTY_NAME=\"Ubuntu 24.04\"\nID=ubuntu\nVERSION_CODENAME=noble\n")
	if _, err := machineRelease(file); err == nil || !strings.Contains(err.Error(), "the machine runs Ubuntu 24.04") {
		t.Errorf("Ubuntu: %v", err)
	}
	write(t, file, "ID=debian\nVERSION_CODENAME=bookworm\n")
	if got, err := machineRelease(file); err != nil || got != "bookworm" {
		t.Errorf("Debian: %q, %v", got, err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
