//go:build linux && !race

package policy

const raceDetector = false
