package demo

import "syscall"

// childAttributes keeps a terminal's Ctrl-C from the child, so that the proxy can
// drain before its servers go, and has the kernel kill it when this process dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
