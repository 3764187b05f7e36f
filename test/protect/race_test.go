//go:build linux && race

package protect

// raceDetector tells that the tests run under the race detector; the program is then built with it too.
const raceDetector = true

// defaultPairs take some ten seconds with the race detector.
const defaultPairs = 60_000
