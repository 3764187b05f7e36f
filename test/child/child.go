// Package child starts the programs that tests and the benchmark need beside themselves, so that none of them survives its
// parent, whatever way that ends.
package child

import (
	"os/exec"
	"runtime"
)

// Start starts cmd in a process group of its own, which the caller ends by signalling -cmd.Process.Pid, and waits for it in the
// background: exited is closed when cmd has ended, after which cmd.ProcessState says how. Callers must not call
// cmd.Wait. On Linux the kernel kills cmd when the program that called Start ends.
//
// cmd's Stdout and Stderr should be files: with other writers exited also waits for whoever inherited the pipe.
func Start(cmd *exec.Cmd) (exited <-chan struct{}, err error) {
	cmd.SysProcAttr = sysProcAttr()
	started, ended := make(chan error, 1), make(chan struct{})
	go startAndWait(cmd, started, ended)
	if err := <-started; err != nil {
		return nil, err
	}
	return ended, nil
}

// startAndWait runs cmd on a thread that lives as long as cmd does: the kernel's signal is sent when the starting thread ends, not
// when the process does, and a goroutine which returns with a locked thread ends that thread.
func startAndWait(cmd *exec.Cmd, started chan<- error, ended chan<- struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	started <- err
	if err != nil {
		return
	}
	cmd.Wait() // its error is what cmd.ProcessState says
	close(ended)
}
