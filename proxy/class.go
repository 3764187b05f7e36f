//go:build linux

package proxy

import (
	"github.com/scriptproxy/scriptproxy/metrics"
	"github.com/scriptproxy/scriptproxy/proxy/command"
)

// requestClasses says under which label requests of a command's class are
// counted.
var requestClasses = [command.NumClasses]metrics.Class{
	command.ClassWrite:  metrics.ClassWrite,
	command.ClassRead:   metrics.ClassRead,
	command.ClassAdmin:  metrics.ClassAdmin,
	command.ClassScript: metrics.ClassScript,
}

// requestClass is the label under which a request is counted. What the proxy
// answers by itself is local; a command that is not known may write.
func requestClass(cmd *command.Command) metrics.Class {
	if cmd == nil {
		return metrics.ClassWrite
	}
	switch cmd.Op {
	case command.OpPing, command.OpAuth, command.OpHello, command.OpReset, command.OpQuit:
		return metrics.ClassLocal
	}
	return requestClasses[cmd.Class]
}
