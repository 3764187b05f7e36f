package app

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settleTime is how long files must be left alone before they are read: an
// editor or a ConfigMap swap touches several in a row.
const settleTime = 250 * time.Millisecond

// watchConfig reloads on what comes from hup and when a file of the configuration
// changes, until ctx ends. Directories are watched, not files: editors and
// ConfigMaps replace files, and a watch on the old one would see nothing.
func (a *App) watchConfig(ctx context.Context, hup <-chan os.Signal) {
	var events <-chan fsnotify.Event
	var errs <-chan error
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		a.log.Warn("files are not watched; SIGHUP still reloads", "error", err)
	} else {
		defer watcher.Close()
		events, errs = watcher.Events, watcher.Errors
		a.watchDirs(watcher)
	}
	settled := time.NewTimer(0)
	<-settled.C
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			a.Reload(ctx)
		case e := <-events:
			if e.Op != fsnotify.Chmod && a.concerns(e.Name) {
				settled.Reset(settleTime)
			}
			continue
		case err := <-errs:
			a.log.Warn("watching the configuration's files", "error", err)
			continue
		case <-settled.C:
			a.Reload(ctx)
		}
		if watcher != nil {
			a.watchDirs(watcher)
		}
	}
}

// watchDirs watches the directories of all files that the configuration read.
func (a *App) watchDirs(w *fsnotify.Watcher) {
	a.mu.Lock()
	files := append([]string{a.opts.ConfigPath}, a.cfg.Files()...)
	a.mu.Unlock()
	for _, f := range files {
		dir := f
		if info, err := os.Stat(f); err != nil || !info.IsDir() {
			dir = filepath.Dir(f)
		}
		if err := w.Add(dir); err != nil {
			a.log.Warn("a directory is not watched", "directory", dir, "error", err)
		}
	}
}

// concerns tells whether a changed path belongs to the configuration: one of
// its files, something inside one of its directories, or the ..data link by
// which Kubernetes swaps a ConfigMap.
func (a *App) concerns(path string) bool {
	if filepath.Base(path) == "..data" {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range append([]string{a.opts.ConfigPath}, a.cfg.Files()...) {
		if same(f, path) || same(f, filepath.Dir(path)) {
			return true
		}
	}
	return false
}

func same(a, b string) bool {
	x, err1 := filepath.Abs(a)
	y, err2 := filepath.Abs(b)
	return err1 == nil && err2 == nil && x == y
}
