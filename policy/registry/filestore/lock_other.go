//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package filestore

import (
	"errors"
	"os"
	"time"
)

func acquire(string, time.Duration) (*os.File, error) {
	return nil, errors.New("registry: this system has no file locks that end with their process, which a state file needs; leave state_file empty, or use the store redis")
}
