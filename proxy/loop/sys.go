//go:build linux

package loop

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawRead and rawWrite pass by the Go scheduler: on a non-blocking
// descriptor they return at once.
func rawRead(fd int, b []byte) (int, unix.Errno) {
	n, _, err := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if err != 0 {
		return -1, err
	}
	return int(n), 0
}

func rawWrite(fd int, b []byte) (int, unix.Errno) {
	n, _, err := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if err != 0 {
		return -1, err
	}
	return int(n), 0
}

// epollWait returns the number of events. With block it tells the scheduler
// that the thread may be away, so that others can run meanwhile.
func epollWait(ep int, events []unix.EpollEvent, timeoutMS int, block bool) int {
	var n uintptr
	var err unix.Errno
	if block {
		n, _, err = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(timeoutMS), 0, 0)
	} else {
		n, _, err = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(timeoutMS), 0, 0)
	}
	if err != 0 {
		return 0 // EINTR: the caller comes again
	}
	return int(n)
}
