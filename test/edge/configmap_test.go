//go:build linux

package edge

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// configMap is a directory in which files change as Kubernetes changes those of a ConfigMap or a Secret
// (k8s.io/kubernetes/pkg/volume/util, AtomicWriter): the files stand in a directory of their own for each version, ..data is a link
// to the newest, and what users see are links through ..data, which never change themselves.
type configMap struct {
	dir     string
	version int
}

// swap has the directory hold the files, by their paths in it, and no others.
func (m *configMap) swap(t testing.TB, files map[string]string) {
	t.Helper()
	old, _ := os.Readlink(filepath.Join(m.dir, "..data"))
	m.version++
	version := fmt.Sprintf("..version_%d", m.version)
	tops := map[string]bool{}
	for name, text := range files {
		path := filepath.Join(m.dir, version, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o600))
		top, _, _ := strings.Cut(name, "/")
		tops[top] = true
	}
	link := filepath.Join(m.dir, "..data_tmp")
	must(t, os.Symlink(version, link))
	must(t, os.Rename(link, filepath.Join(m.dir, "..data")))
	for top := range tops {
		if err := os.Symlink(filepath.Join("..data", top), filepath.Join(m.dir, top)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	list, err := os.ReadDir(m.dir)
	must(t, err)
	for _, entry := range list {
		if name := entry.Name(); !strings.HasPrefix(name, "..") && !tops[name] {
			must(t, os.Remove(filepath.Join(m.dir, name)))
		}
	}
	if old != "" {
		must(t, os.RemoveAll(filepath.Join(m.dir, old)))
	}
}
