//go:build linux

package loop

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Dialer dials connections of which the kernel makes an end when their peer
// acknowledges nothing for about the given time: neither what was sent
// (TCP_USER_TIMEOUT), nor, where there is nothing to send, the probes that
// begin when the peer has been silent for half of it; see tcp(7). Who waits for
// a reply over a network that is cut then learns of it by ETIMEDOUT; the
// kernel's own bound is 15 minutes, and 2 hours for who has sent nothing. 0
// leaves the kernel's. Unix sockets have neither.
func Dialer(silent time.Duration) *net.Dialer {
	if silent <= 0 {
		return &net.Dialer{}
	}
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: max(time.Second, silent/2), Interval: max(time.Second, silent/8),
			Count: 8, // does not count: the kernel goes by TCP_USER_TIMEOUT where there is one
		},
		Control: func(network, _ string, c syscall.RawConn) error {
			if network == "unix" {
				return nil
			}
			var failed error
			err := c.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silent.Milliseconds()))
			})
			if err == nil {
				err = failed
			}
			return err
		},
	}
}
