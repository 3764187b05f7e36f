package redisserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports are taken from [firstPort, lastPort): below Linux's ephemeral range (32768 up), so that a client which keeps
// dialling a killed server neither takes its port as a source port nor connects to itself, and low enough that a cluster bus
// port (port + 10000) is below that range too.
const (
	firstPort = 11000
	lastPort  = 22000
)

// portLease keeps one port away from every other user of this package on the machine, also while nothing
// listens on it, so that a killed server finds its port again. It is a bound abstract unix socket: the kernel
// drops it with the process, whatever way that ends.
type portLease struct {
	port int
	lock net.Listener
}

// leasePort finds a port on which nothing listens and which nobody else has leased. A program outside this package
// may still take it before its user listens: starting a server retries with another port then.
func leasePort() (*portLease, error) {
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		lock, err := net.Listen("unix", fmt.Sprintf("@scriptproxy-test-port-%d", port))
		if err != nil {
			continue
		}
		probe, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			lock.Close()
			continue
		}
		probe.Close()
		return &portLease{port: port, lock: lock}, nil
	}
	return nil, fmt.Errorf("no free port on 127.0.0.1 between %d and %d after 1000 tries", firstPort, lastPort)
}

// release gives the port back. It may be called more than once, also on nil.
func (l *portLease) release() {
	if l != nil {
		l.lock.Close()
	}
}

// LeasePort is FreePort for programs that are not tests: the port is kept until release is called.
func LeasePort() (port int, release func(), err error) {
	lease, err := leasePort()
	if err != nil {
		return 0, nil, err
	}
	return lease.port, lease.release, nil
}

// FreePort returns a port of 127.0.0.1 on which nothing listens, and which no other user of this package
// gets until the test ends. It is for listeners that the test opens itself and for addresses that must refuse.
func FreePort(t testing.TB) int {
	t.Helper()
	lease, err := leasePort()
	if err != nil {
		t.Fatalf("redisserver: %v", err)
	}
	t.Cleanup(lease.release)
	return lease.port
}
