//go:build linux && !race

package protect

const raceDetector = false

// defaultPairs take some ten seconds.
const defaultPairs = 300_000
