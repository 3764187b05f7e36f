//go:build !race

package program

// RaceDetector tells that the tests run under the race detector; the program is then built with it too.
const RaceDetector = false
