//go:build linux && !race

package edge

const raceDetector = false
