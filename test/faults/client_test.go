//go:build linux

package faults

import (
	"strings"

	"github.com/scriptproxy/scriptproxy/test/wire"
)

type client = wire.Client

var (
	newClient = wire.New
	request   = wire.Request
	bulk      = wire.Bulk
	array     = wire.Array
)

const (
	ok     = wire.OK
	queued = wire.Queued
	null   = wire.Null
)

// didNotRun and mayHaveRun tell the two kinds of refusal apart.
func didNotRun(reply string) bool {
	return strings.HasPrefix(reply, "-UNAVAILABLE ") && strings.HasSuffix(reply, "did not run\r\n")
}

func mayHaveRun(reply string) bool {
	return strings.HasPrefix(reply, "-UNAVAILABLE ") && strings.HasSuffix(reply, "may have run\r\n")
}
