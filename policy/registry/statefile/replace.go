package statefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// UnsyncedError says that a file was replaced, but the directory could not be synced: the new
// content is there, and might not survive a loss of power.
type UnsyncedError struct{ Err error }

func (e *UnsyncedError) Error() string {
	return fmt.Sprintf("the file is replaced, but its directory could not be synced, so that a loss of power may undo it: %v", e.Err)
}

func (e *UnsyncedError) Unwrap() error { return e.Err }

// Replace makes data the content of the file at path. Whatever interrupts it, the file has
// either its old content or the new one: data goes to path.tmp, which is synced and renamed, and
// the directory is synced. Only one process at a time may call it for a path. After any error but
// an *UnsyncedError the old content stands.
func Replace(path string, data []byte) error {
	tmp := path + ".tmp"
	if err := writeSynced(tmp, data); err != nil {
		return errors.Join(err, remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, remove(tmp))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return &UnsyncedError{Err: err}
	}
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// remove ignores a file which was never made, or is no file.
func remove(path string) error {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	return os.Remove(path)
}
