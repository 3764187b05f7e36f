//go:build linux && race

package registry

// raceDetector tells that the tests run under the race detector; the program is then built with it too, and is
// about ten times slower.
const raceDetector = true
