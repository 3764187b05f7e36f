//go:build linux

package faults

import (
	"testing"

	"github.com/scriptproxy/scriptproxy/test/program"
)

// patience bounds every wait for something that takes milliseconds on an idle machine.
const patience = program.Patience

var set = program.Set

// proxy is one running scriptproxy.
type proxy struct {
	*program.Process
	t *testing.T
}

// startProxy runs the proxy in front of a primary, by its address, and waits until it serves.
func startProxy(t *testing.T, primary string, opts ...program.Option) *proxy {
	t.Helper()
	return startProgram(t, binary, primary, opts...)
}

func startProgram(t *testing.T, path, primary string, opts ...program.Option) *proxy {
	t.Helper()
	p := &proxy{program.Start(t, path, program.Config(t, primary, nil, opts...)), t}
	p.AwaitServing()
	return p
}

// client returns a client of the proxy.
func (p *proxy) client() *client {
	p.t.Helper()
	return newClient(p.t, p.Open())
}
