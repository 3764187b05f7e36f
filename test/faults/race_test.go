//go:build linux && race

package faults

// raceDetector tells that the tests run under the race detector; the proxy is then built with it too.
const raceDetector = true
