//go:build !linux

// Command scriptproxy runs on Linux. Elsewhere it says so.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(os.Stderr, "scriptproxy: error: %s is not supported: the event loops need Linux's epoll\n", runtime.GOOS)
	fmt.Fprintln(os.Stderr, "scriptproxy: hint: run it on Linux, amd64 or arm64, or in a Linux container")
	os.Exit(1)
}
