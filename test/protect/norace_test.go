//go:build linux && !race

package protect

const raceDetector = false
