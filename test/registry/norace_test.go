//go:build linux && !race

package registry

const raceDetector = false
