//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package filestore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// acquire locks the file at path for as long as it stays open. The kernel gives the lock back
// when the process ends, however it ends. The file is never removed: a lock on a removed file
// would keep nobody out.
func acquire(path string, wait time.Duration) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("registry: open the lock of the state file: %w", err)
	}
	deadline := time.Now().Add(wait)
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, own(f)
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return nil, errors.Join(fmt.Errorf("registry: lock %s: %w", path, err), f.Close())
		case time.Now().After(deadline):
			holder := holderOf(f)
			return nil, errors.Join(fmt.Errorf("registry: the state file is in use by %s (it holds the lock %s); give each proxy its own state file, or use the store redis for a fleet", holder, path), f.Close())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// own writes this process's id into the lock, for the message to the next one.
func own(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return errors.Join(err, f.Close())
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return errors.Join(err, f.Close())
	}
	return nil
}

func holderOf(f *os.File) string {
	content, err := io.ReadAll(io.LimitReader(f, 32))
	if pid, convErr := strconv.Atoi(strings.TrimSpace(string(content))); err == nil && convErr == nil {
		return fmt.Sprintf("the process %d", pid)
	}
	return "another process"
}
