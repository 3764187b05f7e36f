//go:build linux

package proxy

import "testing"

func TestTurnWaitsForCallsThatBeganBefore(t *testing.T) {
	var f flights
	quiet := 0
	turn := func() { f.turn(func() { quiet++ }) }
	turn()
	if quiet != 1 {
		t.Fatal("without calls there is nothing to wait for")
	}
	var before, again, after scriptCall
	f.begin(&before)
	f.begin(&again)
	f.begin(&again) // sent again: one call all the same
	turn()
	f.begin(&after)
	f.end(before.flight)
	if quiet != 1 {
		t.Fatal("a call that began before is still in flight")
	}
	f.end(again.flight)
	if quiet != 2 {
		t.Fatal("all calls that began before have ended")
	}
	f.end(after.flight)
	if quiet != 2 {
		t.Fatal("a call that began after it says nothing")
	}
}

func TestTurnThatWasNotWaitedOutIsMadeUpFor(t *testing.T) {
	var f flights
	first, second := 0, 0
	var slow, later scriptCall
	f.begin(&slow)
	f.turn(func() { first++ })
	f.begin(&later)
	f.turn(func() { second++ }) // joins the phase of the slow call
	f.end(later.flight)
	if first != 0 || second != 1 {
		t.Errorf("the first turn was answered %d times, the second %d times", first, second)
	}
	f.turn(func() { second++ })
	if second != 1 {
		t.Fatal("the slow call is still in flight")
	}
	f.end(slow.flight)
	if second != 2 {
		t.Error("the slow call ended")
	}
}

func TestShaOfACallIsFoundInItsRequest(t *testing.T) {
	sha := "0123456789abcdef0123456789ABCDEF01234567"
	for request, want := range map[string]string{
		"*3\r\n$7\r\nEVALSHA\r\n$40\r\n" + sha + "\r\n$1\r\n0\r\n":     "0123456789abcdef0123456789abcdef01234567",
		"*3\r\n$10\r\nEVALSHA_RO\r\n$40\r\n" + sha + "\r\n$1\r\n0\r\n": "0123456789abcdef0123456789abcdef01234567",
		"*3\r\n$7\r\nEVALSHA\r\n$4\r\nname\r\n$1\r\n0\r\n":             "",
		"*3\r\n$7\r\nEVALSHA\r\n$40\r\n0123":                           "",
	} {
		got, ok := shaOfCall([]byte(request))
		if ok != (want != "") || ok && string(got[:]) != want {
			t.Errorf("%q: %q, %v", request, got, ok)
		}
	}
}
