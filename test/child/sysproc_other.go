//go:build unix && !linux

package child

import "syscall"

// sysProcAttr puts a child into a process group of its own. Without Linux's Pdeathsig it survives a program that crashes.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
