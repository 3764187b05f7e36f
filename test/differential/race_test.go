//go:build race

package differential

// raceEnabled has the proxy built with the race detector when the test is.
const raceEnabled = true
