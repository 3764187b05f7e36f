package child

import "syscall"

// sysProcAttr puts a child into a process group of its own, so that a terminal's Ctrl-C reaches the program and not its children, and has
// the kernel kill it when the thread that started it ends.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
