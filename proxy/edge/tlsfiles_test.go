//go:build linux

package edge

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/scriptproxy/scriptproxy/test/certificates"
)

// look has the files looked at now, however short ago that was done.
func (r *reloading) look() *tls.Config {
	r.checked.Store(0)
	return r.current()
}

// logged is a logger and what it has written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

func newServerTLS(t *testing.T, f ServerFiles) (*ServerTLS, *logged) {
	t.Helper()
	log := &logged{}
	if f.MinVersion == 0 {
		f.MinVersion = tls.VersionTLS12
	}
	s, err := NewServerTLS(f, slog.New(slog.NewTextHandler(log, nil)))
	must(t, err)
	return s, log
}

func leaf(c *tls.Config) string { return string(c.Certificates[0].Certificate[0]) }

func TestChangedCertificateIsTaken(t *testing.T) {
	dir, ca := t.TempDir(), certificates.NewAuthority(t, "ca")
	certFile, keyFile := ca.Issue("one").Write(t, dir, "server")
	s, _ := newServerTLS(t, ServerFiles{Pairs: []Pair{{certFile, keyFile}}})
	first := s.r.look()
	if again := s.r.look(); again != first {
		t.Error("files that did not change were read again")
	}
	ca.Issue("two").Write(t, dir, "server")
	if leaf(s.r.look()) == leaf(first) {
		t.Error("the certificate is still the old one")
	}
}

func TestFilesAreLookedAtOnceASecondAtMost(t *testing.T) {
	dir, ca := t.TempDir(), certificates.NewAuthority(t, "ca")
	certFile, keyFile := ca.Issue("one").Write(t, dir, "server")
	s, _ := newServerTLS(t, ServerFiles{Pairs: []Pair{{certFile, keyFile}}})
	s.r.look()
	s.r.checked.Store(s.r.checked.Load() + int64(checkEvery)*1000)
	ca.Issue("two").Write(t, dir, "server")
	first := s.Config()
	if s.r.look() == first {
		t.Error("the change was seen although the files had just been looked at")
	}
}

func TestUselessCertificateKeepsTheOldAndIsLoggedOnce(t *testing.T) {
	dir, ca := t.TempDir(), certificates.NewAuthority(t, "ca")
	certFile, keyFile := ca.Issue("one").Write(t, dir, "server")
	s, log := newServerTLS(t, ServerFiles{Pairs: []Pair{{certFile, keyFile}}})
	first := s.r.look()

	next := ca.Issue("two")
	certificates.WriteFile(t, certFile, next.Cert) // and still the old key
	for range 3 {
		if s.r.look() != first {
			t.Fatal("a certificate without its key was taken")
		}
	}
	if n := log.count("level=ERROR"); n != 1 {
		t.Errorf("logged %d errors, want 1", n)
	}
	certificates.WriteFile(t, keyFile, next.Key)
	if leaf(s.r.look()) == leaf(first) {
		t.Error("the complete pair was not taken")
	}
	must(t, os.Remove(certFile))
	if s.r.look() == nil || log.count("level=ERROR") != 2 {
		t.Error("a missing file must be logged, and change nothing")
	}
}

func TestSwappedLinkIsSeen(t *testing.T) {
	dir, ca := t.TempDir(), certificates.NewAuthority(t, "ca")
	for _, name := range []string{"one", "two"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		ca.Issue(name).Write(t, filepath.Join(dir, name), "server")
	}
	data := filepath.Join(dir, "data")
	must(t, os.Symlink("one", data))
	s, _ := newServerTLS(t, ServerFiles{Pairs: []Pair{{filepath.Join(data, "server.pem"), filepath.Join(data, "server.key")}}})
	first := s.r.look()
	must(t, os.Symlink("two", data+".next"))
	must(t, os.Rename(data+".next", data))
	if leaf(s.r.look()) == leaf(first) {
		t.Error("the certificate behind the link is still the old one")
	}
}

func TestFilesOfNoUseAreErrorsThatNameThem(t *testing.T) {
	dir, ca := t.TempDir(), certificates.NewAuthority(t, "ca")
	certFile, keyFile := ca.Issue("one").Write(t, dir, "one")
	otherCert, _ := ca.Issue("two").Write(t, dir, "two")
	empty := filepath.Join(dir, "empty")
	certificates.WriteFile(t, empty, nil)
	missing := filepath.Join(dir, "missing")
	tests := []struct {
		name  string
		files ServerFiles
		want  string
	}{
		{"missing", ServerFiles{Pairs: []Pair{{missing, keyFile}}}, missing},
		{"no pair", ServerFiles{Pairs: []Pair{{otherCert, keyFile}}}, otherCert + " and " + keyFile},
		{"missing authorities", ServerFiles{Pairs: []Pair{{certFile, keyFile}}, ClientCAFile: missing}, missing},
		{"empty authorities", ServerFiles{Pairs: []Pair{{certFile, keyFile}}, ClientCAFile: empty}, empty},
	}
	for _, test := range tests {
		s, err := NewServerTLS(test.files, quiet)
		if s != nil || err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, %v; want an error that names %s", test.name, s, err, test.want)
		}
	}
	if c, err := NewClientTLS(ClientFiles{CAFile: empty}, quiet); c != nil || err == nil {
		t.Error("authorities without a certificate were taken for a client")
	}
}

func TestServerIsKnownByItsHostUnlessANameIsGiven(t *testing.T) {
	plain, err := NewClientTLS(ClientFiles{}, quiet)
	must(t, err)
	named, err := NewClientTLS(ClientFiles{ServerName: "redis.internal"}, quiet)
	must(t, err)
	for address, want := range map[string]string{
		"redis-1:6379": "redis-1", "[2001:db8::1]:6379": "2001:db8::1", "/run/redis.sock": "/run/redis.sock",
	} {
		if got := plain.For(address).ServerName; got != want {
			t.Errorf("%s: name %q, want %q", address, got, want)
		}
		if got := named.For(address).ServerName; got != "redis.internal" {
			t.Errorf("%s: name %q, want the one given", address, got)
		}
	}
}
