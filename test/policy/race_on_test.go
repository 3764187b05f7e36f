//go:build linux && race

package policy

// raceDetector tells that the tests run under the race detector; the program is then built with it too.
const raceDetector = true
