//go:build linux

// Package upstream runs the connections to the servers: shared links, on
// which the requests of many sessions are pipelined, and dedicated ones,
// lent to one session while the server keeps state for it.
//
// A link keeps the bytes of every request until it is answered, so that a
// request can be looked at, or sent again, when its reply says that it did
// not run. Everything here belongs to one event loop.
package upstream

// Call is one request in flight on a link. It is embedded in what waits for
// the reply, and is in one link's queue at a time.
type Call struct {
	// Owner is told what became of the request.
	Owner Owner
	// Sent is when the request was queued, in the loop's nanoseconds.
	Sent int64

	next *Call
	off  uint64
	n    int
}

// Owner hears of a call's end. The link has forgotten the call when it says
// so for the last time.
type Owner interface {
	// Reply gets the reply in one or more pieces, valid during the call
	// only; done marks the last.
	Reply(c *Call, piece []byte, done bool)
	// Lost says that the link ended before the reply did. sent tells that
	// bytes of the request may have left, so that it may have run.
	Lost(c *Call, sent bool, err error)
}

// Discard is the owner of a call whose reply nobody wants.
type Discard struct{}

// Reply drops the reply.
func (Discard) Reply(*Call, []byte, bool) {}

// Lost drops the news.
func (Discard) Lost(*Call, bool, error) {}
