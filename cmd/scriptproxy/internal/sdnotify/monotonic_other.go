//go:build !linux

package sdnotify

import "time"

// monotonic is for systemd, which runs on Linux only.
func monotonic() (time.Duration, bool) { return 0, false }
